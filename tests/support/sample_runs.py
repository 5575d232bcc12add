"""Projects with runs as after weeks of work: parameters, curves, logs, outputs. The same ones every time."""

from __future__ import annotations

import json
import math
import random
import struct
import zlib
from typing import TYPE_CHECKING

from amlexec.history import folders
from amlexec.history.paths import RunPaths
from amlexec.history.record import Source, instant
from tests.support.records import RUN

if TYPE_CHECKING:
    from amlexec.history.record import Run
    from amlexec.values import Project

__all__ = ["add_run", "png", "tuning"]

_FIRST = 1_700_000_000


def add_run(
    project: Project, number: int, lines: list[dict[str, object]] | None = None, **changes: object
) -> RunPaths:
    """A completed run whose script logged these lines; it began `number` minutes after the first one."""
    began = _FIRST + 60.0 * number
    run: Run = RUN._replace(
        run_id=f"digits_{round(began * 1000)}",
        status="Completed",
        exit_code=0,
        created_utc=instant(began),
        start_time_utc=instant(began),
        end_time_utc=instant(began + 42.5 + number % 7),
        snapshot=None,
        metrics={},
    )
    run = run._replace(**changes)  # type: ignore[arg-type]
    paths = RunPaths.of(project, run.run_id)
    paths.control.mkdir(parents=True)
    text = "".join(json.dumps(line) + "\n" for line in lines or [])
    paths.metrics.write_text(text, "utf-8")
    last = {str(line["name"]): line["value"] for line in lines or []}
    folders.write(paths, run._replace(metrics={**last, **run.metrics}))
    return paths


def tuning(project: Project, runs: int, curves: int, points: int) -> None:
    """Runs that differ in three parameters, with curves whose ends depend on them."""
    noise = random.Random(0)
    for number in range(runs):
        rate = 10 ** noise.uniform(-4, -1)
        depth, optimiser = noise.randint(2, 8), noise.choice(["sgd", "adam", "lamb"])
        best = 0.02 + 0.1 * (math.log10(rate) + 2.5) ** 2 + 0.02 * abs(depth - 5)
        began = _FIRST + 60.0 * number
        lines: list[dict[str, object]] = []
        for step in range(points):
            part = (step + 1) / points
            loss = best + 2.0 * math.exp(-6 * part) + 0.03 * noise.random()
            for curve in range(curves):
                name = ("train/loss", "accuracy")[curve] if curve < 2 else f"layer {curve:02}/norm"
                value = loss if curve == 0 else 1 - loss / 3 if curve == 1 else loss * curve + noise.random()
                lines.append({"name": name, "value": value, "time": began + 0.4 * step, "step": step * 10})
        arguments = ("--lr", f"{rate:.5f}", f"--depth={depth}", "--optimiser", optimiser, "--data", "digits")
        paths = add_run(
            project,
            number,
            lines,
            arguments=arguments,
            argv=("python3", "train.py", *arguments),
            source=Source("1" * 40, dirty=False),
        )
        paths.stdout.write_text("".join(f"epoch {step}: loss {best:.4f}\n" for step in range(40)), "utf-8")


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A picture of one colour with a lighter diagonal."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    light = bytes(min(255, part + 90) for part in colour)
    rows = b"".join(
        b"\0"
        + b"".join(light if abs(x * height - y * width) < 3 * height else bytes(colour) for x in range(width))
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )

"""Runs on a machine over SSH: submitting, sending, following, beside `ssh`, rsync and tar.

It needs what the tests need: a Docker engine and the image of a host (`doit engines`).
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.hosts import Station, Wire, machine, station
from benchmarks.snapshot import make_tree
from benchmarks.submit import new_project
from benchmarks.timing import Command, Figure, Row, Sizes, run, script
from tests.engines.places import CHANNEL, state
from tests.engines.ssh_host import QUIET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.hosts import Host

__all__ = ["bytes_of", "in_turn", "row", "rows"]

_SECONDS = 600.0
POURING = """\
import sys, time
line = bytes(range(33, 127)) * 10 + b"\\n"
piece = line * (500_000 // len(line))
left, until = int(sys.argv[1]), time.monotonic()
while left > 0:
    sys.stdout.buffer.write(piece[:left])
    left -= len(piece)
    until += len(piece) / 50e6
    time.sleep(max(0, until - time.monotonic()))
"""
"""Prints so many bytes, 50 MB of them a second."""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other. Raises RuntimeError where a part is absent."""
    with machine(folder / "machine") as host, station(folder) as home:
        home.knows(host, host.port)
        yield from _prepares(host, home, folder, rounds, sizes)
        yield from _submits(host, home, folder, rounds)
        yield from _transfers(host, home, folder, max(1, rounds // 3), sizes)
        yield _followed(host, home, folder, sizes)


def project_on(port: int, folder: Path) -> Path:
    """A project with the host, reached at `port`, as its target `gpubox`."""
    made = new_project(folder)
    text = f"type: remote\naddress: 127.0.0.1:{port}\nusername: {QUIET}\npythonLocation: python3\n"
    (made / "aml_config/gpubox.compute").write_text(f"{text}userManagedEnvironment: true\n", "utf-8")
    (made / "aml_config/gpubox.runconfig").write_text("Target: gpubox\nFramework: Python\n", "utf-8")
    return made


def _prepares(host: Host, home: Station, folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """Nothing to do: an environment that is on a machine, and on several."""
    project = project_on(host.port, folder / "prepare")
    lines = ["channels:", f"  - {(state() / CHANNEL).as_uri()}", "dependencies:", "  - python", ""]
    (project / "aml_config/conda_dependencies.yml").write_text("\n".join(lines), "utf-8")
    compute = project / "aml_config/gpubox.compute"
    compute.write_text(compute.read_text("utf-8").replace("userManagedEnvironment: true", ""), "utf-8")
    compute.write_text(f"{compute.read_text('utf-8')}userManagedEnvironment: false\n", "utf-8")
    prepare = home.amlexec(project, "experiment", "prepare", "-c", "gpubox")
    run(prepare)
    time.sleep(sizes.settling)
    run(prepare)
    warm = home.command(project, "ssh", *_multiplexed(home), f"bench-{host.port}", "true")
    ours, theirs, unit = in_turn(project, rounds, lambda: run(prepare), lambda: run(warm))
    peer = "ssh HOST true, multiplexed"
    yield row("prepare on a remote host, nothing to do", ours, peer, theirs, Figure("more ms", 60), unit)
    with contextlib.ExitStack() as started:
        others = [started.enter_context(machine(folder / f"machine{n}")) for n in range(1, sizes.hosts)]
        for other in others:
            _same(host, other)
            home.knows(other, other.port)
            for suffix in (".compute", ".runconfig"):
                text = compute.with_suffix(suffix).read_text("utf-8")
                text = text.replace(f":{host.port}", f":{other.port}").replace("gpubox", f"box{other.port}")
                compute.with_name(f"box{other.port}{suffix}").write_text(text, "utf-8")
        names = ["prepare:gpubox", *(f"prepare:box{other.port}" for other in others)]
        one, all_of_them = (home.command(project, script("doit"), *told) for told in (names[:1], names))
        run(all_of_them)
        time.sleep(sizes.settling)
        ours, theirs, unit = in_turn(project, rounds, lambda: run(all_of_them), lambda: run(one))
        name = f"doit prepare on {sizes.hosts} hosts, nothing to do"
        yield row(name, ours, "on one host", theirs, Figure("ratio", 1.5), unit)
        home.hang_up()


def _same(host: Host, other: Host) -> None:
    """Give a machine the environments that another one has, and let the same user in."""
    other.ssh("cat >>/etc/ssh/authorized_keys", input=host.key.with_suffix(".pub").read_bytes())
    reading = ["ssh", *host.options(), "-l", QUIET, "127.0.0.1", "tar -c .amlexec"]
    writing = ["ssh", *other.options(), "-l", QUIET, "127.0.0.1", "tar -x"]
    with subprocess.Popen(reading, stdout=subprocess.PIPE) as source:
        subprocess.run(writing, stdin=source.stdout, check=True)


def _multiplexed(home: Station) -> tuple[str, ...]:
    path = f"ControlPath={home.runtime}/m"
    return ("-o", "ControlMaster=auto", "-o", path, "-o", "ControlPersist=60")


def _submits(host: Host, home: Station, folder: Path, rounds: int) -> Iterator[Row]:
    project = project_on(host.port, folder / "submit")
    submit = home.amlexec(project, "experiment", "submit", "-c", "gpubox", "train.py")
    run(submit)
    host.ssh(f"install -m 644 /home/{QUIET}/.amlexec/projects/submit-*/tree/train.py /home/{QUIET}/train.py")
    by_hand = home.command(project, "ssh", f"bench-{host.port}", "python3 train.py")
    warm = home.command(project, "ssh", *_multiplexed(home), f"bench-{host.port}", "python3 train.py")

    def cold() -> float:
        home.hang_up()
        return run(submit)

    ours, theirs, unit = in_turn(project, rounds, cold, lambda: run(by_hand))
    name, peer = "submit on a remote host, no connection yet", "ssh HOST python3 train.py"
    yield row(name, ours, peer, theirs, Figure("ratio", 3), unit)
    yield row(name, ours, peer, theirs, Figure("more ms", 250), unit)
    ours, theirs, unit = in_turn(project, rounds, lambda: run(submit), lambda: run(warm))
    name = "submit on a remote host, over a connection"
    yield row(name, ours, f"{peer}, multiplexed", theirs, Figure("more ms", 250), unit)


def _transfers(host: Host, home: Station, folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    wire = Wire(host.port)
    home.knows(host, wire.port)
    try:
        yield from _sent(host, home, folder, rounds, sizes, wire)
    finally:
        home.hang_up()
        wire.close()


def _sent(host: Host, home: Station, folder: Path, rounds: int, sizes: Sizes, wire: Wire) -> Iterator[Row]:
    project = project_on(wire.port, folder / "transfer")
    make_tree(project, sizes.snapshot)
    submit = home.amlexec(project, "experiment", "submit", "-c", "gpubox", "train.py")
    there = f"bench-{wire.port}"
    # Without what no run has: our own state.
    tar = f"tar -c --exclude=.amlexec . | ssh {there} 'rm -rf copy && mkdir copy && tar -x -C copy'"

    def first() -> float:
        home.hang_up()
        host.ssh(f"rm -rf /home/{QUIET}/.amlexec/projects")
        return run(submit)

    run(submit)  # the snapshot is there already: what is compared is the sending
    ours, theirs, unit = in_turn(project, rounds, first, lambda: run(home.command(project, "sh", "-c", tar)))
    name = f"submit, {sizes.snapshot:,} files to send"
    yield row(name, ours, "tar -c | ssh HOST tar -x", theirs, Figure("ratio", 1.5), unit)
    has_rsync = shutil.which("rsync") is not None
    bytes_ours, bytes_theirs = [], []
    rsync = f"rsync -a --delete --exclude=.amlexec -e ssh ./ {there}:copy/"
    if has_rsync:
        run(home.command(project, "sh", "-c", rsync))
    for number in range(rounds):
        (project / "part0/set0/file0.txt").write_text(f"changed {number}\n" * 500, "utf-8")
        bytes_ours.append(bytes_of(wire, home, submit))
        if has_rsync:
            bytes_theirs.append(bytes_of(wire, home, home.command(project, "sh", "-c", rsync)))
    name, peer = "the same, one file changed: kB on the wire", "rsync -a"
    yield row(name, bytes_ours, peer, bytes_theirs, Figure("ratio", 1.2), unit)


def bytes_of(wire: Wire, home: Station, command: Command) -> float:
    """Kilobytes that a command and its connection send to the machine."""
    home.hang_up()
    wire.reset()
    run(command)
    home.hang_up()
    return wire.sent / 1000


def _followed(host: Host, home: Station, folder: Path, sizes: Sizes) -> Row:
    """A log that is followed through cuts: equal to the byte, and hardly anything sent twice."""
    cuts = sizes.cuts
    size = (cuts + 1) * sizes.log
    wire = Wire(host.port, cut_after=int(0.96 * sizes.log), cuts=cuts)
    home.knows(host, wire.port)
    project = project_on(wire.port, folder / "follow")
    (project / "pour.py").write_text(POURING, "utf-8")
    piece = bytes(range(33, 127)) * 10 + b"\n"
    piece *= 500_000 // len(piece)
    command = home.amlexec(project, "experiment", "submit", "-c", "gpubox", "pour.py", str(size))
    unit = run(Command((sys.executable, "-c", "pass"), project))
    digest, length = hashlib.sha256(), 0
    with subprocess.Popen(
        command.arguments, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        # Around what the script prints, the command tells of the run.
        while process.stdout.readline().strip(b"=\n"):
            pass
        while chunk := process.stdout.read(min(1 << 16, size - length)):
            digest.update(chunk)
            length += len(chunk)
        process.stdout.read()
        code = process.wait(_SECONDS)
    wire.close()
    expected = hashlib.sha256()
    for at in range(0, size, len(piece)):
        expected.update(piece[: size - at])
    if code != 0 or digest.digest() != expected.digest():
        raise RuntimeError(f"the log that was followed is another one: {length} bytes of {size}")
    # Towards us comes the log, what was lost of it in a cut, and what SSH adds to each packet.
    name = f"{size // 1_000_000} MB of log, {wire.made - 1} cuts: bytes received of bytes printed"
    return Row(
        name,
        wire.received / 1e6,
        "MB printed",
        size / 1e6,
        wire.received / size,
        Figure("ratio", 1.02),
        unit,
        1,
    )


def in_turn(
    folder: Path, rounds: int, ours: Callable[[], float], peer: Callable[[], float]
) -> tuple[list[float], list[float], float]:
    """Times of both, turn by turn, and a bare Python's median.

    One of each, before, does not count; there is none before a single round, as in `timing.compared`.
    """
    bare = Command((sys.executable, "-c", "pass"), folder)
    if rounds > 1:
        ours()
        peer()
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    for number in range(rounds):
        for at in (0, 1) if number % 2 else (1, 0):
            times[at].append((ours, peer)[at]())
        times[2].append(run(bare))
    return times[0], times[1], statistics.median(times[2])


def row(name: str, ours: list[float], peer_name: str, peer: list[float], wanted: Figure, unit: float) -> Row:
    if not peer:
        return Row(name, statistics.median(ours), peer_name, None, None, wanted, unit, len(ours))
    pairs = list(zip(ours, peer, strict=True))
    value = statistics.median(
        mine / other if wanted.kind == "ratio" else mine - other for mine, other in pairs
    )
    return Row(
        name, statistics.median(ours), peer_name, statistics.median(peer), value, wanted, unit, len(ours)
    )

"""Environments in Docker: nothing to do, a run, and builds, beside doit, `docker run` and a Dockerfile.

It needs what the tests need: a Docker engine, a base image and a conda channel (`doit engines`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import statistics
import sys
import time
import uuid
from typing import TYPE_CHECKING, NamedTuple

from amlexec.docker import containers, images
from amlexec.docker.client import Engine, from_environment
from amlexec.docker.errors import EngineAnswerError
from benchmarks.submit import new_project
from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, run, script
from tests.engines import base_image, channel
from tests.engines.places import CHANNEL, HOW, WHEELS, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["rows"]

PLAIN = """\
def task_prepare():
    for number in range({count}):
        yield {{"name": str(number), "actions": ["true"], "uptodate": [True]}}
"""
DIFFERING = ("six", "idna", "tabulate")
"""Packages that some of several environments have."""
BUILD = """\
import subprocess, sys
from amlexec.docker.client import from_environment
folder, name = sys.argv[1:]
with subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE) as tar:
    with from_environment().asked(patient=True) as api:
        for said in api.build(fileobj=tar.stdout, custom_context=True, tag=name, nocache=True, forcerm=True):
            pass
"""
"""What `docker build` does with the classic builder, less the program's own start."""


class Shop(NamedTuple):
    """What the rows share."""

    engine: Engine
    base: str
    """A base image of this measurement alone, so that nothing is taken for another's."""
    cache: Path
    folder: Path
    packages: tuple[str, ...]
    """Of an environment that is built."""

    def amlexec(self, project: Path, *arguments: str) -> Command:
        """`amlexec`, with a package cache of its own."""
        return Command((*self._environment, script("amlexec"), *arguments), project)

    def doit(self, project: Path, *arguments: str) -> Command:
        """`doit`, with the same cache."""
        return Command((*self._environment, script("doit"), *arguments), project)

    @property
    def _environment(self) -> tuple[str, ...]:
        return ("env", f"AMLEXEC_CACHE={self.cache}")

    def project(self, name: str, *pip: str) -> Path:
        """A project with one docker target, whose pip section has these wheels."""
        made = new_project(self.folder / f"{name}-{uuid.uuid4().hex[:8]}")
        (made / "aml_config" / "docker.compute").write_text(
            f"type: docker\nbaseDockerImage: {self.base}\n", encoding="utf-8"
        )
        self.dependencies(made, "conda_dependencies", *pip)
        return made

    def dependencies(
        self, project: Path, name: str, *pip: str, packages: tuple[str, ...] | None = None
    ) -> None:
        """A dependencies file."""
        lines = ["channels:", f"  - {(state() / CHANNEL).as_uri()}", "dependencies:", "  - python"]
        lines += [f"  - {package}" for package in (self.packages if packages is None else packages)]
        lines += ["  - pip:", *(f"    - {state() / WHEELS}/{wheel}" for wheel in pip)] if pip else []
        (project / "aml_config" / f"{name}.yml").write_text("\n".join([*lines, ""]), encoding="utf-8")


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other. Raises RuntimeError where the engine or a part is absent."""
    if not base_image.is_there() or not channel.is_there():
        raise RuntimeError(f"a Docker engine, the base image or the conda channel is not there: {HOW}")
    with _shop(folder, sizes.packages) as shop:
        yield from _nothing_to_do(shop, rounds, sizes)
        yield from _a_run(shop, rounds)
        yield from _builds(shop, max(1, rounds // 3))


@contextlib.contextmanager
def _shop(folder: Path, packages: tuple[str, ...]) -> Iterator[Shop]:
    engine = from_environment()
    base = f"amlexec-bench/base:{uuid.uuid4().hex[:12]}"
    made = containers.create(engine, {"Image": base_image.REFERENCE, "Cmd": ["none"]})
    try:
        images.commit(engine, made, base, changes=[f"LABEL amlexec-bench={base.partition(':')[2]}"])
    finally:
        containers.remove(engine, made, force=True)
    shop = Shop(engine, base, folder / "cache", folder, packages)
    try:
        yield shop
    finally:
        for project in sorted(path.parent for path in folder.glob("*/aml_config")):
            run(shop.amlexec(project, "experiment", "clean", "--environments"))
        for name in (f"{base}-by-hand", base):
            with contextlib.suppress(EngineAnswerError):
                images.remove(engine, name)


def _nothing_to_do(shop: Shop, rounds: int, sizes: Sizes) -> Iterator[Row]:
    plain = shop.folder / "plain"
    plain.mkdir()
    (plain / "dodo.py").write_text(PLAIN.format(count=6), encoding="utf-8")
    six, hundred = shop.project("six"), shop.project("hundred")
    # One of them is `local`.
    _configurations(shop, six, 5, min(2, sizes.environments))
    _configurations(shop, hundred, sizes.configurations - 1, sizes.environments)
    for project in (six, hundred):
        run(shop.doit(project, "prepare"))
        time.sleep(sizes.settling)
        run(shop.doit(project, "prepare"))
    peer = Peer("doit, 6 tasks", Command((script("doit"),), plain))
    ours = Command((script("doit"), "prepare"), six)
    yield compared("doit prepare, 6 run configurations", ours, peer, Figure("ratio", 1.25), rounds)
    one = Command((script("amlexec"), "experiment", "prepare", "-c", "docker"), six)
    yield compared("amlexec experiment prepare", one, peer, Figure("ratio", 0.4), rounds)
    digest = Command((*one.arguments, "--print-digest"), six)
    yield compared("the same with --print-digest", digest, peer, Figure("ratio", None), rounds)
    many = Command((script("doit"), "prepare"), hundred)
    peer = Peer("6 run configurations", ours)
    name = f"doit prepare, {sizes.configurations} of {sizes.environments} environments"
    yield compared(name, many, peer, Figure("ratio", 2), rounds)


def _configurations(shop: Shop, project: Path, count: int, environments: int) -> None:
    """As many run configurations besides `local`, sharing so many environments."""
    text = (project / "aml_config" / "docker.runconfig").read_text(encoding="utf-8")
    choices = [choice for size in range(3) for choice in itertools.combinations(DIFFERING, size)]
    for number in range(environments):
        shop.dependencies(project, f"environment{number}", packages=choices[number])
    for number in range(count):
        name = "docker" if number == 0 else f"configuration{number}"
        file = text.replace("conda_dependencies.yml", f"environment{number % environments}.yml")
        (project / "aml_config" / f"{name}.runconfig").write_text(file, encoding="utf-8")


def _a_run(shop: Shop, rounds: int) -> Iterator[Row]:
    project = shop.project("run")
    run(shop.amlexec(project, "experiment", "prepare", "-c", "docker"))
    image = _image(shop, project)
    mounted = ("-v", f"{project}:/project", "-w", "/project", "-u", f"{os.getuid()}:{os.getgid()}")
    docker = ("docker", "run", "--rm", "--init", *mounted, image, "python", "train.py")
    peer = Peer("docker run --rm", Command(docker, project) if shutil.which("docker") else None)
    submit = Command((script("amlexec"), "experiment", "submit", "-c", "docker", "train.py"), project)
    yield compared("amlexec experiment submit, docker", submit, peer, Figure("more ms", 100), rounds)
    # Else its conda layer would serve the builds.
    run(shop.amlexec(project, "experiment", "clean", "--environments"))


def _image(shop: Shop, project: Path) -> str:
    """The id of the image that the project's environment is."""
    label = {"amlexec.project": project.name, "amlexec.digest": ""}
    return str(images.find(shop.engine, label)[0]["Id"])


def _builds(shop: Shop, rounds: int) -> Iterator[Row]:
    wheels = sorted(path.name for path in (state() / WHEELS).glob("*.whl"))
    colorama, greet = (
        next(name for name in wheels if name.startswith(start))
        for start in ("colorama", "amlexec_test_greet")
    )
    first, second = shop.project("first", colorama), shop.project("second", colorama, greet)
    clean = ("experiment", "clean", "--environments")
    prepare = ("experiment", "prepare", "-c", "docker")
    context = shop.folder / "context"
    run(shop.amlexec(first, *prepare, "--context", str(context)))
    by_hand = Command((sys.executable, "-c", BUILD, str(context), f"{shop.base}-by-hand"), first)

    def fresh() -> None:
        run(shop.amlexec(second, *clean))
        run(shop.amlexec(first, *clean))

    def timed(command: Command) -> float:
        if rounds > 1:
            os.sync()  # else it waits for what the one before has written
        return run(command)

    def ours() -> float:
        fresh()
        return timed(shop.amlexec(first, *prepare))

    def one_line_more() -> float:
        if rounds > 1:  # else `ours` was just before, and has left what is built here
            fresh()
            run(shop.amlexec(first, *prepare))
        return timed(shop.amlexec(second, *prepare))

    build, file, more = _in_turn((ours, lambda: timed(by_hand), one_line_more), rounds)
    unit = statistics.median(run(Command((sys.executable, "-c", "pass"), first)) for _ in range(rounds))
    yield _row("a build, packages in the cache", build, "a Dockerfile", file, Figure("ratio", 1.3), unit)
    most = Figure("ratio", 1 / 3)
    yield _row("a build, one pip line more", more, "the first build", build, most, unit)


def _in_turn(actions: tuple[Callable[[], float], ...], rounds: int) -> list[list[float]]:
    for action in actions if rounds > 1 else ():
        action()
    times: list[list[float]] = [[] for _ in actions]
    for number in range(rounds):
        for step in range(len(actions)):
            at = (number + step) % len(actions)
            times[at].append(actions[at]())
    return times


def _row(name: str, ours: list[float], peer_name: str, peer: list[float], wanted: Figure, unit: float) -> Row:
    value = statistics.median(mine / other for mine, other in zip(ours, peer, strict=True))
    medians = statistics.median(ours), statistics.median(peer)
    return Row(name, medians[0], peer_name, medians[1], value, wanted, unit, len(ours))

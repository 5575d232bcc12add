"""The classes of Spark as Java has them in memory, in a file: with it, Spark starts in half the time.

It is for the machines of the tests that have Spark at `/opt/spark`. Without it, or with one that Java does
not take, they are slower and the same.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from amlexec.docker import containers

from . import spark, ssh_host, tools
from .choice import machines
from .places import state

__all__ = ["FILE", "HOME", "binds", "is_there", "ready", "remove"]

HOME = "/opt/spark"
"""Java compares the paths of its jars."""
FILE = "/opt/spark-archive/spark.jsa"
_FOLDER = "spark-archive"
_RECIPE = "recipe.txt"
_TIMEOUT_S = 300
_JOB = """\
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
assert spark.range(1000).selectExpr("sum(id) AS total").first()["total"] == 499500
assert spark.sparkContext.parallelize(range(4), 2).map(lambda each: each + 1).sum() == 10
"""
_OPTIONS = (
    "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote "
    "-XX:ArchiveClassesAtExit=/out/spark.jsa"
)
_SCRIPT = f"""\
set -e
cat >/tmp/job.py <<'.'
{_JOB}.
export PATH={HOME}/bin:$PATH SPARK_HOME={HOME} SPARK_LOCAL_IP=127.0.0.1 PYSPARK_PYTHON=python3
spark-submit --master 'local[2]' --conf spark.ui.enabled=false --conf spark.driver.memory=512m \
    --conf "spark.driver.extraJavaOptions={_OPTIONS}" /tmp/job.py
"""


def is_there() -> bool:
    """Whether it is there, made by this recipe of the parts that are there."""
    try:
        return spark.is_there() and (state() / _FOLDER / _RECIPE).read_text("utf-8") == _recipe()
    except FileNotFoundError:
        return False


def ready() -> None:
    """Make it anew. Raises MissingError, ToolError."""
    if not (spark.is_there() and ssh_host.is_there()):
        raise tools.MissingError(
            "no archive of Spark's classes: there is no Spark, or no machine to log in to"
        )
    print("archiving the classes of Spark")
    docker = machines()
    new = state() / f"{_FOLDER}.new-{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    parts = spark.installed()
    settings = {
        "Image": ssh_host.REFERENCE,
        "Cmd": ["sh", "-c", _SCRIPT],
        "Env": [f"JAVA_HOME={parts.java}"],
        "HostConfig": {"NetworkMode": "host", "Init": True, "Binds": [*_parts(parts), f"{new}:/out"]},
    }
    made = containers.create(docker, settings)
    try:
        containers.start(docker, made)
        if containers.wait(docker, made, timeout=_TIMEOUT_S) != 0 or not (new / "spark.jsa").exists():
            with containers.logs(docker, made) as output:
                said = b"".join(frame.data for frame in output).decode(errors="replace")
            raise tools.ToolError(f"Spark's classes can't be archived:\n{said[-2000:]}")
        (new / _RECIPE).write_text(_recipe(), "utf-8")
        remove()
        new.rename(state() / _FOLDER)
    finally:
        containers.remove(docker, made, force=True)
        shutil.rmtree(new, ignore_errors=True)


def remove() -> None:
    """Remove the folder."""
    shutil.rmtree(state() / _FOLDER, ignore_errors=True)


def binds(parts: spark.Installed) -> list[str]:
    """What a machine mounts: Spark, Java, and the archive if it is there."""
    folder = state() / _FOLDER
    archive = [f"{folder}:{Path(FILE).parent}:ro"] if is_there() else []
    return [*_parts(parts), *archive]


def _parts(parts: spark.Installed) -> list[str]:
    return [f"{parts.home()}:{HOME}:ro", *(f"{path}:{path}:ro" for path in parts.java_folders())]


def _recipe() -> str:
    own = [Path(module.__file__ or "") for module in (spark, ssh_host)]
    made = hashlib.sha256(b"".join(path.read_bytes() for path in [*own, Path(__file__)])).hexdigest()
    return f"{made} {spark.installed().java}\n"

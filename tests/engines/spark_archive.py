"""The classes of Spark as Java has them in memory, in a file: with it, Spark starts in half the time.

It is for the machines of the tests that have Spark at `/opt/spark`. Without it, or with one that Java does
not take, they are slower and the same.
"""

from __future__ import annotations

from pathlib import Path

from amlexec.docker import containers

from . import recipe_folder, spark, ssh_host, tools
from .choice import machines
from .places import state

__all__ = ["FILE", "HOME", "binds", "is_there", "ready", "remove"]

HOME = "/opt/spark"
"""Java compares the paths of its jars."""
FILE = "/opt/spark-archive/spark.jsa"
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
    return spark.is_there() and recipe_folder.is_there(_folder(), _recipe())


def ready() -> None:
    """Make it anew. Raises MissingError, ToolError."""
    if not (spark.is_there() and ssh_host.is_there()):
        raise tools.MissingError(
            "no archive of Spark's classes: there is no Spark, or no machine to log in to"
        )
    print("archiving the classes of Spark")
    with recipe_folder.replaced(_folder(), _recipe) as new:
        _archive(new)


def _archive(folder: Path) -> None:
    docker = machines()
    parts = spark.installed()
    settings = {
        "Image": ssh_host.REFERENCE,
        "Cmd": ["sh", "-c", _SCRIPT],
        "Env": [f"JAVA_HOME={parts.java}"],
        "HostConfig": {"NetworkMode": "host", "Init": True, "Binds": [*_parts(parts), f"{folder}:/out"]},
    }
    made = containers.create(docker, settings)
    try:
        containers.start(docker, made)
        if containers.wait(docker, made, timeout=_TIMEOUT_S) != 0 or not (folder / "spark.jsa").exists():
            with containers.logs(docker, made) as output:
                said = b"".join(frame.data for frame in output).decode(errors="replace")
            raise tools.ToolError(f"Spark's classes can't be archived:\n{said[-2000:]}")
    finally:
        containers.remove(docker, made, force=True)


def remove() -> None:
    """Remove the folder."""
    recipe_folder.remove(_folder())


def binds(parts: spark.Installed) -> list[str]:
    """What a machine mounts: Spark, Java, and the archive if it is there."""
    archive = [f"{_folder()}:{Path(FILE).parent}:ro"] if is_there() else []
    return [*_parts(parts), *archive]


def _parts(parts: spark.Installed) -> list[str]:
    return [f"{parts.home()}:{HOME}:ro", *(f"{path}:{path}:ro" for path in parts.java_folders())]


def _folder() -> Path:
    return state() / "spark-archive"


def _recipe() -> str:
    more = str(spark.installed().java)
    return recipe_folder.recipe(spark.__file__, ssh_host.__file__, __file__, more=more)

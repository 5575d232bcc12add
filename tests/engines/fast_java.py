"""A JAVA_HOME whose Java starts Spark and Hadoop in half the time: it has their classes in archives.

`bin/java` is a script. Java takes an archive only where the class path begins with the jars that it was made
of; Spark and YARN put folders before them. So the script puts the jars first, and names the archive.

What is in the archives is what a small cluster loads: YARN with HDFS, and a master with a worker. Java
compares jars by path, size and time: the archives are for machines that mount the very folders, at `SPARK`
and at `hadoop_programs.JARS`. Other jars are loaded as ever.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from amlexec.docker import archives, containers

from . import hadoop, hadoop_programs, hadoop_versions, recipe_folder, spark, ssh_host, tools
from .choice import machines
from .places import state

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["HOME", "SPARK", "binds", "home", "is_there", "ready", "remove"]

HOME = "/opt/java-of-tests"
"""Where machines mount it."""
SPARK = "/opt/spark"
_ARCHIVES = {"spark": f"{SPARK}/jars", "hadoop": hadoop_programs.JARS}
"""The archives, and where their jars are."""
_TIMEOUT_S = 600
_LISTS = "lists"
"""A folder in it, while it is made: each Java writes there which classes it has loaded."""
_FAST = (
    "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -XX:MetaspaceSize=200m "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)
_JAVA = """\
#!/bin/sh
# See tests/engines/fast_java.py.
set -f
here=${{0%/bin/java}}
# Sets `path` to a class path, from its jars on, and `name` to their archive.
begun() {{
  path=$1
  case $1: in
{cases}
  *) name= && return ;;
  esac
  before=${{1%%"$jars"*}}
  [ -z "$before" ] || path=$jars:${{before%:}}${{1#*"$jars"}}
}}
name= was= left=$#
[ -z "$CLASSPATH" ] || {{ begun "$CLASSPATH" && export CLASSPATH="$path"; }}
while [ $left -gt 0 ]; do
  word=$1 left=$((left - 1))
  shift
  case $was in
  -cp | -classpath) begun "$word" && word=$path was=- ;;
  [!-]*) ;;  # after the name of the class, all words are its own
  *) was=$word ;;
  esac
  set -- "$@" "$word"
done
if [ -d "$here/{lists}" ]; then
  [ -z "$name" ] || set -- -XX:DumpLoadedClassList="$here/{lists}/$name.$$" "$@"
elif [ -n "$name" ]; then
  # Nothing is said on standard output where the jars are others.
  set -- -Xlog:disable -XX:SharedArchiveFile="$here/$name.jsa" "$@"
fi
exec {java}/bin/java {fast} "$@"
"""
_CASE = "  *{jars}/\\**) name={name} jars='{jars}/*' ;;"
_JOB = """\
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
assert spark.range(1000).selectExpr("sum(id) AS total").first()["total"] == 499500
assert spark.sparkContext.parallelize(range(4), 2).map(lambda each: each + 1).sum() == 10
spark.range(10).write.csv(sys.argv[1])
assert spark.read.csv(sys.argv[1]).count() == 10
spark.stop()
"""
_SCRIPT = f"""\
set -e
cd /tmp
cat >job.py <<'.'
{_JOB}.
export PATH={SPARK}/bin:/usr/local/bin:$PATH SPARK_HOME={SPARK} HADOOP_CONF_DIR={hadoop_programs.CONF}
export SPARK_LOCAL_IP=127.0.0.1 PYSPARK_PYTHON=python3 HADOOP_USER_NAME=root
mkdir settings
cat >settings/spark-defaults.conf <<'.'
spark.ui.enabled false
spark.driver.memory 512m
spark.executor.memory 512m
spark.executor.instances 1
spark.yarn.jars local:{SPARK}/jars/*
.
export SPARK_CONF_DIR=/tmp/settings
master=spark://127.0.0.1:7077
{{
  daemon {hadoop_programs.DAEMONS["namenode"]} -format -force
  for one in {" ".join(hadoop_programs.DAEMONS.values())}; do
    daemon $one & echo $! >>daemons
  done
  until hdfs dfsadmin -safemode wait; do sleep 1; done
  spark-submit --master yarn --deploy-mode cluster job.py numbers
  alone=org.apache.spark.deploy
  spark-class $alone.master.Master --host 127.0.0.1 --port 7077 & echo $! >>daemons
  spark-class $alone.worker.Worker --host 127.0.0.1 --work-dir /tmp/work $master & echo $! >>daemons
  timeout 120 spark-submit --master $master job.py file:/tmp/numbers
  hdfs dfs -ls /
  kill $(cat daemons)
  wait
}} >&2
for name in {" ".join(_ARCHIVES)}; do
  # A class of a loader of its own has a `source:`; all others are loaded from the class path.
  cat {HOME}/{_LISTS}/$name.* | grep -v source: | sed 's/ id: .*//' | sort -u >list
  {{ grep -v ^@ list; grep ^@ list; }} >$name.list
done
"""
_DUMP = """\
{java}/bin/java -Xshare:dump -XX:TieredStopAtLevel=1 -XX:+UseG1GC -Xmx2g \\
    -XX:SharedClassListFile={name}.list -XX:SharedArchiveFile={home}/{name}.jsa -cp '{jars}/*' >&2 &
dumping="$dumping $!"
"""
_DUMPED = "for one in $dumping; do wait $one; done\n"


def is_there() -> bool:
    """Whether it is there, made by this recipe of the parts that are there."""
    return hadoop_versions.is_there() and recipe_folder.is_there(_folder(), _recipe())


def ready() -> None:
    """Make it anew. Raises MissingError, ToolError."""
    if not (hadoop_versions.is_there() and ssh_host.is_there()):
        raise tools.MissingError(
            "no archives of classes: there is no Spark, no Hadoop, or no machine to log in to"
        )
    print("archiving the classes of Spark and Hadoop")
    with recipe_folder.replaced(_folder(), _recipe) as new:
        _lay_out(new)
        _archive(new)


def remove() -> None:
    """Remove the folder."""
    recipe_folder.remove(_folder())


def home() -> str:
    """The JAVA_HOME on a machine with these `binds`: Debian's, if the fast one is not there."""
    return HOME if is_there() else str(spark.installed().java)


def binds() -> list[str]:
    """What a machine mounts for its Java."""
    ours = [f"{_folder()}:{HOME}:ro"] if is_there() else []
    return [*(f"{path}:{path}:ro" for path in spark.installed().java_folders()), *ours]


def _lay_out(folder: Path) -> None:
    java = spark.installed().java
    (folder / _LISTS).mkdir()
    (folder / "bin").mkdir()
    for path in [*java.glob("bin/*"), *java.glob("*")]:
        inside = path.relative_to(java)
        if inside.as_posix() not in {"bin", "bin/java"}:
            (folder / inside).symlink_to(path)
    ours = folder / "bin/java"
    cases = "\n".join(_CASE.format(name=name, jars=jars) for name, jars in _ARCHIVES.items())
    ours.write_text(_JAVA.format(cases=cases, lists=_LISTS, java=java, fast=_FAST))
    ours.chmod(0o755)


def _archive(folder: Path) -> None:
    docker, parts = machines(), spark.installed()
    mounted = [f"{parts.home(hadoop_versions.spark_version())}:{SPARK}:ro"]
    mounted += [f"{hadoop_versions.folder()}:{hadoop_programs.JARS}:ro", f"{folder}:{HOME}"]
    mounted += [f"{path}:{path}:ro" for path in parts.java_folders()]
    host = {"NetworkMode": "none", "Init": True, "ExtraHosts": ["head:127.0.0.1"], "Binds": mounted}
    dumps = [
        _DUMP.format(java=parts.java, home=HOME, name=name, jars=jars) for name, jars in _ARCHIVES.items()
    ]
    settings = {
        "Image": ssh_host.REFERENCE,
        "Hostname": "head",
        "Cmd": ["bash", "-c", f"{_SCRIPT}{''.join(dumps)}{_DUMPED}"],
        "Env": [f"JAVA_HOME={HOME}"],
        "HostConfig": host,
    }
    made = containers.create(docker, settings)
    try:
        archives.put(docker, made, "/", hadoop_programs.tar(hadoop_programs.files()))
        containers.start(docker, made)
        if containers.wait(docker, made, timeout=_TIMEOUT_S) != 0:
            with containers.logs(docker, made) as output:
                said = b"".join(frame.data for frame in output).decode(errors="replace")
            raise tools.ToolError(f"the classes can't be archived:\n{said[-4000:]}")
    finally:
        containers.remove(docker, made, force=True)
    shutil.rmtree(folder / _LISTS)


def _folder() -> Path:
    return state() / f"java-{hadoop_versions.version()}"


def _recipe() -> str:
    files = (spark.__file__, ssh_host.__file__, hadoop.__file__, hadoop_versions.__file__)
    more = str(spark.installed().java)
    return recipe_folder.recipe(*files, hadoop_programs.__file__, __file__, more=more)

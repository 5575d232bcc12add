"""What the head node of a Spark cluster says of its Java, its master, and the Python of the executors."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.machines.check_results import FAILED, OK, WARNING, Finding
from amlexec.runtime import SITE, shell
from amlexec.spark import submit_args

if TYPE_CHECKING:
    from amlexec.local_machine import Answer
    from amlexec.model import ComputeTarget
    from amlexec.ssh.connection import SSHConnection

__all__ = ["of_cluster"]

_EXECUTOR_TIMEOUT_S = 60
"""How long executors may take to come. A cluster that is busy has none free for a check."""
_JAVA = "install one there, or set JAVA_HOME for logins without a terminal (in ~/.bashrc, say)"
_PYTHON = re.compile(
    r"Python in worker has different version:? \(?(\d+)\D+(\d+)\)? than that in driver:? (\d+\.\d+)"
)
"""Of Spark 2 to 4, which write the version of the worker in two ways."""
_JOB = """
import sys
from pyspark import SparkContext
context = SparkContext()
found = context.parallelize(range(2), 2).map(lambda _: "%d.%d" % sys.version_info[:2]).collect()
print("executors " + " ".join(sorted(set(found))))
"""
_SUBMIT = """
job=$(mktemp) || exit 2
trap 'rm -f "$job" "$job.py"' EXIT
cat >"$job.py"
export PYSPARK_PYTHON="$2" PYSPARK_DRIVER_PYTHON="$2"
limit=
! command -v timeout >/dev/null 2>&1 || limit="timeout $4"
$limit "$1" --master "$3" --deploy-mode client --name 'amlexec check' --conf spark.ui.enabled=false \\
  --conf spark.executor.instances=1 --conf spark.cores.max=1 "$job.py" </dev/null 2>&1
"""


def of_cluster(connection: SSHConnection, target: ComputeTarget) -> list[Finding]:
    """What comes after spark-submit was found. A small job runs where the user manages the Python."""
    script = f"(\n{Path(shell('spark')).read_text('utf-8')}\n)\n"
    asking = (SITE / "amlexec/spark_master.py").read_text("utf-8")
    script += f'exec "$2" -c {shlex.quote(asking)} {shlex.quote(target.master)} </dev/null\n'
    python = target.python_location if target.user_managed_environment else "python3"
    answer = connection.run(script, target.spark_submit_location, python)
    found = submit_args.read(answer.stdout)
    told = [_java(found), _master(target, answer)]
    if any(one.status == FAILED for one in told):
        return told
    if not target.user_managed_environment:
        return [*told, Finding("Python of the executors", OK, "it goes to them with each run")]
    job = connection.run(
        *(_SUBMIT, found.submit, python, target.master, str(_EXECUTOR_TIMEOUT_S)),
        input=_JOB.encode(),
        timeout=_EXECUTOR_TIMEOUT_S + 30.0,
    )
    return [*told, _executors(target, job)]


def _java(found: submit_args.Spark) -> Finding:
    try:
        submit_args.java_must_do(found, "", _JAVA)
    except TargetError as error:
        return Finding("Java", FAILED, error.message, error.hint)
    return Finding("Java", OK, f"{found.java} for {found.name}")


def _master(target: ComputeTarget, answer: Answer) -> Finding:
    told = dict(line.partition(" ")[::2] for line in answer.stdout.splitlines())
    if "master" in told:
        return Finding("Spark master", OK, f"{told['master']} answers")
    if "master_error" in told:
        hint = f"start it, or name another as master in {target.place.path}"
        return Finding("Spark master", FAILED, f"{target.master}: {told['master_error']}", hint)
    if target.master != "yarn":
        return Finding("Spark master", OK, target.master)
    hint = "set HADOOP_CONF_DIR for logins without a terminal, unless spark-env.sh does"
    return Finding("Spark master", WARNING, "there is no yarn-site.xml that names YARN's", hint)


def _executors(target: ComputeTarget, job: Answer) -> Finding:
    name = "Python of the executors"
    if differ := _PYTHON.search(job.stdout):
        hint = f"set pythonLocation in {target.place.path} to a Python that all machines have alike"
        return Finding(name, FAILED, f"it is {differ[1]}.{differ[2]}, and the driver's is {differ[3]}", hint)
    if same := re.search(r"^executors (.*)$", job.stdout, re.MULTILINE):
        return Finding(name, OK, f"{same[1]}, as the driver's")
    if job.exit_code == 124:
        hint = "look at the cluster: it may be busy, or have no worker with 1 GB of memory"
        return Finding(name, WARNING, f"no executor came within {_EXECUTOR_TIMEOUT_S} s", hint)
    lines = job.stdout.splitlines()
    last = next(
        (one for one in reversed(lines) if re.match(r"[\w.]*(Error|Exception): ", one)), "no error shows"
    )
    return Finding(name, FAILED, f"a job failed: {last.strip()}", "run spark-submit there by hand")

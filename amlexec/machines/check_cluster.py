"""Checks of a Spark cluster: Java, the master, and the Python of the executors."""

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
    from amlexec.ssh.connection import SSHConnection
    from amlexec.values import ComputeTarget

__all__ = ["of_cluster"]

_EXECUTOR_TIMEOUT_S = 60
"""For executors to start, in seconds. A busy cluster may have none free for a check."""
_JAVA = "install it on the machine, or set JAVA_HOME for logins without a terminal (such as in ~/.bashrc)"
_PYTHON = re.compile(
    r"Python in worker has different version:? \(?(\d+)\D+(\d+)\)? than that in driver:? (\d+\.\d+)"
)
"""Of Spark 2 to 4, which write the worker's version in two forms."""
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
    """Check the cluster after spark-submit was found. Runs a small job if the user manages the Python."""
    script = f"(\n{Path(shell('spark')).read_text('utf-8')}\n)\n"
    program = (SITE / "amlexec/spark_master.py").read_text("utf-8")
    script += f'exec "$2" -c {shlex.quote(program)} {shlex.quote(target.master)} </dev/null\n'
    python = target.python_location if target.user_managed_environment else "python3"
    answer = connection.run(script, target.spark_submit_location, python)
    found = submit_args.read(answer.stdout)
    findings = [_java(found), _master(target, answer)]
    if any(finding.status == FAILED for finding in findings):
        return findings
    if not target.user_managed_environment:
        return [*findings, Finding("Python of the executors", OK, "it is sent to them with each run")]
    job = connection.run(
        *(_SUBMIT, found.submit, python, target.master, str(_EXECUTOR_TIMEOUT_S)),
        input=_JOB.encode(),
        timeout=_EXECUTOR_TIMEOUT_S + 30.0,
    )
    return [*findings, _executors(target, job)]


def _java(found: submit_args.Spark) -> Finding:
    try:
        submit_args.java_must_do(found, "", _JAVA)
    except TargetError as error:
        return Finding("Java", FAILED, error.message, error.hint)
    return Finding("Java", OK, f"{found.java} for {found.name}")


def _master(target: ComputeTarget, answer: Answer) -> Finding:
    answers = dict(line.partition(" ")[::2] for line in answer.stdout.splitlines())
    if "master" in answers:
        return Finding("Spark master", OK, f"{answers['master']} answers")
    if "master_error" in answers:
        hint = f"start it, or set another master in {target.place.path}"
        return Finding("Spark master", FAILED, f"{target.master}: {answers['master_error']}", hint)
    if target.master != "yarn":
        return Finding("Spark master", OK, target.master)
    hint = "set HADOOP_CONF_DIR for logins without a terminal, unless spark-env.sh does"
    return Finding("Spark master", WARNING, "no yarn-site.xml names YARN's master", hint)


def _executors(target: ComputeTarget, job: Answer) -> Finding:
    name = "Python of the executors"
    if differ := _PYTHON.search(job.stdout):
        hint = f"set pythonLocation in {target.place.path} to a Python that is the same on all machines"
        return Finding(name, FAILED, f"it is {differ[1]}.{differ[2]}, but the driver's is {differ[3]}", hint)
    if same := re.search(r"^executors (.*)$", job.stdout, re.MULTILINE):
        return Finding(name, OK, f"{same[1]}, the same as the driver's")
    if job.exit_code == 124:
        hint = "the cluster may be busy, or have no worker with 1 GB of free memory"
        return Finding(name, WARNING, f"no executor started within {_EXECUTOR_TIMEOUT_S} s", hint)
    lines = job.stdout.splitlines()
    last = next(
        (line for line in reversed(lines) if re.match(r"[\w.]*(Error|Exception): ", line)),
        "no error was printed",
    )
    return Finding(name, FAILED, f"a test job failed: {last.strip()}", "run spark-submit there by hand")

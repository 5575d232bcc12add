"""Checks of a Spark cluster: Java, the master, and the Python of the executors."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.errors import TargetError
from amlexec.machines.check_results import FAILED, OK, WARNING, Finding
from amlexec.runtime import SITE, shell
from amlexec.spark import kerberos, submit_args

if TYPE_CHECKING:
    from amlexec.local_machine import Answer
    from amlexec.ssh.connection import SSHConnection
    from amlexec.values import ComputeTarget

__all__ = ["of_cluster"]

_EXECUTOR_TIMEOUT_S = 60
"""For executors to start, in seconds. A busy cluster may have none free for a check."""
_YARN_TIMEOUT_S = 120.0
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
    if target.master == "yarn":
        ticket = [_ticket(found, connection.name)] if found.ticket else []
        findings += ticket
        if not any(finding.status == FAILED for finding in ticket):
            findings += _of_yarn(connection, target, python)
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


def _ticket(found: submit_args.Spark, machine: str) -> Finding:
    try:
        kerberos.ticket_must_be_valid(found, machine)
    except TargetError as error:
        return Finding("Kerberos", FAILED, error.message, error.hint)
    return Finding("Kerberos", OK, kerberos.in_words(found))


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


def _of_yarn(connection: SSHConnection, target: ComputeTarget, python: str) -> list[Finding]:
    """What the ResourceManager and the cluster's file system say."""
    text = "import sys, types\n"
    for name in ("hadoop_tls", "hadoop_site", "hadoop_files", "yarn_rest"):
        source = (SITE / "amlexec" / f"{name}.py").read_text("utf-8")
        text += f"module = sys.modules[{name!r}] = types.ModuleType({name!r})\n"
        text += f"exec({source!r}, module.__dict__)\n"
    text += (SITE / "amlexec/yarn_check.py").read_text("utf-8")
    answer = connection.run('exec "$1" -I -S -', python, input=text.encode(), timeout=_YARN_TIMEOUT_S)
    found: dict[str, list[str]] = {}
    for line in answer.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    if "hadoop" not in found:
        # Only Spark's own settings name it, or there is none, which is said already.
        return []
    return [_nodes(found), _queues(found), _files(found), _deploy_mode(target)]


def _nodes(found: dict[str, list[str]]) -> Finding:
    name = "YARN's nodes"
    if match := re.fullmatch(r"([0-9]+) (-?[0-9]+) (-?[0-9]+)", found.get("nodes", [""])[0]):
        if match[1] == "0":
            return Finding(
                name, FAILED, "none is a member of the cluster", "start NodeManagers: yarn node -list"
            )
        return Finding(name, OK, f"{match[1]}, with {match[2]} MB and {match[3]} vcores free")
    why = found.get("nodes_error", ["no answer"])[0]
    hint = "a driver's log is then only shown at its end: see yarn.resourcemanager.webapp.address there"
    return Finding(name, WARNING, f"YARN does not tell: {why}", hint)


def _queues(found: dict[str, list[str]]) -> Finding:
    names = found.get("queue", [])
    said = ", ".join(names[:20]) or "YARN does not tell"
    return Finding("YARN's queues", OK if names else WARNING, said, "" if names else "see `yarn queue -list`")


def _files(found: dict[str, list[str]]) -> Finding:
    name = "cluster's file system"
    if "files_slow" in found:
        hint = "each operation takes seconds, as it starts a JVM: let the head node ask the NameNodes"
        said = f"{found['files'][0]} can be written, but only by `hadoop fs`: {found['files_slow'][0]}"
        return Finding(name, WARNING, said, hint)
    if "files" in found:
        return Finding(name, OK, f"{found['files'][0]} can be written")
    why = found.get("files_error", ["no answer"])[0]
    hint = (
        "environments and results are stored there; an administrator makes your home folder: hdfs dfs -mkdir"
    )
    if "safe mode" in why.lower():
        hint = "wait until enough DataNodes have started, or: hdfs dfsadmin -safemode leave"
    return Finding(name, FAILED, why, hint)


def _deploy_mode(target: ComputeTarget) -> Finding:
    name, mode = "yarnDeployMode", target.yarn_deploy_mode
    if mode != "client" and target.user_managed_environment:
        return Finding(name, OK, f"{mode}: each node needs {target.python_location}")
    return Finding(name, OK, mode)


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

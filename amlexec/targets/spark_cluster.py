"""Runs on a Spark cluster: spark-submit runs on the head node and submits the application."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from amlexec.config import load as config
from amlexec.files import read_regular
from amlexec.history import folders
from amlexec.spark import cluster_args, yarn_report
from amlexec.spark.cluster_args import Shipped
from amlexec.targets.outputs import bring
from amlexec.targets.safe_tar import unpack
from amlexec.targets.ssh import SSHTarget
from amlexec.values import NotCollected

if TYPE_CHECKING:
    from pathlib import Path

    from amlexec.history.paths import RunPaths
    from amlexec.targets.target import Launch, State
    from amlexec.values import Plan

__all__ = ["SparkClusterTarget"]

_REPORT = """
head -c 65536 "$HOME/.amlexec/runs/$1/control/application.json" 2>/dev/null || :
"""
"""What YARN says about the run's application, as the head node wrote it."""
_END = """
folder=$HOME/.amlexec/runs/$1
# The run's own process has ended the application, if there was one.
! grep -qs '"is_finished": true' "$folder/control/application.json" || exit 0
export AMLEXEC_RUN_FOLDER="$folder"
if [ -x "$3" ] && [ -r "$4" ]; then
  "$3" -I -S "$4" "end-$5" "$2" "$6" </dev/null >&2
  exit
fi
found=$(cat "$folder/control/application.json" "$folder/stderr.log" 2>/dev/null |
  grep -o 'application_[0-9]*_[0-9]*' | sed 1q)
yarn=$(command -v yarn) || yarn=${HADOOP_HOME:-/usr/lib/hadoop}/bin/yarn
if [ -z "$found" ]; then
  listed=$("$yarn" application -list -appTags "$2" </dev/null) || exit
  found=$(printf '%s\n' "$listed" | grep -o 'application_[0-9]*_[0-9]*' | sed 1q)
fi
[ -n "$found" ] || exit 0
if [ -x "$yarn" ]; then
  "$yarn" application -kill "$found" </dev/null >&2 || exit
else
  program=org.apache.hadoop.yarn.client.cli.ApplicationCLI
  spark-class "$program" application -kill "$found" </dev/null >&2 || exit
fi
# Relative to the user's home folder in the cluster's file system.
hadoop=$(command -v hadoop) || hadoop=${HADOOP_HOME:-/usr/lib/hadoop}/bin/hadoop
[ ! -x "$hadoop" ] ||
  "$hadoop" fs -rm -r -f -skipTrash ".sparkStaging/$found" ".amlexec/runs/$2" </dev/null >/dev/null 2>&1 || :
"""
_ARCHIVE = """
umask 077
folder=$HOME/.amlexec/archives
archive=$folder/$2.tar.gz
if [ ! -e "$archive" ]; then
  mkdir -p "$folder" || exit 2
  find "$folder" -name '.*.new' -mtime +0 -exec rm -f {} + 2>/dev/null
  new=$folder/.$2.$$.new
  said=$folder/.$2.$$.said.new
  trap 'rm -f "$new" "$said"' EXIT
  trap 'exit 1' HUP INT TERM
  # A pipe has the exit code of its last part only: without the word that is written last it was cut.
  { tar -C "$1" -cf - . && echo whole >&3; } 3>"$said" | gzip -1 >"$new"
  ended=$?
  [ "$ended" -eq 0 ] && [ -s "$said" ] && mv "$new" "$archive" || exit 2
fi
printf '%s' "$archive"
"""
"""Safe to run concurrently: each process writes its own archive and renames it."""
_DEFAULTS = """
beside=$(readlink -f "$submit" | sed 's,/[^/]*/[^/]*$,,')
for conf in "${SPARK_CONF_DIR-}" "${SPARK_HOME-}/conf" "$beside/conf" \\
  /etc/spark/conf /etc/spark3/conf /etc/spark2/conf /usr/hdp/current/spark*-client/conf; do
  [ -e "$conf/spark-defaults.conf" ] || continue
  cat "$conf/spark-defaults.conf" >"$folder/control/spark.conf"
  break
done
"""
"""Appended by us, since Spark reads only the properties file that it is given."""


_KILL_TIMEOUT_S = 120.0


class SparkClusterTarget(SSHTarget):
    """Runs on a Spark cluster. With `Framework: Python`, they are processes of its head node."""

    _abandoned = ""
    """The run whose process on the head node was killed: nobody ends its application."""

    def _with_spark(self, plan: Plan, launch: Launch) -> Launch:
        from amlexec.targets import spark_launch

        def pack(archive: str) -> Shipped:
            return self._shipped(plan, launch, archive)

        return spark_launch.cluster(plan, launch, self._connection, pack)

    def _shipped(self, plan: Plan, launch: Launch, archive: str) -> Shipped:
        """The archive of a prepared environment, created once for all runs."""
        if not launch.digest or plan.target.master.startswith("local"):
            return Shipped()
        if archive:
            return Shipped(archive)
        prefix = launch.python.path.removesuffix("/bin/python")
        answer = self._connection.run(_ARCHIVE, prefix, launch.digest, timeout=None)
        if answer.exit_code != 0:
            raise self._failed("the environment could not be packed for the executors", answer.stderr)
        return Shipped(answer.stdout.strip())

    def _shared(self, plan: Plan, home: str) -> str:
        """None: a folder of the head node is not shared with the nodes."""
        del plan, home
        return ""

    def _preparing(self, paths: RunPaths, plan: Plan, launch: Launch) -> str:
        del paths
        if plan.framework != "PySpark":
            return ""
        is_shipped = f"{cluster_args.EXECUTORS}#" in " ".join(launch.argv)
        words = [launch.executors, cluster_args.SHIPPED_PYTHON if is_shipped else ""]
        if cluster_args.mode(plan.target) == "cluster":
            words.append("project")
        program = f'{shlex.quote(launch.python.path)} -I -S "$runtime/site/amlexec/spark_pack.py"'
        text = f'{program} "$folder" {shlex.join(words)} || exit 2\n'
        declared = config.find_spark(plan.project, plan.spark_dependencies_file)
        own = cluster_args.properties(plan.target, plan.environment_variables, declared.configuration)
        if own:
            # The script's own variables decide which properties file Spark reads by default.
            named = ("SPARK_CONF_DIR", "SPARK_HOME")
            found = {name: launch.environment[name] for name in named if name in launch.environment}
            its = "".join(f"{name}={shlex.quote(value)}\n" for name, value in found.items())
            text += f"(\n{its}submit={shlex.quote(cluster_args.submit_of(launch.argv))}\n{_DEFAULTS})\n"
            text += f"printf '\\n%s' {shlex.quote(own)} >>\"$folder/control/spark.conf\" || exit 2\n"
        return text

    def stop(self, paths: RunPaths, grace: int) -> State:
        """See `Target.stop`. A YARN application does not end with the process that submitted it."""
        state = super().stop(paths, grace)
        self._end(paths)
        return state

    def _end(self, paths: RunPaths) -> None:
        """End the run's application, unless the run's own process has done so."""
        argv = folders.read(paths).argv or ()
        if tag := cluster_args.tag_of(argv):
            words = (tag, argv[0], *cluster_args.program_of(argv), cluster_args.submit_of(argv))
            answer = self._connection.run(_END, paths.folder.name, *words, timeout=_KILL_TIMEOUT_S)
            if answer.exit_code != 0:
                raise self._failed("the application could not be killed", answer.stderr)

    def _read(self, paths: RunPaths, output: str) -> State:
        """With what YARN says, if the run failed."""
        state = super()._read(paths, output)
        if state.phase not in {"ended", "lost"} or state.exit_code == 0 or state.canceled:
            return state
        if state == self._gone() or not cluster_args.tag_of(folders.read(paths).argv or ()):
            return state
        answer = self._connection.run(_REPORT, paths.folder.name)
        report = yarn_report.parsed(answer.stdout)
        if not report.is_finished:
            self._abandoned = paths.folder.name
        return state._replace(why=state.why or yarn_report.cause(report))

    def collect(self, paths: RunPaths) -> list[NotCollected]:
        """See `Target.collect`. Ends an application whose process on the head node was killed."""
        if self._abandoned == paths.folder.name:
            self._end(paths)
        return super().collect(paths)

    def _settled(self, downloaded: Path, folder: Path, paths: RunPaths) -> list[NotCollected]:
        """Unpack the results of a driver on a node, if there was one."""
        missing = super()._settled(downloaded, folder, paths)
        report = downloaded / "control" / "application.json"
        if folder == downloaded and report.is_file() and not report.is_symlink():
            paths.control.mkdir(exist_ok=True)
            report.replace(paths.application)
        sent, node = downloaded / "control" / "came.tar", downloaded / "node"
        if not sent.is_file() or sent.is_symlink():
            return missing
        node.mkdir()
        with sent.open("rb") as file:
            found = unpack(file.read, node, outward_links=True)
        missing += [
            NotCollected(
                refused.path.removeprefix("project/"), refused.reason, kept=not refused.holds_nothing
            )
            for refused in found.refused
        ]
        if found.broken:
            missing.append(NotCollected("outputs", f"the archive is incomplete: {found.broken}", kept=True))
        missing += super()._settled(downloaded, node, paths)
        return missing + bring(node / "project", paths.outputs, [_copy_of(node)])


def _copy_of(node: Path) -> str:
    """The path of the copy of the project on a node; an unused path if it is not known."""
    path = node / "copy"
    try:
        text = "" if path.is_symlink() else read_regular(path, 1 << 16).decode(errors="surrogateescape")
    except OSError:
        text = ""  # an earlier version does not write it
    return text if text.startswith("/") else "/amlexec-run"

"""Runs on a real YARN: a ResourceManager, two NodeManagers without Python, and HDFS."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import PATIENCE, eventually
from tests.engines.ssh_host import QUIET
from tests.gc.test_gc import collected, gone
from tests.support.yarn import NODES, YarnProject
from tests.test_docs import ROOT, blocks, commands, matches

if TYPE_CHECKING:
    from tests.support.hosts import Client
    from tests.support.places import Shop
    from tests.support.yarn import YarnCluster

HOME = f"/user/{QUIET}"
SCRIPT = """\
import json, os, sys, time
from amlexec.run import log
from pyspark.sql import SparkSession
from near import tell
print('begun', flush=True)
spark = SparkSession.builder.getOrCreate()
found = spark.sparkContext.parallelize(range(2), 1).map(tell).collect()
os.makedirs('outputs/deep', exist_ok=True)
with open('outputs/deep/told.json', 'w') as file:
    json.dump({'driver': tell(0), 'executors': found, 'data': open('data.txt').read()}, file)
log('loss', 1)
print('told', sys.argv[1:], flush=True)
sys.stdout.buffer.write(b'odd \\xff\\r bytes without an end')
sys.stdout.flush()
print('to stderr', file=sys.stderr)
spark.stop()
raise SystemExit(7)
"""
NEAR = """\
import os, socket, sys
def tell(_):
    try:
        import six
        version = six.__version__
    except ImportError:
        version = ''
    return [socket.gethostname(), sys.prefix.rpartition('/')[2], version, os.environ.get('LEVEL')]
"""
WAITING = """\
import os, sys, time
try:
    import six
    print('begun', six.__version__, flush=True)
finally:
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.1)
"""
PRINTED = b"begun\ntold ['x y']\nodd \xff\r bytes without an end"


def begun(process: subprocess.Popen[bytes]) -> bytes:
    """The line that a script prints when it begins; b"" if it never does."""
    assert process.stdout is not None
    return next((line for line in process.stdout if line.startswith(b"begun")), b"")


class TestARun:
    """With a prepared environment: the nodes have no Python."""

    def test_in_cluster_mode(self, yarn_project: YarnProject) -> None:
        project = yarn_project
        project.is_managed = True
        # Settings that don't say where Spark's jars are.
        conf = "  SPARK_CONF_DIR: /etc/spark/plain"
        project.configure("EnvironmentVariables:", "  LEVEL: a b", conf)
        project.write("train.py", SCRIPT)
        project.write("near.py", NEAR)
        project.write("data.txt", "there")
        done = project.submit("--prepare", "train.py", "x y")
        assert done.code == 1, done.err
        record = project.record(done.run_id)
        folder = project.run_folder(done.run_id)
        assert (record["exit_code"], record["metrics"]) == (7, {"loss": 1}), done.err
        assert (folder / "stdout.log").read_bytes() == PRINTED
        assert b"to stderr\n" in (folder / "stderr.log").read_bytes()
        told = json.loads((folder / "outputs/deep/told.json").read_text())
        assert told["driver"][0] in {"node1", "node2"}
        assert told["driver"][1:] == ["environment", "1.17.0", "a b"]
        assert [one[1:] for one in told["executors"]] == [["environment", "1.17.0", "a b"]] * 2
        assert told["data"] == "there"
        application = record["application"]
        assert re.fullmatch(r"application_\d+_\d{4}", application["id"])
        assert (application["state"], application["final_status"]) == ("FINISHED", "FAILED")
        assert "exited with" in application["diagnostics"]
        # Nothing of the run is left, and the environment stays.
        assert project.host.listed(f"{HOME}/.amlexec/runs") == []
        assert project.host.listed(f"{HOME}/.sparkStaging") == []
        archives = project.host.listed(f"{HOME}/.amlexec/archives")
        assert f"{record['environment_digest']}.tar.gz" in archives
        assert [name[:6] for name in archives if name.endswith(".zip")] == ["spark-"]

    def test_in_client_mode(self, yarn_project: YarnProject) -> None:
        project = yarn_project
        project.is_managed, project.mode = True, "client"
        project.configure("EnvironmentVariables:", "  LEVEL: a b")
        project.write("train.py", SCRIPT)
        project.write("near.py", NEAR)
        project.write("data.txt", "there")
        done = project.submit("--prepare", "train.py", "x y")
        assert done.code == 1, done.err
        record = project.record(done.run_id)
        folder = project.run_folder(done.run_id)
        assert (record["exit_code"], record["metrics"]) == (7, {"loss": 1}), done.err
        assert (folder / "stdout.log").read_bytes() == PRINTED
        told = json.loads((folder / "outputs/deep/told.json").read_text())
        assert told["driver"][0] == "head"
        assert [one[1:] for one in told["executors"]] == [["environment", "1.17.0", "a b"]] * 2
        # YARN takes the end of a driver that it does not run for a success.
        assert (record["application"]["state"], record["status"]) == ("FINISHED", "Failed")
        assert project.host.listed(f"{HOME}/.sparkStaging") == []


class TestTheArchive:
    """The environment in the cluster's file system."""

    def test_it_is_stored_once(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.is_managed, project.mode = True, "client"
        project.configure()
        project.write("train.py", "print('ran')\n")
        project.write("aml_config/conda_dependencies.yml", project.shop.conda("six", "pip"))
        # Runs without a SparkContext: spark-submit does not touch the cluster.
        first = project.submit("--prepare", "train.py")
        second = project.submit("train.py")
        project.write("aml_config/conda_dependencies.yml", project.shop.conda("pip"))
        third = project.submit("--prepare", "train.py")
        words = "storing the environment in the cluster"
        stored = [(done.code, words in done.err) for done in (first, second, third)]
        assert stored == [(0, True), (0, False), (0, True)], (first.err, second.err, third.err)
        digests = [project.record(done.run_id)["environment_digest"] for done in (first, third)]
        archives = [f"{digest}.tar.gz" for digest in digests]
        folder = f"{HOME}/.amlexec/archives"
        assert set(archives) <= set(cluster.listed(folder))
        assert not [name for name in cluster.listed(folder) if name.endswith(".new")]
        cleaned = project.doit("clean", "prepare:cluster")
        assert cleaned.code == 0, cleaned.err
        assert set(archives) & set(cluster.listed(folder)) == {archives[0]}


class TestTwoUsers:
    """Each with an environment of their own."""

    def test_at_once_and_what_one_no_longer_needs(
        self, yarn_project: YarnProject, shop: Shop, tmp_path: Path
    ) -> None:
        first, cluster = yarn_project, yarn_project.host
        cluster.new_user("eve")
        second = YarnProject(tmp_path / "other", shop, first.place, cluster)
        for project, version in ((first, "1.17"), (second, "1.16")):
            project.is_managed = True
            # Settings that don't say where Spark's jars are, for one of them.
            conf = "plain" if project is second else "conf"
            project.configure("EnvironmentVariables:", f"  SPARK_CONF_DIR: /etc/spark/{conf}")
            # However long the other one takes to begin.
            project.settings(spark_yarn_am_waitTime="600s")
            project.write("train.py", WAITING)
            project.write("aml_config/conda_dependencies.yml", shop.conda(f"six={version}"))
        second.write("aml_config/cluster.compute", second.compute().replace(QUIET, "eve"))
        go = f"/tmp/go-{uuid.uuid4().hex}"
        words = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "cluster", "--prepare")
        running = [project.start(*words, "train.py", go) for project in (first, second)]
        lines = [begun(one) for one in running]
        for node in NODES:
            cluster.run(node, f"touch {go}")
        ended = [one.communicate(timeout=PATIENCE)[1] for one in running]
        assert lines == [b"begun 1.17.0\n", b"begun 1.16.0\n"], ended
        assert [one.returncode for one in running] == [0, 0], ended
        folder = "/user/eve/.amlexec/archives"
        (run_id,) = second.run_ids()
        digest = second.record(run_id)["environment_digest"]
        archive, jars = cluster.listed(folder)
        assert (archive, jars[:6]) == (f"{digest}.tar.gz", "spark-")

        # The run's environment needs Spark's jars.
        assert gone(collected(second, "--plan"), "jars") == []
        # Nothing names it any more, once the run is gone, too.
        (second.root / "aml_config/cluster.runconfig").unlink()
        found = collected(second, "--plan", "--keep-last", "0")
        removed = {one["kind"]: one for one in found["removed"]}
        names = [removed[kind]["name"] for kind in ("run", "environment", "jars")]
        assert names == [run_id, digest[:20], jars]
        assert removed["jars"]["bytes"] == cluster.size(f"{folder}/{jars}") > 1e8
        assert removed["environment"]["bytes"] > cluster.size(f"{folder}/{archive}") > 1e6
        assert gone(collected(second, "--keep-last", "0"), "jars") == [jars]
        assert cluster.listed(folder) == []


class TestRestarts:
    """Of what an application does not run on."""

    SCRIPT = """\
import os, sys, time
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
print('begun', context.parallelize(range(2), 1).count(), flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.1)
print('later', context.parallelize(range(3), 1).count(), flush=True)
context.stop()
"""

    def test_sshd_and_the_resourcemanager(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.is_managed = True
        project.configure()
        project.write("train.py", self.SCRIPT)
        go = f"/tmp/go-{uuid.uuid4().hex}"
        words = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "cluster", "--prepare")
        following = project.start(*words, "train.py", go)
        line = begun(following)
        if line:
            ended = f"for one in $(pgrep -u {QUIET} sshd); do kill -9 $one; done"
            cluster.run("head", f"{ended}; kill -HUP $(pgrep -o -x sshd)")
            cluster.end("head", "resourcemanager")
            cluster.daemon("head", "resourcemanager")
            cluster.until_nodes(len(NODES))
        for node in NODES:
            cluster.run(node, f"touch {go}")
        out, err = following.communicate(timeout=PATIENCE)
        assert (following.returncode, line) == (0, b"begun 2\n"), err
        assert out.startswith(b"later 3\n"), out
        (run_id,) = project.run_ids()
        application = project.record(run_id)["application"]
        assert (application["state"], application["final_status"]) == ("FINISHED", "SUCCEEDED")
        assert cluster.application(application["id"])["applicationType"] == "SPARK"
        assert cluster.listed(f"{HOME}/.amlexec/runs") == []


class TestBadLuck:
    """With a Python that the nodes don't have: the driver never starts, and that is enough."""

    def test_an_unknown_queue(self, yarn_project: YarnProject) -> None:
        yarn_project.settings(spark_yarn_queue="gpu")
        yarn_project.write("train.py", "")
        done = yarn_project.submit("train.py")
        assert (done.code, yarn_project.record(done.run_id)["status"]) == (1, "Failed")
        assert "YARN has no queue gpu (application application_" in done.err

    def test_a_cancel_while_it_waits(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.settings(spark_yarn_queue="narrow")
        project.write("train.py", "")
        done = project.submit("--async", "train.py")
        assert done.code == 0, done.err
        log = f"/home/{QUIET}/.amlexec/runs/{done.run_id}/stderr.log"
        words = "waiting for 1 vcores and"
        tag = next(word for word in project.record(done.run_id)["argv"] if word.startswith("amlexec-"))
        eventually(lambda: words in cluster.run("head", f"cat {log} || :"), "it says what it waits for")
        assert "in queue narrow: " in cluster.run("head", f"grep '{words}' {log}")
        cancels = [
            project.start(sys.executable, "-m", "amlexec", "experiment", "cancel", "-r", done.run_id)
            for _ in range(2)
        ]
        for one in cancels:
            _, err = one.communicate(timeout=PATIENCE)
            assert one.returncode == 0, err
        record = project.record(done.run_id)
        assert record["status"] == "Canceled"
        (application,) = (one for one in cluster.applications() if tag in one["applicationTags"].split(","))
        assert application["state"] == "KILLED"
        assert cluster.listed(f"{HOME}/.sparkStaging") == []

    def test_somebody_kills_it(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.settings(spark_yarn_queue="narrow")
        project.write("train.py", "")
        done = project.submit("--async", "train.py")
        assert done.code == 0, done.err
        tag = next(word for word in project.record(done.run_id)["argv"] if word.startswith("amlexec-"))

        def found() -> list[str]:
            return [one["id"] for one in cluster.applications() if tag in one["applicationTags"].split(",")]

        eventually(lambda: len(found()) == 1, "YARN has the application, by its tag")
        cluster.run("head", f"yarn application -kill {found()[0]}")
        ended = project.amlexec("experiment", "follow", "-r", done.run_id)
        assert ended.code == 1
        record = project.record(done.run_id)
        assert (record["status"], record["application"]["state"]) == ("Failed", "KILLED")
        assert re.search(r"exit code \d+: the application was killed", record["reason"])

    def test_the_node_of_the_driver_is_lost(self, yarn_project: YarnProject) -> None:
        """With two attempts, YARN starts it again, on the other node."""
        project, cluster = yarn_project, yarn_project.host
        project.is_managed = True
        project.configure()
        project.settings(spark_yarn_maxAppAttempts="2")
        script = "import os, socket, time\nprint('on', socket.gethostname(), flush=True)\n"
        script += "while os.environ['CONTAINER_ID'].split('_')[-2] == '01':\n    time.sleep(0.1)\n"
        project.write("train.py", script)
        assert project.prepare().code == 0
        done = project.submit("--async", "train.py")
        assert done.code == 0, done.err
        project.begun(done.run_id)
        node = project.printed(done.run_id).split()[1].decode()
        # The application does not need spark-submit any more.
        tag = next(word for word in project.record(done.run_id)["argv"] if word.startswith("amlexec-"))
        cluster.run("head", f"pkill -9 -f '[d]eploy.SparkSubmit .*{tag}'")
        cluster.end(node, "nodemanager", signal="TERM")
        try:
            # What it has started goes with it.
            ended = project.amlexec("experiment", "follow", "-r", done.run_id)
            other = "node2" if node == "node1" else "node1"
            assert ended.out.startswith(f"on {node}\non {other}\n")
            assert "amlexec: YARN starts the driver again, as attempt 2" in ended.err
            assert (ended.code, project.record(done.run_id)["status"]) == (0, "Completed"), ended.err
        finally:
            cluster.daemon(node, "nodemanager")
            cluster.until_nodes(2)

    def test_a_full_home_folder(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.write("aml_config/cluster.compute", project.compute().replace(QUIET, "ada"))
        project.write("train.py", "")
        assert cluster.hdfs("/user/ada", "SETQUOTA", namespacequota="1")
        try:
            done = project.submit("train.py")
            checked = project.amlexec("computetarget", "check", "cluster")
        finally:
            assert cluster.hdfs("/user/ada", "SETQUOTA", namespacequota="-1")
        assert done.code == 1
        reason = project.record(done.run_id)["reason"]
        words = r"spark-submit: The NameSpace quota .* of directory /user/ada is exceeded"
        assert re.search(words, reason), reason
        assert checked.code != 0
        words = r"file system +failed +The NameSpace quota .* of directory /user/ada is exceeded"
        assert re.search(words, checked.out), checked.out

    def test_a_file_system_in_safe_mode(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        # Spark's jars are stored before spark-submit begins.
        project.configure("EnvironmentVariables:", "  SPARK_CONF_DIR: /etc/spark/plain")
        project.write("aml_config/cluster.compute", project.compute().replace(QUIET, "ada"))
        project.write("train.py", "")
        cluster.run("head", "hdfs dfsadmin -safemode enter")
        try:
            done = project.submit("train.py")
            checked = project.amlexec("computetarget", "check", "cluster")
        finally:
            cluster.run("head", "hdfs dfsadmin -safemode leave")
        assert done.code == 1
        reason = project.record(done.run_id)["reason"]
        words = r"the cluster's file system: Cannot create directory .* Name node is in safe mode"
        assert re.search(words, reason), reason
        assert checked.code != 0
        words = r"file system +failed +Cannot create .* Name node is in safe mode"
        assert re.search(words, checked.out), checked.out

    def test_a_package_that_no_repository_has(self, yarn_project: YarnProject) -> None:
        project = yarn_project
        project.configure("EnvironmentVariables:", "  DEFAULT_ARTIFACT_REPOSITORY: file:/tmp/no-packages/")
        package = "packages:\n  - {group: org.example, artifact: gone, version: '1.0'}\n"
        path = project.root / "aml_config/spark_dependencies.yml"
        path.write_text(path.read_text() + package)
        project.write("train.py", "")
        done = project.submit("train.py")
        assert done.code == 1
        assert "no repository has the Maven package org.example:gone:1.0" in done.err
        assert project.record(done.run_id)["application"] is None


class TestCheck:
    """`computetarget check` of a head node."""

    def test_all_is_well(self, yarn_project: YarnProject) -> None:
        yarn_project.is_managed = True
        yarn_project.configure()
        done = yarn_project.amlexec("computetarget", "check", "cluster")
        assert done.code == 0, done.out
        assert re.search(r"YARN's nodes +ok +2, with \d+ MB and \d+ vcores free", done.out), done.out
        assert re.search(r"YARN's queues +ok +default, narrow", done.out), done.out
        assert re.search(rf"file system +ok +hdfs://head:8020{HOME} can be written", done.out), done.out


def test_the_how_to_page(client: Client, yarn: YarnCluster, shop: Shop, tmp_path: Path) -> None:
    client.configure("head.example.org", "HostName 127.0.0.1", f"Port {yarn.port}")
    shutil.copy(yarn.key, client.home / ".ssh/id_ed25519")
    folder = tmp_path / "reader"
    folder.mkdir()
    for kind, file, body in blocks(ROOT / "docs/how-to/run-pyspark-on-a-cluster.md"):
        if file:
            (folder / file).write_text(body)
        for command, wanted in commands(body) if kind == "shellsession" else ():
            if command.startswith("cd "):
                folder /= command[3:]
                # Tests download no packages from the network.
                (folder / "aml_config/conda_dependencies.yml").write_text(shop.conda())
                continue
            done = subprocess.run(
                ["bash", "-c", f"{command} 2>&1"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=2 * PATIENCE,
                check=False,
            )
            printed = done.stdout.decode()
            assert matches(wanted, printed.splitlines()), f"$ {command}\n{printed}"

"""Runs on a real YARN: a ResourceManager, two NodeManagers without Python, and HDFS."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.spark.yarn_report import KILLED
from tests.conftest import PATIENCE
from tests.engines.ssh_host import QUIET
from tests.gc.test_gc import collected, gone
from tests.support.hosts import RELOAD_SSHD
from tests.support.yarn import CONTAINER, NODES, ON_STORAGE, YarnProject, seldom
from tests.test_docs import ROOT, blocks, commands, matches

if TYPE_CHECKING:
    from tests.support.hosts import Client
    from tests.support.places import Shop
    from tests.support.yarn import YarnCluster

HOME = f"/user/{QUIET}"
SCRIPT = """\
import json, os, sys, time
from amlexec.run import log
from pyspark import SparkContext
from near import tell
spark = SparkContext.getOrCreate()
print('begun', spark.parallelize(range(2), 1).map(tell).first()[0], flush=True)
while not os.path.exists(os.environ['GO']):
    time.sleep(0.1)
found = spark.parallelize(range(2), 1).map(tell).collect()
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
STORING = "storing the environment in the cluster"
HALF = """\
import os, threading, time
os.mkfifo('/tmp/half')
def hold():
    file = open('/tmp/half', 'wb', 0)
    file.write(b'x' * 100000)
    time.sleep(600)
threading.Thread(target=hold, daemon=True).start()
with open('/tmp/half.pid', 'w') as file:
    file.write(str(os.getpid()))
files.put('/tmp/half', home + '/.amlexec/archives/{}')
"""
STORE = """\
import os
words = ['spark-submit', '--conf', 'spark.yarn.jars=x', '--archives']
words.append(os.path.expanduser('~/.amlexec/archives/{}#environment'))
stored = hadoop_archives.Archives(files, home + '/.amlexec', print).store(words, '/opt/spark', '/tmp')
print(stored[-1].partition('=')[2])
"""
FOREIGN = """\
import io, struct, tarfile
head = b'\\x7fELF\\x02\\x01\\x01' + bytes(9) + struct.pack('<HHIQQQIHHHHHH', 2, 183, 1, 0, 64, *[0] * 8)
with tarfile.open('/tmp/foreign.tar.gz', 'w:gz') as archive:
    python = tarfile.TarInfo('bin/python')
    python.size, python.mode = len(head), 0o755
    archive.addfile(python, io.BytesIO(head))
files.put('/tmp/foreign.tar.gz', home + '/.amlexec/archives/{}.tar.gz')
"""
PRINTED = b"told ['x y']\nodd \xff\r bytes without an end"
SUBMIT = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "cluster")


def begun(process: subprocess.Popen[bytes]) -> bytes:
    """The line that a script prints when it begins; b"" if it never does."""
    assert process.stdout is not None
    return next((line for line in process.stdout if line.startswith(b"begun")), b"")


def tag_of(project: YarnProject, run_id: str) -> str:
    """The tag of a run's application."""
    return next(word for word in project.record(run_id)["argv"] if word.startswith("amlexec-"))


def prepared(project: YarnProject) -> str:
    """Write the project of `SCRIPT`; the path of the file that it waits for."""
    go = f"/tmp/go-{uuid.uuid4().hex}"
    project.configure("EnvironmentVariables:", "  LEVEL: a b", f"  GO: {go}")
    # However long a driver takes to begin.
    project.settings(spark_yarn_am_waitTime="600s")
    project.write("train.py", SCRIPT)
    project.write("near.py", NEAR)
    project.write("data.txt", "there")
    return go


class TestARun:
    """With a prepared environment: the nodes have no Python."""

    def test_in_cluster_mode(self, yarn_project: YarnProject) -> None:
        """While the script waits, sshd and the ResourceManager are started again."""
        project, cluster = yarn_project, yarn_project.host
        project.is_managed = True
        go = prepared(project)
        following = project.start(*SUBMIT, "--prepare", "train.py", "x y")
        line = begun(following)
        if line:
            ended = f"for one in $(pgrep -u {QUIET} sshd); do kill -9 $one; done"
            cluster.run("head", f"{ended}\n{RELOAD_SSHD}")
            cluster.end("head", "resourcemanager")
            cluster.daemon("head", "resourcemanager")
            cluster.until_nodes(len(NODES))
        for node in NODES:
            cluster.run(node, f"touch {go}")
        out, err = following.communicate(timeout=2 * PATIENCE)
        assert (following.returncode, line[:10]) == (1, b"begun node"), err
        assert out.startswith(PRINTED), out
        (run_id,) = project.run_ids()
        record, folder = project.record(run_id), project.run_folder(run_id)
        assert (record["exit_code"], record["metrics"]) == (7, {"loss": 1}), err
        assert (folder / "stdout.log").read_bytes() == line + PRINTED
        assert b"to stderr\n" in (folder / "stderr.log").read_bytes()
        told = json.loads((folder / "outputs/deep/told.json").read_text())
        assert told["driver"][0] in NODES
        assert told["driver"][1:] == ["environment", "1.17.0", "a b"]
        assert [one[1:] for one in told["executors"]] == [["environment", "1.17.0", "a b"]] * 2
        assert told["data"] == "there"
        application = record["application"]
        assert re.fullmatch(r"application_\d+_\d{4}", application["id"])
        assert (application["state"], application["final_status"]) == ("FINISHED", "FAILED")
        assert "exited with" in application["diagnostics"]
        assert cluster.application(application["id"])["applicationType"] == "SPARK"
        # Nothing of the run is left, and the environment stays.
        assert cluster.listed(f"{HOME}/.amlexec/runs") == []
        assert application["id"] not in cluster.listed(f"{HOME}/.sparkStaging")
        archives = cluster.listed(f"{HOME}/.amlexec/archives")
        assert f"{record['environment_digest']}.tar.gz" in archives

    def test_in_client_mode(self, yarn_project: YarnProject) -> None:
        """While the script waits, the node of its executor is lost."""
        project, cluster = yarn_project, yarn_project.host
        project.is_managed, project.mode = True, "client"
        go = prepared(project)
        following = project.start(*SUBMIT, "--prepare", "train.py", "x y")
        line = begun(following)
        node = line.decode().strip().rpartition(" ")[2]
        try:
            if line:
                cluster.end(node, "nodemanager", signal="TERM")
                cluster.until_nodes(1)
            cluster.run("head", f"touch {go}")
            out, err = following.communicate(timeout=2 * PATIENCE)
        finally:
            if line:
                cluster.daemon(node, "nodemanager")
                cluster.until_nodes(len(NODES))
        assert (following.returncode, node in NODES) == (1, True), err
        assert out.startswith(PRINTED), out
        (run_id,) = project.run_ids()
        record, folder = project.record(run_id), project.run_folder(run_id)
        assert (record["exit_code"], record["metrics"]) == (7, {"loss": 1}), err
        assert (folder / "stdout.log").read_bytes() == line + PRINTED
        told = json.loads((folder / "outputs/deep/told.json").read_text())
        assert told["driver"][0] == "head"
        (other,) = set(NODES) - {node}
        assert told["executors"] == [[other, "environment", "1.17.0", "a b"]] * 2
        # YARN takes the end of a driver that it does not run for a success.
        assert (record["application"]["state"], record["status"]) == ("FINISHED", "Failed")
        assert record["application"]["id"] not in cluster.listed(f"{HOME}/.sparkStaging")


class TestTheArchive:
    """The environment in the cluster's file system."""

    def test_it_is_stored_once_and_whole(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.is_managed, project.mode = True, "client"
        project.configure()
        project.write("aml_config/conda_dependencies.yml", project.shop.conda("idna"))
        # Runs without a SparkContext: spark-submit does not touch the cluster.
        project.write("train.py", "print('ran')\n")
        assert project.prepare().code == 0
        name = f"{project.prepare('--print-digest').out.strip()}.tar.gz"
        folder = f"{HOME}/.amlexec/archives"

        def halves() -> list[str]:
            return [one for one in cluster.listed(folder) if one.startswith(f".{name}.")]

        # Somebody stores it already, and is killed in the middle.
        cluster.ours(HALF.format(name), detach=True)
        seldom(lambda: len(halves()) == 1, "it is stored in part")
        cluster.run("head", "kill -9 $(cat /tmp/half.pid)")
        done = project.submit("train.py")
        assert (done.code, STORING in done.err) == (0, True), done.err
        assert name in cluster.listed(folder)
        # What the killed one has left is removed when it is old.
        (half,) = halves()
        long_ago = str(int(time.time() - 2 * 86400) * 1000)
        assert cluster.hdfs(f"{folder}/{half}", "SETTIMES", modificationtime=long_ago, accesstime="-1")
        cluster.ours(f"files.put('/etc/hostname', '{folder}/other')")
        assert halves() == []
        # The next run finds it, unless somebody has deleted it.
        assert cluster.ours(STORE.format(name)) == f"hdfs://head:8020{folder}/{name}#environment\n"
        assert cluster.hdfs(f"{folder}/{name}", "DELETE")
        done = project.submit("train.py")
        assert (done.code, STORING in done.err) == (0, True), done.err
        assert (project.run_folder(done.run_id) / "stdout.log").read_text() == "ran\n"
        assert name in cluster.listed(folder)
        cleaned = project.doit("clean", "prepare:cluster")
        assert cleaned.code == 0, cleaned.err
        assert "other" in cluster.listed(folder)
        assert name not in cluster.listed(folder)


class TestTwoUsers:
    """Each with an environment of their own."""

    def test_at_once_and_what_one_no_longer_needs(
        self, yarn_project: YarnProject, shop: Shop, tmp_path: Path
    ) -> None:
        first, cluster = yarn_project, yarn_project.host
        cluster.new_user("eve")
        second = YarnProject(tmp_path / "other", shop, first.place, cluster)
        for project, spec in ((first, "six"), (second, "six=1.16")):
            project.is_managed = True
            # Settings that don't say where Spark's jars are, for one of them.
            conf = "plain" if project is second else "conf"
            project.configure("EnvironmentVariables:", f"  SPARK_CONF_DIR: /etc/spark/{conf}")
            # However long the other one takes to begin.
            project.settings(spark_yarn_am_waitTime="600s")
            project.write("train.py", WAITING)
            project.write("aml_config/conda_dependencies.yml", shop.conda(spec))
        second.write("aml_config/cluster.compute", second.compute().replace(QUIET, "eve"))
        go = f"/tmp/go-{uuid.uuid4().hex}"
        words = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "cluster", "--prepare")
        running = [project.start(*words, "train.py", go) for project in (first, second)]
        lines = [begun(one) for one in running]
        for node in NODES:
            cluster.run(node, f"touch {go}")
        ended = [one.communicate(timeout=2 * PATIENCE)[1] for one in running]
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
        tag = tag_of(project, done.run_id)
        seldom(lambda: words in cluster.ssh(f"cat {log} || :"), "it says what it waits for")
        assert "in queue narrow: " in cluster.run("head", f"grep '{words}' {log}")
        cancels = [
            project.start(sys.executable, "-m", "amlexec", "experiment", "cancel", "-r", done.run_id)
            for _ in range(2)
        ]
        for one in cancels:
            _, err = one.communicate(timeout=2 * PATIENCE)
            assert one.returncode == 0, err
        record = project.record(done.run_id)
        assert record["status"] == "Canceled"
        (application,) = cluster.applications(tag)
        assert application["state"] == "KILLED"
        assert cluster.listed(f"{HOME}/.sparkStaging") == []

    def test_somebody_kills_it(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.settings(spark_yarn_queue="narrow")
        project.write("train.py", "")
        done = project.submit("--async", "train.py")
        assert done.code == 0, done.err
        tag = tag_of(project, done.run_id)

        def found() -> list[str]:
            return [one["id"] for one in cluster.applications(tag)]

        seldom(lambda: len(found()) == 1, "YARN has the application, by its tag")
        cluster.run("head", f"yarn application -kill {found()[0]}")
        ended = project.amlexec("experiment", "follow", "-r", done.run_id)
        assert ended.code == 1
        record = project.record(done.run_id)
        assert (record["status"], record["application"]["state"]) == ("Failed", "KILLED")
        assert re.search(r"exit code \d+: the application was killed", record["reason"])

    def test_the_process_on_the_head_node_is_killed(self, yarn_project: YarnProject) -> None:
        """The application would go on for nobody: it ends with the run."""
        project, cluster = yarn_project, yarn_project.host
        project.settings(spark_yarn_queue="narrow")
        project.write("train.py", "")
        done = project.submit("--async", "train.py")
        assert done.code == 0, done.err
        told = f"/home/{QUIET}/.amlexec/runs/{done.run_id}/control/application.json"
        seldom(lambda: "ACCEPTED" in cluster.ssh(f"cat {told} || :"), "YARN has the application")
        # And its supervisor.
        cluster.run("head", f"pkill -9 -f '[y]arn_start.py cluster {tag_of(project, done.run_id)}'")
        ended = project.amlexec("experiment", "follow", "-r", done.run_id)
        record = project.record(done.run_id)
        assert (ended.code, record["status"], record["reason"]) == (2, "Lost", KILLED), ended.err
        assert record["application"]["state"] == "KILLED"
        assert cluster.application(record["application"]["id"])["state"] == "KILLED"
        assert record["application"]["id"] not in cluster.listed(f"{HOME}/.sparkStaging")

    def test_the_node_of_the_driver_is_lost(self, yarn_project: YarnProject) -> None:
        """With more attempts, YARN starts it again; with one, the run has failed."""
        project, cluster = yarn_project, yarn_project.host
        project.is_managed = True
        project.configure()
        script = "import os, socket, time\nattempt = os.environ['CONTAINER_ID'].split('_')[-2]\n"
        script += "print('on', attempt, socket.gethostname(), flush=True)\n"
        script += "while attempt == '01':\n    time.sleep(0.1)\nraise SystemExit(5 + int(attempt))\n"
        project.write("train.py", script)
        assert project.prepare().code == 0
        runs = []
        for attempts in ("4", "1"):
            project.settings(spark_yarn_maxAppAttempts=attempts, spark_yarn_am_waitTime="600s")
            done = project.submit("--async", "train.py")
            assert done.code == 0, done.err
            runs.append(done.run_id)
        for run in runs:
            seldom(lambda run=run: project.printed(run).startswith(b"on 01 node"), "the script begins")
        # The application does not need spark-submit any more.
        cluster.run("head", f"pkill -9 -f '[d]eploy.SparkSubmit .*{tag_of(project, runs[0])}'")
        line = project.printed(runs[0]).decode()
        node = line.split()[2]
        (other,) = set(NODES) - {node}
        cluster.end(other, "nodemanager", signal="TERM")
        cluster.until_nodes(1)
        cluster.end(node, "nodemanager", signal="TERM")
        try:
            # What they have started goes with them.
            lost = project.amlexec("experiment", "follow", "-r", runs[1])
        finally:
            for one in NODES:
                cluster.daemon(one, "nodemanager")
            cluster.until_nodes(len(NODES))
        assert (lost.code, project.record(runs[1])["status"]) == (1, "Failed"), lost.err
        # YARN's words depend on whether the driver or its node ended first.
        reason = project.record(runs[1])["reason"]
        assert re.fullmatch(r"exit code \d+: the .+ \(application application_\d+_\d+\)", reason), reason
        again = project.amlexec("experiment", "follow", "-r", runs[0])
        assert "amlexec: YARN starts the driver again, as attempt 2" in again.err
        # A node that ends may still be given the next attempt, which is then lost, too. And YARN starts a
        # driver that has failed once more, but a script that has ended is not run again.
        match = re.match(rf"{line}on 0([2-4]) node.\n\n", again.out)
        assert match, again.out
        code = 5 + int(match[1])
        record = project.record(runs[0])
        assert (again.code, record["exit_code"]) == (1, code), again.err
        assert record["reason"] == f"exit code {code}"

    def test_a_full_disk_of_the_nodes(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.is_managed = True
        project.configure()
        project.write("train.py", "")
        assert project.prepare().code == 0
        # One more node, with Docker's 64 MB for its files, and the only one with memory for this driver.
        project.settings(spark_driver_memory="3500m")
        cluster.run("head", "mkdir /dev/shm/yarn && fallocate -l 62M /dev/shm/full")
        names = ("local-dirs=/dev/shm/yarn", "resource.memory-mb=5000")
        cluster.daemon("head", "nodemanager", options=" ".join(f"-D yarn.nodemanager.{one}" for one in names))
        try:
            cluster.until_nodes(len(NODES) + 1)
            done = project.submit("train.py")
        finally:
            cluster.end("head", "nodemanager", signal="TERM")
            cluster.run("head", "rm -rf /dev/shm/yarn /dev/shm/full")
            cluster.until_nodes(len(NODES))
        assert done.code == 1
        reason = project.record(done.run_id)["reason"]
        # YARN's words depend on where it noticed first.
        words = "the disk of the driver's node is full: |could not fetch .*; perhaps its disk is full"
        assert re.search(words, reason), project.record(done.run_id)["application"]["diagnostics"]

    def test_an_environment_for_another_processor(self, yarn_project: YarnProject) -> None:
        project, cluster = yarn_project, yarn_project.host
        project.is_managed = True
        project.configure()
        project.write("train.py", "")
        assert project.prepare().code == 0
        digest = project.prepare("--print-digest").out.strip()
        stored = f"{HOME}/.amlexec/archives/{digest}.tar.gz"
        # That of the other tests: the next run stores it again.
        assert cluster.hdfs(stored, "DELETE")
        cluster.ours(FOREIGN.format(digest))
        try:
            done = project.submit("train.py")
        finally:
            assert cluster.hdfs(stored, "DELETE")
        assert done.code == 1
        words = "the environment's Python does not run on the driver's node: it may be for another processor"
        reason = project.record(done.run_id)["reason"]
        assert words in reason, reason

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


class TestAzureStorage:
    """With it as the default file system, as HDInsight has it: there is no HDFS to ask over HTTP."""

    def test_a_run(self, yarn_project: YarnProject, storage: YarnCluster) -> None:
        project, user = yarn_project, "zoe"
        told = f"export HADOOP_CONF_DIR={ON_STORAGE} SPARK_DIST_CLASSPATH='/opt/azure/*'"
        storage.run("head", f"useradd -m {user} -s /bin/bash; cat >>~{user}/.bashrc <<'END'\n{told}\nEND")
        project.is_managed = True
        project.configure()
        project.write("aml_config/cluster.compute", project.compute().replace(QUIET, user))
        script = "from pyspark import SparkContext\nspark = SparkContext.getOrCreate()\n"
        script += "spark.parallelize(range(10), 1).saveAsTextFile('numbers')\n"
        script += "open('outputs/total.txt', 'w').write(str(spark.textFile('numbers', 1).count()))\n"
        script += "print(spark._jvm.org.apache.hadoop.fs.FileSystem.getDefaultUri("
        script += "spark._jsc.hadoopConfiguration()).toString(), flush=True)\n"
        script += "raise SystemExit(7)\n"
        project.write("train.py", script)
        code, out, err = project.submitted("--prepare", "train.py")
        assert (code, out.count(f"{CONTAINER}\n".encode())) == (1, 1), err
        (run_id,) = project.run_ids()
        assert project.record(run_id)["exit_code"] == 7, err
        assert (project.run_folder(run_id) / "outputs/total.txt").read_text() == "10"
        # In `.amlexec`, only the environment is left.
        told = f"HADOOP_CONF_DIR={ON_STORAGE} hadoop fs -ls -R .amlexec .sparkStaging"
        left = storage.run("head", told, user=user).splitlines()
        digest = project.record(run_id)["environment_digest"]
        names = [line.split()[-1] for line in left if line.startswith("-")]
        assert names == [f".amlexec/archives/{digest}.tar.gz"]


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

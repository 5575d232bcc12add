"""Runs on a Spark cluster: a real Spark master with two workers. For YARN, see `test_yarn.py`."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, eventually, until_printed
from tests.engines import fast_java
from tests.engines.fixtures import need
from tests.engines.ssh_host import QUIET
from tests.support.places import SPARK_FAST, ClusterProject, Place
from tests.targets.test_spark_launch import write_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.hosts import SparkHead
    from tests.support.places import Shop

CLUSTER = Place("cluster", "cluster", mounts=False)
SCRIPT = """\
import json, os, sys
from pyspark.sql import SparkSession
from near import tell
spark = SparkSession.builder.getOrCreate()
found = spark.sparkContext.parallelize(range(2), 2).map(tell).collect()
names = ('LEVEL', 'API_KEY', 'AZUREML_NATIVE_SHARE_DIRECTORY')
told = {'driver': [os.environ.get(name) for name in names], 'executors': found, 'python': sys.executable,
        'master': spark.sparkContext.master, 'sum': spark.range(1000).selectExpr('sum(id)').first()[0]}
os.makedirs('outputs', exist_ok=True)
with open('outputs/told.json', 'w') as file:
    json.dump(told, file)
print('told', sys.argv[1:])
print('to stderr', file=sys.stderr)
spark.stop()
raise SystemExit(7)
"""
NEAR = """\
import os, sys
def tell(_):
    return [os.environ.get('LEVEL'), os.environ.get('API_KEY'), sys.executable, 'work-' in os.getcwd()]
"""
COUNTING = """\
import os, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
def slow(number):
    open('/tmp/slow-%s-%d' % (os.environ['TOKEN'], number), 'w').close()
    until = time.time() + 120
    while not os.path.exists('/tmp/go-' + os.environ['TOKEN']) and time.time() < until:
        time.sleep(0.02)
    return number
print('begun', flush=True)
print('sum', spark.sparkContext.parallelize(range(2), 2).map(slow).sum(), flush=True)
"""
OLDER = """\
import sys
class Version(tuple):
    major, minor, micro, releaselevel, serial = 3, 9, 1, 'final', 0
sys.version_info = Version((3, 9, 1, 'final', 0))
"""


@pytest.fixture
def project(spark_head: SparkHead, shop: Shop, tmp_path: Path) -> ClusterProject:
    """A project that runs on the cluster that all tests share."""
    return ClusterProject(tmp_path / "demo", shop, CLUSTER, spark_head)


def executors(head: SparkHead) -> list[str]:
    """The processes of executors, by number."""
    return head.ssh("pgrep -f '[C]oarseGrainedExecutorBackend' || :").split()


class TestARun:
    """On a master with two workers."""

    def test_driver_and_executors(self, project: ClusterProject) -> None:
        variables = ["EnvironmentVariables:", "  LEVEL: a b", "  API_KEY: hush-hush"]
        project.configure(*variables)
        project.write("aml_config/cluster.compute", project.compute("nativeSharedDirectory: ~/share"))
        project.write("train.py", SCRIPT)
        project.write("near.py", NEAR)
        done = project.submit("train.py", "x y")
        assert done.code == 1, done.err
        record = project.record(done.run_id)
        assert (record["exit_code"], record["target_kind"]) == (7, "cluster")
        assert re.fullmatch(r"app-\d{14}-\d{4}", record["application"]["id"])
        assert record["argv"][:7] == [
            *("/opt/spark/bin/spark-submit", "--properties-file", "../control/spark.conf"),
            *("--master", project.host.master, "--deploy-mode", "client"),
        ]
        assert "hush-hush" not in json.dumps(record)
        folder = project.run_folder(done.run_id)
        told = json.loads((folder / "outputs/told.json").read_text())
        assert told == {
            "driver": ["a b", "hush-hush", None],
            "executors": [["a b", "hush-hush", "/usr/bin/python3", True]] * 2,
            "python": "/usr/bin/python3",
            "master": project.host.master,
            "sum": 499500,
        }
        assert (folder / "stdout.log").read_bytes() == b"told ['x y']\n"
        assert b"to stderr\n" in (folder / "stderr.log").read_bytes()
        mode = project.host.ssh(f"stat -c %a /home/{QUIET}/.amlexec/runs/{done.run_id}/control/spark.conf")
        assert mode == "600\n"

    def test_a_cancel_ends_the_application(self, project: ClusterProject) -> None:
        project.configure("EnvironmentVariables:", "  TOKEN: cancel")
        project.write("train.py", COUNTING)
        done = project.submit("--async", "train.py")
        assert done.code == 0, done.err
        eventually(lambda: len(executors(project.host)) > 0, "executors run")
        assert project.amlexec("experiment", "cancel", "-r", done.run_id).code == 0
        eventually(lambda: not executors(project.host), "executors end")
        assert project.record(done.run_id)["status"] == "Canceled"

    def test_a_connection_and_an_executor_that_are_lost(
        self, project: ClusterProject, tmp_path: Path
    ) -> None:
        project.configure("EnvironmentVariables:", "  TOKEN: lost")
        project.write("train.py", COUNTING)
        head, printed = project.host, tmp_path / "out"
        with printed.open("wb") as out:
            command = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "cluster", "train.py")
            process = project.start(*command, stdout=out)
            until_printed(printed, b"begun\n")
            # sshd's processes for this client end; the run is not one of them.
            head.ssh("for p in $(pgrep -u remo sshd); do kill -9 $p; done; true")
            head.ssh("until [ -e /tmp/slow-lost-0 ] && [ -e /tmp/slow-lost-1 ]; do sleep 0.1; done")
            head.ssh(f"kill -9 {executors(head)[0]}; touch /tmp/go-lost")
            _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, b"sum 1\n" in printed.read_bytes()) == (0, True), err
        (run_id,) = project.run_ids()
        assert "Lost executor" in (project.run_folder(run_id) / "stderr.log").read_text()
        again = project.amlexec("experiment", "follow", "-r", run_id)
        assert (again.code, "sum 1\n" in again.out) == (0, True), again.err

    def test_no_worker_is_free(self, project: ClusterProject, tmp_path: Path) -> None:
        more = "  spark.starvation.timeout: 1s\n"
        project.write(
            "aml_config/spark_dependencies.yml",
            SPARK_FAST.replace("executor.memory: 512m", "executor.memory: 900g") + more,
        )
        project.write("train.py", COUNTING)
        told = tmp_path / "err"
        with told.open("wb") as err:
            command = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "cluster", "train.py")
            process = project.start(*command, stderr=err)
            until_printed(told, b"Initial job has not accepted any resources; check your cluster UI")
            (run_id,) = project.run_ids()
            assert project.amlexec("experiment", "cancel", "-r", run_id).code == 0
            process.communicate(timeout=PATIENCE)
        assert project.record(run_id)["status"] == "Canceled"


def test_java_has_the_classes_of_spark_in_an_archive(spark_head: SparkHead) -> None:
    """Otherwise, everything here is as it should be and takes twice as long."""
    need("fast_java", "the Java with archives", fast_java.is_there)
    # A folder before the jars, as Spark and YARN have it, is where Java would not take an archive.
    path, loaded = f"/tmp:{fast_java.SPARK}/jars/*", "org.apache.spark.deploy.SparkSubmit"
    words = f"-Xshare:on -Xlog:class+load -cp '{path}' {loaded} --version 2>&1"
    printed = spark_head.ssh(f". ~/.bashrc; $JAVA_HOME/bin/java {words}", QUIET)
    assert f"{loaded} source: shared objects file" in printed


class TestAnEnvironmentOfOurs:
    """A conda environment: on the head node, and as an archive on the executors."""

    SCRIPT = """\
import json, os, sys, six
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
def tell(_):
    import six
    return [sys.prefix, six.__version__, six.__file__]
found = spark.sparkContext.parallelize(range(2), 2).map(tell).collect()
print(json.dumps([sys.prefix, six.__version__, found]))
"""

    @pytest.fixture
    def project(self, project: ClusterProject) -> ClusterProject:
        project.is_managed = True
        project.write("aml_config/cluster.compute", project.compute())
        project.write("train.py", self.SCRIPT)
        return project

    def test_the_executors_have_it(self, project: ClusterProject) -> None:
        first = project.submit("train.py")
        assert (first.code, "it was never prepared here" in first.err) == (2, True)
        assert project.prepare().code == 0
        # Settings on the head node that name another Python.
        write_settings(project.root / "conf")
        project.configure("EnvironmentVariables:", "  SPARK_CONF_DIR: conf")
        # Spark takes long to start: one script that uses the archive is enough.
        project.write("print.py", "print('ran')\n")
        done = project.submit("print.py")
        assert done.code == 0, done.err
        record = project.record(done.run_id)
        folder = f"/home/{QUIET}/.amlexec"
        archive = f"{folder}/archives/{record['environment_digest']}.tar.gz"
        assert f"{archive}#environment,../control/executors.tar.gz#amlexec" in record["argv"]

        # The next run neither creates nor sends an archive; an incomplete one is not used.
        head = project.host
        made = head.ssh(f"stat -c %i:%Z {archive}")
        again = project.submit("print.py")
        assert (again.code, head.ssh(f"stat -c %i:%Z {archive}")) == (0, made), again.err
        head.ssh(f"cd {folder}/archives; head -c 1000 {archive} >.half.1.new; touch -d -3days .half.1.new")
        head.ssh(f"rm {archive}; chown {QUIET} {folder}/archives/.half.1.new")
        processes = [
            project.start(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "cluster", script)
            for script in ("train.py", "print.py")
        ]
        ended = [process.communicate(timeout=PATIENCE) for process in processes]
        assert [process.returncode for process in processes] == [0, 0], ended
        assert head.ssh(f"ls -A {folder}/archives") == f"{record['environment_digest']}.tar.gz\n"

        run_id = ended[0][0].decode().partition("RunId: ")[2].split()[0]
        record = project.record(run_id)
        assert f"{archive}#environment,../control/executors.tar.gz#amlexec" in record["argv"]
        assert record["python"]["path"] == f"{record['python']['prefix']}/bin/python"
        assert len(record["executors"]) == 2
        assert {one["prefix"].rpartition("/")[2] for one in record["executors"]} == {"environment"}
        assert {one["version"] for one in record["executors"]} == {record["python"]["version"]}
        printed = (project.run_folder(run_id) / "stdout.log").read_text()
        prefix, version, found = json.loads(printed)
        assert prefix == record["python"]["path"].removesuffix("/bin/python")
        assert (version, prefix.startswith(f"{folder}/envs/")) == ("1.17.0", True)
        for there, imported, file in found:
            assert re.fullmatch(r"/tmp/work-(one|two)/app-[-\d]+/\d+/environment", there), there
            assert (imported, file.startswith(f"{there}/lib/python")) == ("1.17.0", True)


class TestBeforeARun:
    """Errors before the start."""

    def test_the_master_is_down(self, project: ClusterProject) -> None:
        project.write("aml_config/cluster.compute", project.compute(master="spark://127.0.0.1:9"))
        project.write("train.py", SCRIPT)
        done = project.submit("train.py")
        assert done.code == 2
        why = "the Spark master spark://127.0.0.1:9 does not answer: 127.0.0.1:9: Connection refused"
        assert f"cluster: error: {why}\n  hint: start it" in done.err
        assert project.run_ids() == []

    def test_no_hadoop(self, project: ClusterProject) -> None:
        project.write("aml_config/cluster.compute", project.compute(master="yarn"))
        project.write("train.py", SCRIPT)
        done = project.submit("train.py")
        assert done.code == 2
        assert "the master is yarn, but the machine has no configuration of Hadoop" in done.err
        assert "set master to spark://HOST:7077 or local[*] in aml_config/cluster.compute" in done.err
        assert project.run_ids() == []

    def test_no_resource_manager_answers(self, project: ClusterProject) -> None:
        site = "<configuration><property><name>yarn.resourcemanager.address</name><value>127.0.0.1:9</value>"
        head = project.host
        head.ssh(
            f"mkdir -p /tmp/yarn-down; echo '{site}</property></configuration>' >/tmp/yarn-down/yarn-site.xml"
        )
        project.configure("EnvironmentVariables:", "  HADOOP_CONF_DIR: /tmp/yarn-down")
        project.write("aml_config/cluster.compute", project.compute(master="yarn"))
        project.write("train.py", SCRIPT)
        done = project.submit("train.py")
        assert done.code == 2
        assert "error: YARN's ResourceManager does not answer: 127.0.0.1:9: Connection refused" in done.err
        assert project.run_ids() == []


class TestCheck:
    """`computetarget check` of a head node."""

    def test_all_is_well(self, project: ClusterProject) -> None:
        done = project.amlexec("computetarget", "check", "cluster")
        assert done.code == 0, done.out
        assert re.search(r"Java +ok +17\.\S+ for Spark 3\.5\.9\n", done.out), done.out
        assert f"127.0.0.1:{project.host.master_port} answers" in done.out
        assert re.search(r"Python of the executors +ok +3\.11, the same as the driver's", done.out)

    def test_pythons_that_differ(self, project: ClusterProject) -> None:
        # The host has one Python: this one claims to be an older version.
        folder = "/tmp/older"
        project.host.ssh(f"mkdir -p {folder} && cat >{folder}/sitecustomize.py", input=OLDER.encode())
        changed = f"case $* in *pyspark.daemon*) PYTHONPATH={folder}:$PYTHONPATH; export PYTHONPATH;; esac"
        text = f'#!/bin/sh\n{changed}\nexec python3 "$@"\n'
        script = f"cat >{folder}/python && chmod -R 755 {folder}"
        project.host.ssh(script, input=text.encode())
        project.write(
            "aml_config/cluster.compute",
            project.compute().replace("pythonLocation: python3", f"pythonLocation: {folder}/python"),
        )
        done = project.amlexec("computetarget", "check", "cluster")
        assert done.code != 0
        assert re.search(r"Python of the executors +failed +it is 3\.9, but the driver's is 3\.11", done.out)
        project.write("train.py", SCRIPT.replace("from near import tell", "tell = lambda one: one"))
        done = project.submit("train.py")
        assert done.code == 1
        assert "has different version" in (project.run_folder(done.run_id) / "stderr.log").read_text()

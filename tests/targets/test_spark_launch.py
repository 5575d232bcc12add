"""Real PySpark: on this machine, in a container, on a machine over SSH."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.config.load import load
from amlexec.docker import archives, containers, images
from amlexec.errors import TargetError
from amlexec.plan import plan
from amlexec.targets import spark_launch
from amlexec.targets.target import Launch
from amlexec.values import Interpreter, Project
from tests.conftest import ProjectFolder, eventually, until_printed
from tests.engines import fast_java
from tests.engines import spark as parts
from tests.engines.serving import serve
from tests.engines.ssh_host import QUIET
from tests.support import maven
from tests.support.places import PLACES, SPARK_FAST, DockerProject, RemoteProject

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.hosts import Client, Host
    from tests.support.places import Shop

ODD = {
    "spark.test.blanks": "  two  words ",
    "spark.test.quotes": 'it\'s "quoted"',
    "spark.test.shell": "$HOME `id` \\ * ; & | # %",
    "spark.test.lines": "two\nlines",
    "spark.test.empty": "",
    "spark.test.letters": "grün ∑",
    "spark.test.number": "010",
}
SCRIPT = f"""\
import json, os, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
conf = spark.sparkContext.getConf()
kept = {{name: conf.get(name) for name in {sorted(ODD)!r}}}
worker = spark.sparkContext.parallelize([1, 2, 3], 1).map(lambda one: (one, sys.executable)).collect()
told = dict(
    kept=kept, argv=sys.argv[1:], driver=sys.executable, worker=worker, version=spark.version,
    sum=spark.range(1000).selectExpr('sum(id)').first()[0], name=conf.get('spark.app.name'), cwd=os.getcwd(),
    script=sys.argv[0],
)
try:
    import top, base
    there = spark._jvm.Thread.currentThread().getContextClassLoader().getResource('top.txt')
    told['packages'] = [top.VERSION, base.VERSION, there is not None]
except ImportError:
    pass
os.makedirs('outputs', exist_ok=True)
with open('outputs/told.json', 'w') as file:
    json.dump(told, file)
print('told')
print('to stderr', file=sys.stderr)
assert sys.stdin.read() == ''
spark.stop()
raise SystemExit(7)
"""
ARGUMENTS = ["a b", "it's", '"', "$HOME", "", "--conf", "-", "ü"]
WAITING = """\
import time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.sparkContext.parallelize([1], 1).map(lambda one: one).collect()
print('begun', flush=True)
spark.sparkContext.parallelize([1], 1).map(lambda one: time.sleep(600)).collect()
"""
PACKAGES = "packages:\n  - {group: org.example, artifact: top, version: '1.0'}\n"


def dependencies(*more: str) -> str:
    """A Spark dependencies file with odd values; JSON is YAML too."""
    return (
        SPARK_FAST
        + "".join(f"  {name}: {json.dumps(value)}\n" for name, value in ODD.items())
        + "".join(more)
    )


def configure(project: ProjectFolder, name: str, *lines: str) -> None:
    """Write a run configuration for PySpark, with more lines."""
    told = [f"Target: {name}", "Framework: PySpark", *lines]
    project.write(f"aml_config/{name}.runconfig", "\n".join(told) + "\n")


def declare(project: ProjectFolder, *parts: str) -> None:
    """Write the Spark dependencies file."""
    project.write("aml_config/spark_dependencies.yml", "".join(parts))


def write_settings(folder: Path) -> None:
    """Settings of a machine's Spark that name another Python, by both of their files."""
    folder.mkdir(exist_ok=True)
    (folder / "spark-env.sh").write_text(
        "export PYSPARK_PYTHON=/nowhere/python3 PYSPARK_DRIVER_PYTHON=/nowhere/python3\n"
    )
    lines = ("spark.pyspark.python /nowhere/python3", "spark.pyspark.driver.python /nowhere/python3")
    (folder / "spark-defaults.conf").write_text("\n".join(lines) + "\n")


def check_pythons(record: dict[str, Any], python: str) -> None:
    """Assert that driver and executors used this Python."""
    assert (record["python"]["path"], len(record["executors"])) == (python, 1)
    assert record["python"]["prefix"] is not None
    assert record["executors"] == [record["python"]]


def folders(*addresses: str) -> str:
    """The repositories of a Spark dependencies file."""
    return f"repositories: {json.dumps(addresses)}\n"


def check_told(told: dict[str, object], python: str, version: str) -> None:
    """Assert that the script found what was declared."""
    assert told["kept"] == ODD
    assert told["argv"] == ARGUMENTS
    assert (told["driver"], told["version"], told["sum"]) == (python, version, 499500)
    assert told["worker"] == [[number, python] for number in (1, 2, 3)]
    assert (told["name"], told["script"]) == ("demo train.py", "train.py")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Maven repository in a folder."""
    folder = tmp_path / "a b/maven"
    maven.write_repository(folder)
    return folder


class TestHere:
    """On the bare machine."""

    @pytest.fixture
    def project(
        self, spark_parts: parts.Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., ProjectFolder]:
        """Make a project for a version of Spark, installed for this Python."""
        monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        # No Java runs long here, also where no properties are declared.
        for name in ("SPARK_LAUNCHER_OPTS", "SPARK_SUBMIT_OPTS"):
            monkeypatch.setenv(name, "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        for name in ("SPARK_HOME", "SPARK_CONF_DIR", "JAVA_HOME", "PYSPARK_PYTHON"):
            monkeypatch.delenv(name, raising=False)

        def make(version: str = parts.SPARK) -> ProjectFolder:
            monkeypatch.setenv("PYTHONPATH", str(spark_parts.home(version).parent))
            project = ProjectFolder(tmp_path / "demo")
            configure(project, "local")
            project.write("train.py", "print('ran')\n")
            return project

        return make

    @pytest.mark.parametrize("version", [parts.SPARK, parts.NEWER])
    def test_a_script_runs(
        self,
        project: Callable[..., ProjectFolder],
        spark_parts: parts.Installed,
        repository: Path,
        version: str,
    ) -> None:
        made = project(version)
        declare(made, dependencies(folders(repository.as_uri()), PACKAGES))
        made.write("train.py", SCRIPT)
        # Without a network, and with settings of a notebook, which would never end.
        command = ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", sys.executable]
        command += ["-m", "amlexec", "experiment", "submit", "-c", "local", "train.py", *ARGUMENTS]
        notebook = {"PYSPARK_DRIVER_PYTHON": "jupyter", "PYSPARK_DRIVER_PYTHON_OPTS": "notebook"}
        write_settings(made.root / "conf")
        settings = {"SPARK_CONF_DIR": str(made.root / "conf")}
        done = made.call(*command, env={**os.environ, **notebook, **settings})
        assert done.code == 1, done.err
        record = made.record(done.run_id)
        assert (record["exit_code"], record["reason"], record["framework"]) == (7, "exit code 7", "PySpark")
        assert record["argv"][0] == f"{spark_parts.home(version)}/bin/spark-submit"
        assert record["argv"][-len(ARGUMENTS) - 1 :] == ["train.py", *ARGUMENTS]
        folder = made.run_folder(done.run_id)
        found = json.loads((folder / "outputs/told.json").read_text())
        check_told(found, sys.executable, version)
        check_pythons(record, sys.executable)
        assert (found["packages"], found["cwd"]) == (["1.0", "1.0", True], f"{folder}/project")
        assert (folder / "stdout.log").read_bytes().endswith(b"told\n")
        assert b"to stderr\n" in (folder / "stderr.log").read_bytes()
        log = (folder / "stderr.log").read_text()
        assert "org.example#top;1.0 in repository-1" in log
        assert "maven.org" not in log

    def test_the_default_file_may_be_absent(
        self, project: Callable[..., ProjectFolder], spark_parts: parts.Installed
    ) -> None:
        made = project()
        submit = f"{spark_parts.home()}/bin/spark-submit"
        made.write("aml_config/local.compute", f"type: local\nsparkSubmitLocation: {submit}\n")
        done = made.submit("train.py")
        assert (done.code, "ran\n" in done.out) == (0, True), done.err
        configure(made, "local", "SparkDependenciesFile: gone.yml")
        done = made.submit("train.py")
        assert done.code == 3
        assert "SparkDependenciesFile is 'gone.yml', but there is no such file" in done.err

    def test_a_declared_python_is_recorded_a_secret_is_not_and_the_run_is_run_again(
        self, project: Callable[..., ProjectFolder], tmp_path: Path
    ) -> None:
        """With the properties of its own time."""
        made = project()
        other = tmp_path / "other"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(other)], check=True)
        made.write(
            "train.py",
            "from pyspark.sql import SparkSession\nspark = SparkSession.builder.getOrCreate()\n"
            "number = spark.sparkContext.getConf().get('spark.test.number')\n"
            "(told,) = spark.sparkContext.parallelize([number], 1).map(lambda one: one).collect()\n"
            "open('outputs/told', 'w').write(told)\n",
        )
        python = f"  spark.pyspark.python: {other}/bin/python\n"
        secret = "  spark.my.password: hush-hush\n"
        declare(made, SPARK_FAST, python, secret, "  spark.test.number: '010'\n")
        first = made.submit("train.py")
        assert first.code == 0, first.err
        check_pythons(made.record(first.run_id), f"{other}/bin/python")
        assert "spark.my.password=***" in made.record(first.run_id)["argv"]
        files = [path for path in made.run_folder(first.run_id).rglob("*") if path.is_file()]
        assert [path.name for path in files if b"hush-hush" in path.read_bytes()] == []
        declare(made, SPARK_FAST, "  spark.test.number: '7'\n")
        again = made.amlexec("experiment", "rerun", first.run_id, "--verify")
        assert again.code == 0, again
        assert "1 output (3 bytes)" in again.out
        check_pythons(made.record(made.run_ids()[-1]), f"{other}/bin/python")

    def test_a_package_that_no_repository_has(
        self, project: Callable[..., ProjectFolder], repository: Path
    ) -> None:
        made = project()
        declare(made, folders(repository.as_uri()), PACKAGES.replace("top", "gone"))
        done = made.submit("train.py")
        assert done.code == 1
        log = (made.run_folder(done.run_id) / "stderr.log").read_text()
        assert "unresolved dependency: org.example#gone;1.0: not found" in log
        assert "ran" not in done.out

    def test_a_cancel_ends_all_of_it(self, project: Callable[..., ProjectFolder]) -> None:
        made = project()
        declare(made, SPARK_FAST)
        made.write("train.py", WAITING)
        done = made.amlexec("experiment", "submit", "-c", "local", "--async", "train.py")
        assert done.code == 0, done.err
        log = made.run_folder(done.run_id) / "stdout.log"
        until_printed(log, b"begun\n")
        eventually(lambda: len(_of_run(done.run_id)) >= 4, "supervisor, Java, script, workers")
        assert made.amlexec("experiment", "cancel", "-r", done.run_id).code == 0
        eventually(lambda: not _of_run(done.run_id), "every process of the run ends")
        assert made.record(done.run_id)["status"] == "Canceled"


def _of_run(run_id: str) -> list[str]:
    """The processes that have a run's id in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if f"AMLEXEC_RUN_ID={run_id}\0".encode() in (entry / "environ").read_bytes():
                    found.append(entry.name)
    return found


class TestHereWithout:
    """On this machine, with something missing."""

    @pytest.fixture
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
        monkeypatch.delenv("SPARK_HOME", raising=False)
        made = ProjectFolder(tmp_path / "demo")
        configure(made, "local")
        made.write("train.py", "")
        return made

    def test_spark(self, project: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
        done = project.submit("train.py")
        assert done.code == 3
        assert "local.compute: error: Framework is PySpark, but there is no Spark on this machine" in done.err
        assert f"hint: install it for that Python ({sys.executable} -m pip install pyspark)" in done.err
        project.write("aml_config/local.compute", "type: local\nsparkSubmitLocation: /no/where\n")
        done = project.submit("train.py")
        assert done.code == 3
        assert "sparkSubmitLocation is '/no/where', but there is no such program on this machine" in done.err
        assert project.run_ids() == []

    @pytest.mark.parametrize("there", [False, True])
    def test_supported_java_versions(
        self, spark_parts: parts.Installed, project: ProjectFolder, tmp_path: Path, *, there: bool
    ) -> None:
        java = tmp_path / "java"
        if there:
            (java / "bin").mkdir(parents=True)
            (java / "bin/java").touch(0o755)
            (java / "release").write_text('JAVA_VERSION="11.0.2"\n')
        configure(project, "local", "EnvironmentVariables:", f"  JAVA_HOME: {java}")
        done = project.submit(
            "train.py", env={**os.environ, "PYTHONPATH": str(spark_parts.home(parts.NEWER).parent)}
        )
        assert done.code == 2
        found = f"{java}/bin/java is Java 11.0.2" if there else "there is no Java"
        assert f"local.compute: error: Spark {parts.NEWER} needs Java 17 or later, but {found}\n" in done.err
        assert project.run_ids() == []

    def test_a_folder_of_packages(self, project: ProjectFolder) -> None:
        declare(project, folders("file:maven"))
        done = project.submit("train.py")
        assert done.code == 3
        told = f"error: repositories has file:maven, but there is no folder {project.root}/maven"
        assert f"aml_config/spark_dependencies.yml: {told}" in done.err


class TestInAContainer:
    """On a Docker engine."""

    @pytest.fixture
    def project(
        self, spark_base: str, shop: Shop, tmp_path: Path, repository: Path
    ) -> Callable[..., DockerProject]:
        """Make a project with a folder of packages, on the image with Spark or on another one."""

        def make(base: str = spark_base) -> DockerProject:
            made = DockerProject(tmp_path / "demo", shop)
            repository.rename(made.root / "maven")
            made.write("aml_config/docker.compute", made.compute(base=base))
            lines = ("PrepareEnvironment: true", "EnvironmentVariables:", "  SPARK_CONF_DIR: conf")
            configure(made, "docker", *lines)
            write_settings(made.root / "conf")
            made.write("train.py", SCRIPT)
            return made

        return make

    def test_a_script_runs(self, project: Callable[..., DockerProject]) -> None:
        made = project()
        declare(made, dependencies(folders("file:maven"), PACKAGES))
        done = made.submit("train.py", *ARGUMENTS)
        assert done.code == 1, done.err
        record = made.record(done.run_id)
        assert (record["exit_code"], record["argv"][0]) == (7, "/opt/spark/bin/spark-submit")
        folder = made.run_folder(done.run_id)
        found = json.loads((folder / "outputs/told.json").read_text())
        check_told(found, "/opt/amlexec/env/bin/python", parts.SPARK)
        check_pythons(record, "/opt/amlexec/env/bin/python")
        assert (found["packages"], found["cwd"]) == (["1.0", "1.0", True], "/azureml-run")
        assert (folder / "stdout.log").read_bytes().endswith(b"told\n")
        assert b"to stderr\n" in (folder / "stderr.log").read_bytes()
        # The image contains what a run needs of them.
        assert "resolving dependencies" not in (folder / "stderr.log").read_text()

        recipe = made.prepare("--print-dockerfile").out
        assert "COPY maven " in recipe
        assert '"--packages", "org.example:top:1.0"]\n' in recipe

        maven.write_package(made.root / "maven", "org.example:top:1.1")
        declare(made, dependencies(folders("file:maven"), PACKAGES.replace("1.0", "1.1")))
        done = made.prepare("--check")
        assert "spark_dependencies.yml: Spark package org.example:top 1.0 -> 1.1" in done.out + done.err
        made.configure()
        done = made.prepare("--check")
        assert "Spark package org.example:top 1.0 removed" in done.out + done.err

    def test_packages_over_http_and_one_that_is_nowhere(
        self, project: Callable[..., DockerProject], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = project()
        with serve(str(made.root / "maven")) as site:
            monkeypatch.setenv("DEFAULT_ARTIFACT_REPOSITORY", f"{site.url}/")
            declare(made, PACKAGES)
            done = made.prepare()
            assert done.code == 0, done.err
            declare(made, PACKAGES, PACKAGES.partition("\n")[2].replace("top", "gone_2.11"))
            done = made.prepare()
        assert done.code == 3
        assert (
            "aml_config/spark_dependencies.yml: error: no repository has the Maven package "
            "org.example:gone_2.11:1.0\n  hint: it is for Scala 2.11, but Spark 3.5.9 is for 2.12" in done.err
        )

    def test_a_repository_that_cannot_be_reached(
        self, project: Callable[..., DockerProject], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DEFAULT_ARTIFACT_REPOSITORY", "http://127.0.0.1:9/central/")
        made = project()
        declare(made, folders("http://127.0.0.1:9/own"), PACKAGES)
        done = made.prepare()
        assert done.code == 2
        told = "error: a Maven repository that may have org.example:top:1.0 can't be reached: "
        place = "http://127.0.0.1:9/own/org/example/top/1.0"
        assert f"aml_config/spark_dependencies.yml: {told}{place}" in done.err
        assert "Connection refused" in done.err

    def test_packages_that_no_folder_has(self, project: Callable[..., DockerProject]) -> None:
        made = project()
        declare(made, folders("file:maven"), PACKAGES.replace("top", "gone"))
        done = made.prepare()
        assert done.code == 3
        assert "no repository has the Maven package org.example:gone:1.0" in done.err
        assert "hint: only the folders were searched" in done.err

    def test_an_image_without_spark(self, project: Callable[..., DockerProject], shop: Shop) -> None:
        made = project(shop.base)
        done = made.submit("train.py")
        assert done.code == 3
        told = "error: Framework is PySpark, but there is no Spark in the environment"
        hint = "hint: add pyspark and openjdk to the conda dependencies, or set baseDockerImage to an image"
        assert f"aml_config/docker.compute: {told}\n  {hint}" in done.err
        declare(made, folders("file:maven"), PACKAGES)
        done = made.prepare()
        assert done.code == 3
        told = "error: Maven packages are declared, but the environment has no Spark"
        assert f"aml_config/spark_dependencies.yml: {told}\n  {hint}" in done.err

    def test_an_image_in_which_the_search_fails(self, shop: Shop, tmp_path: Path) -> None:
        """It is not taken for one without Spark, now or later."""
        engine, name = shop.engine, f"amlexec-test/base-{shop.session}:{uuid.uuid4().hex[:8]}"
        made = containers.create(engine, {"Image": shop.base, "Cmd": ["none"]})
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w") as archive:
            shell = tarfile.TarInfo("bin/sh")
            shell.type, shell.linkname = tarfile.SYMTYPE, "/bin/false"
            archive.addfile(shell)
        try:
            archives.put(engine, made, "/", content.getvalue())
            image = images.commit(engine, made, name)
        finally:
            containers.remove(engine, made, force=True)
        project = Project(str(DockerProject(tmp_path / "demo", shop).root))
        planned = plan(load(project, "docker"), "train.py", (), environment={})
        launch = Launch(("python", "train.py"), Interpreter("python", "3.11.0"), "", {}, image_id=image)
        for _ in range(2):
            with pytest.raises(
                TargetError, match=r"the search for Spark in the image ended with exit code 1$"
            ):
                spark_launch.contained(planned, launch, engine)

    def test_an_image_without_java(self, project: Callable[..., DockerProject]) -> None:
        made = project()
        lines = ("PrepareEnvironment: true", "EnvironmentVariables:", "  JAVA_HOME: /nowhere")
        configure(made, "docker", *lines)
        done = made.submit("train.py")
        assert done.code == 2
        assert "docker.compute: error: Spark 3.5.9 needs Java 8 to 23, but there is no Java" in done.err

    def test_a_cancel_ends_the_container(self, project: Callable[..., DockerProject]) -> None:
        made = project()
        declare(made, SPARK_FAST)
        made.write("train.py", WAITING)
        done = made.submit("--async", "train.py")
        assert done.code == 0, done.err
        made.begun(done.run_id)
        assert made.amlexec("experiment", "cancel", "-r", done.run_id).code == 0
        assert made.record(done.run_id)["status"] == "Canceled"
        assert made.containers() == []


class TestOverSSH:
    """On a machine that the user manages."""

    @pytest.fixture
    def project(
        self,
        new_host: Callable[..., Host],
        client: Client,
        shop: Shop,
        spark_parts: parts.Installed,
        tmp_path: Path,
    ) -> RemoteProject:
        host = new_host(Binds=[f"{spark_parts.home()}:{fast_java.SPARK}:ro", *fast_java.binds()])
        client.knows(host)
        client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
        place = next(one for one in PLACES if one.kind == "remote")
        made = RemoteProject(tmp_path / "demo", shop, place, host)
        location = f"sparkSubmitLocation: {fast_java.SPARK}/bin/spark-submit"
        made.write("aml_config/remote.compute", made.compute(location))
        variables = [f"JAVA_HOME: {fast_java.home()}", "SPARK_LOCAL_IP: 127.0.0.1", "LC_ALL: C.UTF-8"]
        variables.append("SPARK_CONF_DIR: conf")
        write_settings(made.root / "conf")
        configure(made, "remote", "EnvironmentVariables:", *(f"  {one}" for one in variables))
        return made

    def test_a_script_runs_and_a_cancel_ends_it(self, project: RemoteProject) -> None:
        declare(project, dependencies(folders("file:maven"), PACKAGES))
        maven.write_repository(project.root / "maven")
        project.write("train.py", SCRIPT)
        done = project.submit("train.py", *ARGUMENTS)
        assert done.code == 1, done.err
        assert project.record(done.run_id)["exit_code"] == 7
        folder = project.run_folder(done.run_id)
        found = json.loads((folder / "outputs/told.json").read_text())
        check_told(found, "/usr/bin/python3", parts.SPARK)
        check_pythons(project.record(done.run_id), "/usr/bin/python3")
        assert found["packages"] == ["1.0", "1.0", True]
        assert (folder / "stdout.log").read_bytes().endswith(b"told\n")
        assert b"to stderr\n" in (folder / "stderr.log").read_bytes()

        project.write("train.py", WAITING)
        declare(project, SPARK_FAST)
        done = project.submit("--async", "train.py")
        assert done.code == 0, done.err
        project.begun(done.run_id)
        assert "java" in project.host.ssh(f"ps -u {QUIET} -o comm=")
        assert project.amlexec("experiment", "cancel", "-r", done.run_id).code == 0
        eventually(lambda: "java" not in project.host.ssh(f"ps -u {QUIET} -o comm= || :"), "Java ends")
        assert project.record(done.run_id)["status"] == "Canceled"

"""Arguments of spark-submit, the Java that a Spark needs, and how Spark is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec import redaction
from amlexec.config import load as config
from amlexec.dependencies import SparkDependencies, SparkPackage
from amlexec.errors import ConfigurationError, TargetError
from amlexec.runtime import shell
from amlexec.spark import kerberos, submit_args
from amlexec.spark.submit_args import Spark
from amlexec.values import Place, Project
from tests.engines import spark as parts

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Place("aml_config/spark_dependencies.yml")


def declared(tmp_path: Path, text: str) -> SparkDependencies:
    """The Spark dependencies in a file with this text."""
    (tmp_path / "aml_config").mkdir(exist_ok=True)
    (tmp_path / "aml_config/spark_dependencies.yml").write_text(text, "utf-8")
    return config.load_spark(Project(str(tmp_path)), "aml_config/spark_dependencies.yml")


def test_a_file_becomes_options(tmp_path: Path) -> None:
    found = declared(
        tmp_path,
        "configuration:\n  spark.executor.memory: 2g\n  spark.yarn.maxAppAttempts: 1\n"
        "repositories:\n  - https://one.example.org/maven\n  - https://two.example.org/maven\n"
        "packages:\n  - {group: org.apache.spark, artifact: spark-avro_2.12, version: 3.5.3}\n"
        "  - group: com.microsoft.sqlserver\n    artifact: mssql-jdbc\n    version: 6.2.1.jre8\n",
    )
    assert submit_args.arguments(found, "demo train.py") == (
        *("--name", "demo train.py"),
        *("--conf", "spark.executor.memory=2g", "--conf", "spark.yarn.maxAppAttempts=1"),
        *("--repositories", "https://one.example.org/maven,https://two.example.org/maven"),
        *(
            "--packages",
            "org.apache.spark:spark-avro_2.12:3.5.3,com.microsoft.sqlserver:mssql-jdbc:6.2.1.jre8",
        ),
    )


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("010", "010"),
        ("1e3", "1e3"),
        ("yes", "yes"),
        ("True", "True"),
        ("1.10", "1.10"),
        ("0x1F", "0x1F"),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("", ""),
        ("~", ""),
        ("''", ""),
        ("'  at both ends '", "  at both ends "),
        ("-Dx=\"a b\" -Dy='c'", "-Dx=\"a b\" -Dy='c'"),
        ("'it''s = \"quoted\"'", 'it\'s = "quoted"'),
        ('"tab\\t and $HOME `id` \\\\"', "tab\t and $HOME `id` \\"),
        ("|\n    two\n    lines", "two\nlines\n"),
        ("grün", "grün"),
    ],
)
def test_a_value_keeps_its_text(tmp_path: Path, written: str, value: str) -> None:
    found = declared(tmp_path, f"configuration:\n  spark.x: {written}\n")
    assert submit_args.arguments(found, "name")[2:] == ("--conf", f"spark.x={value}")


@given(st.lists(st.tuples(st.from_regex(r"\Aspark\.[a-z]{1,8}\Z"), st.text()), unique_by=lambda one: one[0]))
def test_every_setting_is_one_option(settings: list[tuple[str, str]]) -> None:
    found = SparkDependencies(HERE, tuple(settings))
    for options in (submit_args.arguments(found, "name"), submit_args.baked_arguments(found, "name", ())):
        assert options[:2] == ("--name", "name")
        assert [tuple(one.split("=", 1)) for one in options[3::2]] == settings
        assert set(options[2::2]) <= {"--conf"}


def test_an_application_name_in_the_file(tmp_path: Path) -> None:
    found = declared(tmp_path, "configuration:\n  spark.app.name: Azure ML Experiment\n")
    assert submit_args.arguments(found, "demo") == ("--conf", "spark.app.name=Azure ML Experiment")


def test_keys_and_properties_are_joined() -> None:
    settings = (
        ("spark.jars.packages", "g:one:1, g:two:2"),
        ("spark.jars.repositories", "https://a,https://b"),
        ("spark.jars.excludes", "g:bad"),
        ("spark.jars", "own.jar"),
    )
    found = SparkDependencies(HERE, settings, ("https://b", "https://c"), (SparkPackage("g", "two", "2"),))
    options = submit_args.arguments(found, "n")
    assert options[-4:] == (
        "--repositories",
        "https://b,https://c,https://a",
        "--packages",
        "g:two:2,g:one:1",
    )
    baked = submit_args.baked_arguments(found, "n", ["/x/1.jar", "/x/2.jar"])
    assert baked == (
        *("--name", "n", "--conf", "spark.jars=own.jar"),
        *("--jars", "own.jar,/x/1.jar,/x/2.jar", "--py-files", "/x/1.jar,/x/2.jar"),
    )
    assert submit_args.excludes(found) == ("g:bad",)


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("file:///srv/maven", "/srv/maven"),
        ("file:/srv/maven/", "/srv/maven/"),
        ("FILE://localhost/srv/a%20b", "/srv/a b"),
        ("file:maven", "/p/maven"),
        ("file:./data/maven", "/p/data/maven"),
    ],
)
def test_repositories_that_are_folders(address: str, folder: str) -> None:
    assert submit_args.folder_of("/p", address) == folder
    found = SparkDependencies(HERE, (), ("https://a", address))
    assert submit_args.folders(found) == (address,)
    placed = submit_args.placed(found, "/p").repositories
    assert placed == ("https://a", Path(folder).as_uri() + ("/" if folder.endswith("/") else ""))
    with pytest.raises(ConfigurationError, match=r"there is no folder") as raised:
        submit_args.folders_must_be_there(found, "/p")
    assert raised.value.where == "aml_config/spark_dependencies.yml"


def test_settings_of_ivy() -> None:
    root = ET.fromstring(submit_args.ivy_settings(["file:///a&b/\"c'", "https://x/"]))
    assert [one.get("root") for one in root.iter("ibiblio")] == ["file:///a&b/\"c'/", "https://x/"]
    options = submit_args.arguments(SparkDependencies(HERE, (), ("file:/m",)), "n", "/ivy.xml")
    assert options == ("--name", "n", "--conf", "spark.jars.ivySettings=/ivy.xml")


def test_settings_whose_names_look_secret() -> None:
    key = ("spark.hadoop.fs.azure.account.key.store.blob.core.windows.net", "c3VwZXJzZWNyZXQ=")
    found = SparkDependencies(HERE, (key, ("spark.x", "plain")), ("https://ada:hush-hush@example.org/m",))
    told = " ".join(submit_args.arguments(found, "n"))
    assert redaction.redact(told, submit_args.settings(found)) == (
        f"--name n --conf {key[0]}=*** --conf spark.x=plain --repositories https://***@example.org/m"
    )


class TestJava:
    @pytest.mark.parametrize(
        ("version", "java"),
        [
            *(("3.5.9", "1.8.0_392"), ("3.5.9", "11.0.2"), ("3.5.9", "17.0.15"), ("3.5.9", "unknown")),
            *(("4.3.0", "17"), ("4.3.0", "25-ea"), ("2.4.8", "1.8.0_392"), ("", "17.0.1"), ("9.0", "21")),
        ],
    )
    def test_supported_java(self, version: str, java: str) -> None:
        submit_args.java_must_do(Spark("s", version, "2.12", java, "/j"), "f", "how")

    @pytest.mark.parametrize(
        ("version", "java", "said"),
        [
            ("4.3.0", "11.0.2", "Spark 4.3.0 needs Java 17 or later, but /j is Java 11.0.2"),
            ("3.5.9", "1.7.0_80", "Spark 3.5.9 needs Java 8 to 23, but /j is Java 1.7.0_80"),
            ("3.5.9", "24", "Spark 3.5.9 needs Java 8 to 23, but /j is Java 24"),
            ("2.4.8", "11.0.2", "Spark 2.4.8 needs Java 8, but /j is Java 11.0.2"),
            ("4.3.0", "", "Spark 4.3.0 needs Java 17 or later, but there is no Java"),
            ("", "", "Spark needs Java 8 or later, but there is no Java"),
        ],
    )
    def test_unsupported_java(self, version: str, java: str, said: str) -> None:
        with pytest.raises(TargetError) as raised:
            submit_args.java_must_do(Spark("s", version, "2.12", java, "/j"), "f.compute", "do this")
        assert (raised.value.message, raised.value.where, raised.value.hint) == (said, "f.compute", "do this")


class TestTickets:
    """Of Kerberos."""

    @pytest.mark.parametrize(
        ("ticket", "why", "hint"),
        [
            ("missing", "you have no ticket", "run kinit there"),
            ("expired", "your ticket has expired", "run kinit there"),
            (
                "unreadable KCM",
                "your ticket is in a cache of the kind KCM, which Java cannot read",
                "set KRB5CCNAME to a file",
            ),
        ],
    )
    def test_of_no_use(self, ticket: str, why: str, hint: str) -> None:
        with pytest.raises(TargetError, match=f"the cluster uses Kerberos, and {why}") as raised:
            kerberos.ticket_must_be_valid(Spark(ticket=ticket), "head")
        assert (raised.value.hint or "").startswith(hint)

    def test_valid_or_not_needed(self) -> None:
        for ticket in ("", "valid ada@E 12/01/26 16:00:00"):
            kerberos.ticket_must_be_valid(Spark(ticket=ticket), "head")
        assert kerberos.in_words(Spark(ticket="valid ada@E ")) == "a ticket of ada@E"


class TestFinding:
    """`runtime/spark.sh`, with folders that look like a Spark."""

    @pytest.fixture
    def installed(self, tmp_path: Path) -> Path:
        home = tmp_path / "opt/spark"
        for name in ("bin/spark-submit", "bin/find-spark-home", "jars/spark-core_2.13-4.0.1.jar"):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text("#!/bin/sh\n")
            (home / name).chmod(0o755)
        java = tmp_path / "java"
        (java / "bin").mkdir(parents=True)
        (java / "bin/java").write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
        (java / "bin/java").chmod(0o755)
        return home

    @pytest.fixture
    def look(self, tmp_path: Path) -> Callable[..., Spark]:
        def look(location: str = "spark-submit", **variables: str) -> Spark:
            told = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "JAVA_HOME": f"{tmp_path}/java"}
            done = subprocess.run(
                ["sh", shell("spark"), location, sys.executable],
                env={**told, **variables},
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stderr == ""
            return submit_args.read(done.stdout)

        return look

    def test_nowhere(self, look: Callable[..., Spark]) -> None:
        assert look() == Spark()
        assert look("/no/where") == Spark()

    def test_by_its_path(self, look: Callable[..., Spark], installed: Path, tmp_path: Path) -> None:
        path = f"{installed}/bin/spark-submit"
        wanted = Spark(path, "4.0.1", "2.13", "11.0.2", f"{tmp_path}/java/bin/java")
        assert look(path) == wanted
        assert look("~/opt/spark/bin/spark-submit") == wanted

    def test_by_path_and_spark_home(self, look: Callable[..., Spark], installed: Path) -> None:
        path = f"{installed}/bin/spark-submit"
        assert look(PATH=f"{installed}/bin:/usr/bin:/bin").submit == path
        assert look(SPARK_HOME=str(installed)) == look(path)

    def test_by_a_link_elsewhere(self, look: Callable[..., Spark], installed: Path, tmp_path: Path) -> None:
        (tmp_path / "spark-submit").symlink_to(installed / "bin/spark-submit")
        assert look(PATH=f"{tmp_path}:/usr/bin:/bin") == look(f"{installed}/bin/spark-submit")

    def test_in_the_python_environment(
        self, look: Callable[..., Spark], installed: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site/pyspark").symlink_to(installed)
        (installed / "__init__.py").write_text("raise SystemError\n")
        found = look(PYTHONPATH=f"{tmp_path}/site")
        assert (found.submit, found.version) == (f"{tmp_path}/site/pyspark/bin/spark-submit", "4.0.1")

    def test_java(self, look: Callable[..., Spark], installed: Path, tmp_path: Path) -> None:
        told = {"SPARK_HOME": str(installed)}
        assert look(**told, JAVA_HOME="/nowhere").java == ""
        (tmp_path / "java/release").write_text('IMPLEMENTOR="x"\nJAVA_VERSION="17.0.15"\n')
        assert look(**told).java == "17.0.15"
        assert look(**told, JAVA_HOME="", PATH=f"{tmp_path}/java/bin:/usr/bin:/bin").java == "17.0.15"
        (installed / "conf").mkdir()
        (installed / "conf/spark-env.sh").write_text("export JAVA_HOME=/elsewhere\n")
        assert look(**told, JAVA_HOME="").java == "unknown"

    @pytest.mark.parametrize(
        ("listed", "ticket"),
        [
            ("", "missing"),
            ("Ticket cache: FILE:/tmp/x\nDefault principal: ada@EXAMPLE.ORG\n", "expired"),
            ("Ticket cache: KEYRING:persistent:0:0\nDefault principal: ada@E\n", "unreadable KEYRING"),
            (
                "Ticket cache: FILE:/tmp/x\nDefault principal: ada@E\n\nValid starting     Expires\n%s",
                "valid ada@E 12/01/26 16:00:00",
            ),
        ],
    )
    def test_a_ticket(
        self, look: Callable[..., Spark], installed: Path, tmp_path: Path, listed: str, ticket: str
    ) -> None:
        """As klist of MIT's Kerberos prints it."""
        (tmp_path / "conf").mkdir()
        site = "<configuration>\n<property>\n <name>hadoop.security.authentication</name>\n"
        (tmp_path / "conf/core-site.xml").write_text(f"{site} <value>Kerberos</value></property>\n")
        line = "12/01/26 06:00:00  12/01/26 16:00:00  krbtgt/E@E\n\trenew until 12/02/26 06:00:00\n"
        (tmp_path / "listed").write_text(listed.replace("%s", line))
        code = int(ticket in {"missing", "expired"})
        klist = f'#!/bin/sh\n[ "$1" != -s ] || exit {code}\nexec cat {tmp_path}/listed\n'
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/klist").write_text(klist)
        (tmp_path / "bin/klist").chmod(0o755)
        told = {"SPARK_HOME": str(installed), "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
        found = look(**told, HADOOP_CONF_DIR=f"{tmp_path}/conf")
        assert (found.ticket, found.java) == (ticket, "11.0.2")
        # None is needed.
        assert look(**told, HADOOP_CONF_DIR="/nowhere").ticket == ""
        tokens = {"HADOOP_TOKEN_FILE_LOCATION": "/tmp/tokens"}
        assert look(**told, **tokens, HADOOP_CONF_DIR=f"{tmp_path}/conf").ticket == ""

    @pytest.mark.parametrize("version", [parts.SPARK, parts.NEWER])
    def test_a_real_one(self, spark_parts: parts.Installed, look: Callable[..., Spark], version: str) -> None:
        home = spark_parts.home(version)
        found = look(PYTHONPATH=str(home.parent), JAVA_HOME="", PATH=os.environ["PATH"])
        assert (found.submit, found.version) == (f"{home}/bin/spark-submit", version)
        assert int(found.java.split(".")[0]) >= 17
        submit_args.java_must_do(found, "", "")

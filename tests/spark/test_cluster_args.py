"""Arguments of spark-submit on a cluster, the application in its log, and the master that is asked."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from amlexec.runtime import SITE
from amlexec.spark import cluster_args
from amlexec.spark.cluster_args import Shipped, application
from amlexec.values import ComputeTarget, Place

if TYPE_CHECKING:
    from pathlib import Path

TARGET = ComputeTarget("big", "cluster", Place("aml_config/big.compute"))
STANDALONE = TARGET._replace(master="spark://head:7077")
VARIABLES = (("LEVEL", "a b"), ("API_KEY", "hush=hush"))
CLIENT = TARGET._replace(yarn_deploy_mode="client")
ARCHIVE = Shipped("/home/me/x.tar.gz")
PACKED = "/home/me/x.tar.gz#environment,../control/executors.tar.gz#amlexec"


@pytest.mark.parametrize(
    ("target", "shipped", "options", "executors"),
    [
        (
            TARGET,
            ARCHIVE,
            (
                "--master yarn --deploy-mode cluster "
                f"--archives ../control/project.tar.gz#project,{PACKED} "
                "--conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python "
                "--conf spark.yarn.appMasterEnv.PYSPARK_DRIVER_PYTHON=./environment/bin/python"
            ),
            "./amlexec/python",
        ),
        (
            TARGET._replace(yarn_deploy_mode="client"),
            ARCHIVE,
            f"--master yarn --deploy-mode client --archives {PACKED}",
            "./amlexec/python",
        ),
        (
            TARGET,
            Shipped(),
            (
                "--master yarn --deploy-mode cluster --archives ../control/project.tar.gz#project "
                "--conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=/p "
                "--conf spark.yarn.appMasterEnv.PYSPARK_DRIVER_PYTHON=/p"
            ),
            "/p",
        ),
        (STANDALONE, Shipped(), "--master spark://head:7077 --deploy-mode client", "/p"),
        (
            STANDALONE,
            ARCHIVE,
            f"--master spark://head:7077 --deploy-mode client --archives {PACKED}",
            "./amlexec/python",
        ),
        (TARGET._replace(master="local[*]"), ARCHIVE, "--master local[*] --deploy-mode client", "/p"),
    ],
)
def test_options_of_each_deploy_mode(
    target: ComputeTarget, shipped: Shipped, options: str, executors: str
) -> None:
    assert cluster_args.options(target, (), "/p", shipped) == options.split(" ")
    assert cluster_args.executors_python(target, "/p", shipped) == executors


def test_variables_reach_driver_and_executors() -> None:
    told = cluster_args.options(STANDALONE, VARIABLES, "/p", Shipped())[4:]
    assert told == ["--conf", "spark.executorEnv.LEVEL=a b"]
    assert cluster_args.properties(STANDALONE, VARIABLES, ()) == "spark.executorEnv.API_KEY=hush\\=hush\n"
    told = cluster_args.options(TARGET, VARIABLES, "/p", Shipped())[-4:]
    assert told == [
        *("--conf", "spark.executorEnv.LEVEL=a b", "--conf", "spark.yarn.appMasterEnv.LEVEL=a b"),
    ]
    settings = (("spark.my.password", " p:\\é\n"), ("spark.x", "y"))
    assert cluster_args.properties(TARGET, VARIABLES, settings).splitlines() == [
        "spark.executorEnv.API_KEY=hush\\=hush",
        "spark.yarn.appMasterEnv.API_KEY=hush\\=hush",
        "spark.my.password=\\ p\\:\\\\\\u00e9\\n",
    ]


def test_the_users_own_tag_is_kept() -> None:
    first, second = (cluster_args.tagged(CLIENT, [("spark.yarn.tags", "ours")]) for _ in range(2))
    assert first != second
    assert first[1].startswith("spark.yarn.tags=ours,amlexec-")
    assert cluster_args.tag_of(["--conf", "spark.yarn.tags=ours", *first]) == first[1].rpartition(",")[2]
    assert cluster_args.tag_of(["--conf", "x=amlexec-1"]) == ""
    # YARN's tags are lower case.
    assert re.fullmatch(r"amlexec-[0-9a-f]{16}", first[1].rpartition(",")[2])


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (
            (
                "INFO YarnClientImpl: Submitted application application_1521077190506_0042\n"
                "\t tracking URL: http://rm:8088/proxy/application_1521077190506_0042/\n"
            ),
            ("application_1521077190506_0042", "http://rm:8088/proxy/application_1521077190506_0042/"),
        ),
        (
            (
                "INFO SparkUI: Bound SparkUI to 0.0.0.0, and started at http://head:4040\n"
                "INFO X: Connected to Spark cluster with app ID app-20260131120000-0007\n"
            ),
            ("app-20260131120000-0007", "http://head:4040"),
        ),
        ("INFO Utils: Successfully started service 'SparkUI' on port 4040.\n", ("", "")),
        ("", ("", "")),
    ],
)
def test_application_in_a_log(log: str, found: tuple[str, str]) -> None:
    assert application(log) == found


def _asked(master: str, **variables: str) -> str:
    program = str(SITE / "amlexec/spark_master.py")
    done = subprocess.run(
        [sys.executable, program, master],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


class TestMaster:
    def test_master_that_answers_and_one_that_does_not(self) -> None:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            here = f"127.0.0.1:{listening.getsockname()[1]}"
            assert _asked(f"spark://{here}") == f"master {here}\n"
            assert _asked(f"spark://127.0.0.1:9,{here}") == f"master {here}\n"
        assert _asked("spark://127.0.0.1:9") == "master_error 127.0.0.1:9: Connection refused\n"
        assert _asked("local[*]") == _asked("k8s://x") == ""

    @pytest.mark.parametrize(
        ("properties", "said"),
        [
            (
                {"yarn.resourcemanager.address": "127.0.0.1:9"},
                "master_error 127.0.0.1:9: Connection refused\n",
            ),
            (
                {
                    "yarn.resourcemanager.ha.enabled": "true",
                    "yarn.resourcemanager.ha.rm-ids": "a,b",
                    "yarn.resourcemanager.address.a": "127.0.0.1:9",
                    "yarn.resourcemanager.hostname.b": "127.0.0.2",
                },
                "master_error 127.0.0.1:9: Connection refused; 127.0.0.2:8032: Connection refused\n",
            ),
            ({"yarn.resourcemanager.address": "${somewhere}:1"}, ""),
            ({}, ""),
        ],
    )
    def test_of_yarn(self, tmp_path: Path, properties: dict[str, str], said: str) -> None:
        told = (
            f"<property><name>{name}</name><value>{value}</value></property>"
            for name, value in properties.items()
        )
        (tmp_path / "yarn-site.xml").write_text(f"<configuration>{''.join(told)}</configuration>")
        assert _asked("yarn", HADOOP_CONF_DIR=str(tmp_path)) == said

    def test_of_yarn_without_settings(self, tmp_path: Path) -> None:
        assert _asked("yarn", YARN_CONF_DIR=str(tmp_path), HADOOP_CONF_DIR="") == ""
        (tmp_path / "yarn-site.xml").write_text("no xml")
        assert _asked("yarn", HADOOP_CONF_DIR=str(tmp_path)) == ""


def test_the_modules_of_a_project(tmp_path: Path) -> None:
    left_out = ("b/data.csv", "aml_config/x.py", "outputs/y.py", ".hid/d.py")
    for name in ("a.py", "b/c.py", "deep/outputs/z.py", *left_out):
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(name)
    (tmp_path / "control").mkdir()
    command = [sys.executable, "-I", "-S", str(SITE / "amlexec/spark_pack.py"), str(tmp_path), "", ""]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(tmp_path / "control/modules.zip") as packed:
        assert packed.namelist() == ["amlexec_project.txt", "a.py", "b/c.py", "deep/outputs/z.py"]

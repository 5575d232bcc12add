"""PySpark on the default base image, which has neither Spark nor Java: they are conda packages."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import images
from tests.conftest import ProjectFolder
from tests.engines import spark as parts
from tests.engines import spark_channel as packages
from tests.engines.places import is_required
from tests.support.own_engine import own_engine, why_none
from tests.support.places import SPARK_FAST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.places import Shop

BASE = "debian:bookworm-slim"
SCRIPT = """\
import json, os, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
worker = spark.sparkContext.parallelize([1], 1).map(lambda one: sys.executable).collect()
java = spark._jvm.System.getProperty('java.home')
os.makedirs('outputs', exist_ok=True)
with open('outputs/told.json', 'w') as file:
    json.dump([spark.version, worker, java, spark.range(1000).selectExpr('sum(id)').first()[0]], file)
spark.stop()
"""


def test_a_new_project_runs_pyspark(
    shop: Shop, spark_channel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why := why_none():
        if is_required("docker"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    project = ProjectFolder(tmp_path / "demo")
    assert project.amlexec("init", ".").code == 0
    settings = project.root / "aml_config/docker.runconfig"
    text = settings.read_text().replace("Framework: Python", "Framework: PySpark")
    # An engine of the tests has no network, and so no names.
    variables = "EnvironmentVariables: {SPARK_LOCAL_IP: 127.0.0.1, SPARK_LOCAL_HOSTNAME: localhost}"
    settings.write_text(text.replace("EnvironmentVariables:", variables))
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lines = (
        "channels:",
        f"  - {shop.channel}",
        f"  - {spark_channel}",
        "dependencies:",
        f"  - python={minor}",
    )
    project.write("aml_config/conda_dependencies.yml", "\n".join(lines) + "\n")
    project.write("aml_config/spark_dependencies.yml", SPARK_FAST)
    project.write("train.py", SCRIPT)
    with own_engine() as engine:
        engine.take(shop.engine, shop.base)
        images.tag(engine.engine, shop.base, BASE)
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        locked = project.amlexec("lock", "-c", "docker")
        assert locked.code == 0, locked.err
        assert {f"+ pyspark {parts.SPARK} py_0", f"+ openjdk {packages.JAVA} 0"} <= set(
            locked.out.splitlines()
        )
        prepared = project.doit("prepare:docker")
        assert prepared.code == 0, prepared.err
        done = project.doit("submit:docker", "script=train.py")
        assert done.code == 0, done.out + done.err
    (run_id,) = project.run_ids()
    told = json.loads((project.run_folder(run_id) / "outputs/told.json").read_text())
    prefix = "/opt/amlexec/env"
    assert told == [parts.SPARK, [f"{prefix}/bin/python"], f"{prefix}/lib/jvm", 499500]

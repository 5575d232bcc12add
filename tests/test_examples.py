"""Each example works: its own `verify` passes, and fails for a broken example."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.ssh_host import QUIET
from tests.support.forked_programs import path_with_programs
from tests.support.places import FAST_JAVA
from tests.support.stage import channels, stage  # noqa: F401 - fixtures, which are asked for by name

if TYPE_CHECKING:
    from tests.support.hosts import Host, SparkHead
    from tests.support.stage import Stage

EXAMPLES = sorted(path.parent for path in (Path(__file__).parent.parent / "examples").glob("*/verify"))
IRIS = next(path for path in EXAMPLES if path.name == "iris")

REMOTE = next(path for path in EXAMPLES if path.name == "remote")
SPARK = next(path for path in EXAMPLES if path.name == "spark")


def verify(example: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    programs = example.parent / f"programs-{uuid.uuid4().hex[:8]}"
    return subprocess.run(
        [str(example / "verify"), *arguments],
        env={**environment, "PATH": path_with_programs(programs), **variables},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def copied(example: Path, folder: Path) -> Path:
    """A copy of an example, in the folder `folder`."""
    copy = folder / example.name
    shutil.copytree(example, copy, ignore=shutil.ignore_patterns(".amlexec", "__pycache__"))
    return copy


@pytest.mark.parametrize(
    "example", [path for path in EXAMPLES if path not in {REMOTE, SPARK}], ids=lambda path: path.name
)
def test_verify_passes_and_leaves_the_example_alone(
    example: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    parts: Stage = request.getfixturevalue("stage")
    copy = copied(example, tmp_path / "with a blank")
    parts.dress(copy)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    done = verify(copy, CI="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("verify: doit and amlexec work, on this machine and in Docker\n")
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_verify_without_an_engine(tmp_path: Path) -> None:
    copy = copied(IRIS, tmp_path)
    nowhere = f"unix://{tmp_path}/none.sock"
    done = verify(copy, DOCKER_HOST=nowhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no Docker engine answers, so the target docker was skipped" in done.stdout
    done = verify(copy, DOCKER_HOST=nowhere, CI="true")
    assert done.returncode == 1
    assert "verify: prepare --check failed: exit code 2" in done.stderr


def test_verify_fails_if_a_run_has_other_outputs(tmp_path: Path) -> None:
    copy = copied(IRIS, tmp_path)
    script = copy / "train.py"
    script.write_text(script.read_text(encoding="utf-8").replace("SEED = 0", "SEED = 1"), encoding="utf-8")
    done = verify(copy)
    assert done.returncode == 1
    assert "verify: the first run's accuracy is" in done.stderr


def test_verify_on_a_machine(host: Host, tmp_path: Path) -> None:
    copy = copied(REMOTE, tmp_path / "with a blank")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    login = (host.address, QUIET, "--private-key-file", str(host.key))
    done = verify(copy, *login)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "from this and from another computer\n" in done.stdout
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert verify(copy).returncode == 3
    script = copy / "train.py"
    script.write_text(script.read_text(encoding="utf-8").replace("SEED = 0", "POINTS = 1"), encoding="utf-8")
    done = verify(copy, *login)
    assert done.returncode == 1


def test_verify_in_docker_and_on_a_cluster(stage: Stage, spark_head: SparkHead, tmp_path: Path) -> None:  # noqa: F811
    copy = copied(SPARK, tmp_path / "with a blank")
    stage.dress(copy)
    settings = copy / "aml_config/spark_dependencies.yml"
    java = "".join(f"  spark.{part}.extraJavaOptions: {FAST_JAVA}\n" for part in ("driver", "executor"))
    with_java = f"configuration:\n  spark.ui.enabled: false\n{java}"
    settings.write_text(settings.read_text().replace("configuration:\n", with_java))
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    cluster = (spark_head.address, QUIET, spark_head.master, "/tmp/trips")
    done = verify(copy, *cluster, "--private-key-file", str(spark_head.key), CI="true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(
        f"verify: Docker and the cluster at {spark_head.address} have equal results\n"
    )
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before

"""Leftovers of killed processes are removed, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec import files, temporaries
from amlexec.docker import containers
from amlexec.docker.labels import BUILDING, MAKER
from amlexec.images import build_lock
from amlexec.runtime import HERE
from amlexec.ssh import runtime_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import ProjectFolder
    from tests.support.places import Shop

DIED = "import os, sys; from amlexec import temporaries; print(temporaries.owner())"


@pytest.fixture
def dead() -> str:
    """The `owner` of a process that has ended."""
    return subprocess.run(
        [sys.executable, "-c", DIED], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_clean_removes_files_of_killed_writers(project: ProjectFolder, dead: str) -> None:
    project.write("train.py", "print('x')\n")
    run_id = project.submit("train.py").run_id
    pid = dead.rpartition("_")[2]
    left = [
        f".amlexec/runs/{run_id}/.run.json.{dead}-7.new",
        f".amlexec/runs/{run_id}/.run.json.{pid}-7.new",
        f".amlexec/runs/{run_id}/control/end.new",
        f".amlexec/runs/{run_id}/project.index",
        f".amlexec/runs/{run_id}/project.index.lock",
        f".amlexec/runs/{run_id}/control/script.new",
        f".amlexec/environments/.docker.json.{dead}-7.new",
        f".amlexec/environments/docker.stamp.{pid}.new",
        f".amlexec/cache/.interpreters.json.{dead}-7.new",
        f"aml_config/.x.compute.{pid}.new",
    ]
    kept = [
        f".amlexec/environments/.docker.json.{temporaries.owner()}-7.new",
        f".amlexec/environments/.docker.json.elsewhere_1_{pid}-7.new",
        "aml_config/mine.new",
    ]
    for name in (*left, *kept):
        project.write(name, "half")
    done = project.amlexec("experiment", "clean", "--all")
    assert done.code == 0, done.err
    assert f"{len(left)} half-written files removed" in done.err
    assert not [name for name in left if (project.root / name).exists()]
    assert all((project.root / name).exists() for name in kept), (
        "files of living processes and of others stay"
    )


def test_a_temporary_file_is_named_after_its_process(tmp_path: Path) -> None:
    files.write_atomically(tmp_path / "run.json", "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    assert not temporaries.is_left(f".run.json.{temporaries.owner()}-1.new", 1e9)
    assert not temporaries.is_left(".run.json.other-host_1_999-1.new", 60)
    assert temporaries.is_left(".run.json.other-host_1_999-1.new", 1e6)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="amlexec-test-") as folder:
        yield Path(folder)


def test_the_folder_for_connections_is_swept(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    folder = runtime_dir.runtime_folder()
    assert folder.parent == short_path
    ours, mine = runtime_dir.named("log"), f".{os.getpid()}-"
    theirs = ours.replace(mine, f".{dead.rpartition('_')[2]}-")
    for name in (f"{theirs}1", f"{ours}2", "log-0123456789abcdef", f"log-ffffff{mine}3", "0123456789abcdef"):
        (folder / name).write_text("x")
    (folder / f"{theirs}x").mkdir()
    (folder / f"{theirs}x/id").write_text("a key")
    code = "from amlexec.ssh import runtime_dir as private; private.runtime_folder()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{ours}2", "log-0123456789abcdef", f"log-ffffff{mine}3", "0123456789abcdef"]
    )
    os.utime(folder / "log-0123456789abcdef", (0, 0))
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (folder / "log-0123456789abcdef").exists(), "of an earlier version, a day later"


def test_build_containers_of_killed_prepares_are_removed_by_any_build(shop: Shop, dead: str) -> None:
    me = build_lock.me().split("/")
    gone = "/".join([*me[:2], dead.rpartition("_")[2], "1"])
    made = {}
    for name, maker in {"killed": gone, "alive": build_lock.me(), "elsewhere": "box/boot/1/1"}.items():
        labels = {BUILDING: f"digest-of-{name}", MAKER: maker}
        made[name] = containers.create(shop.engine, {"Image": shop.base, "Cmd": ["x"], "Labels": labels})
    try:
        assert build_lock.sweep(shop.engine, "another digest") >= 1
        left = {name for name, one in made.items() if containers.inspect(shop.engine, one) is not None}
        assert left == {"alive", "elsewhere"}
    finally:
        for one in made.values():
            containers.remove(shop.engine, one, force=True)


def test_unfinished_prefixes_are_removed_by_any_build(tmp_path: Path) -> None:
    envs, incoming = tmp_path / ".amlexec/envs", tmp_path / ".amlexec/incoming"
    for name in ("killed/a/bin", "whole/a/bin", "making/a/bin", "new"):
        (envs / name).mkdir(parents=True)
    for name in ("killed.a", "making.a"):
        (incoming / name).mkdir(parents=True)
    (envs / "whole/a/amlexec.json").write_text("{}")
    folder = HERE.parent / "prefixes"
    parts = [HERE / "identity.sh", folder / "list.sh", folder / "prefix.sh"]
    text = "".join(path.read_text("utf-8") for path in parts)
    (envs / "making/turn").mkdir()
    script = (
        f'{text}\nidentify $$; echo "$$ $identity $(uname -n)" >"$envs/making/turn/here"\nbegin new b none'
    )
    done = subprocess.run(
        ["sh", "-c", script], env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in envs.iterdir()) == ["making", "new", "whole"]
    assert (envs / "making/a").exists()
    assert (envs / "whole/a").exists()
    assert sorted(path.name for path in incoming.iterdir()) == ["making.a", "new.b"]

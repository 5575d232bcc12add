"""A run in one file: packed, taken elsewhere, and refused where the file is not what it should be."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.places import DockerProject, Shop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Done, ProjectFolder

SCRIPT = """\
import os, sys
from amlexec.run import log
log("size", 0.25, step=3)
os.symlink("model", "outputs/latest")
open("outputs/model", "w").write(" ".join(sys.argv[1:]) + open("data/words").read())
"""


@pytest.fixture
def run_id(project: ProjectFolder) -> str:
    """The id of a run of a project with a program, a link and an ignored file."""
    project.write("train.py", SCRIPT)
    project.write("data/words", "alpha beta")
    project.write("tool.sh", "#!/bin/sh\n").chmod(0o755)
    (project.root / "link").symlink_to("data/words")
    for name in (b"\xff odd", "gr\u00fcn \u2211".encode(), b"a\nb", b"-x", b"l" * 200):
        (Path(os.fsdecode(os.fsencode(project.root) + b"/" + name))).write_text("")
    project.write("deep/" * 30 + "file", "")
    project.write(".gitattributes", "*.py export-ignore\ndata/* text eol=crlf\n")
    project.write(".amlignore", "*.secret\n")
    project.write("key.secret", "1234")
    done = project.submit("train.py", "--lr", "0.1")
    assert done.code == 0, done
    return done.run_id


def history(project: ProjectFolder, *arguments: str) -> Done:
    return project.amlexec("history", *arguments)


def test_checkout_gives_the_code_back(project: ProjectFolder, run_id: str, tmp_path: Path) -> None:
    project.write("train.py", "changed")
    os.umask(0o022)
    done = history(project, "checkout", run_id, "../given/back")
    assert (done.code, done.out) == (0, "../given/back\n"), done
    folder = tmp_path / "given/back"
    assert (folder / "train.py").read_text() == SCRIPT
    assert (folder / "link").readlink() == Path("data/words")
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("train.py", "tool.sh", "data")}
    assert modes == {"train.py": 0o644, "tool.sh": 0o755, "data": 0o755}
    assert not (folder / "key.secret").exists()
    assert sorted(os.listdir(tmp_path / "given")) == ["back"]  # noqa: PTH208
    # Never over existing files; an empty folder is taken.
    (folder / "train.py").write_text("mine")
    again = history(project, "checkout", run_id, "../given/back")
    assert (again.code, (folder / "train.py").read_text()) == (3, "mine")
    assert "exists and is not empty" in again.err
    (tmp_path / "given/empty").mkdir()
    assert history(project, "checkout", run_id, "../given/empty").code == 0
    (tmp_path / "given/leads").symlink_to("nowhere")
    assert history(project, "checkout", run_id, "../given/leads").code == 3
    # Nothing half made.
    shutil.rmtree(project.root / ".amlexec/snapshots.git/objects")
    failed = history(project, "checkout", run_id, "../given/more")
    assert failed.code == 2, failed
    assert sorted(os.listdir(tmp_path / "given")) == ["back", "empty", "leads"]  # noqa: PTH208


def test_a_bundle_is_run_elsewhere(
    project: ProjectFolder, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one.tar", "two.tar"):
        packed = history(project, "bundle", run_id, f"../{name}")
        assert (packed.code, packed.out) == (0, f"../{name}\n"), packed
    file = tmp_path / "one.tar"
    assert file.read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert b"1234" not in file.read_bytes()
    assert history(project, "bundle", run_id, "../one.tar").code == 3
    # Another user on another computer has nothing but the file.
    shutil.rmtree(project.root)
    monkeypatch.setenv("HOME", str(tmp_path / "other-home"))
    monkeypatch.setenv("USER", "other")
    (tmp_path / "other-home").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again = project.amlexec("experiment", "rerun", "--bundle", str(file), "--verify", cwd=elsewhere)
    assert again.code == 0, again
    assert f"equals {run_id}: 2 outputs (" in again.out
    made = elsewhere / "demo"
    assert (made / "train.py").read_text() == SCRIPT
    assert stat.S_IMODE((made / "train.py").stat().st_mode) == 0o666 & ~_umask()
    assert sorted(os.listdir(elsewhere)) == ["demo"]  # noqa: PTH208
    # In a project, it is added to it; with another option, the outputs differ from the list in the file.
    differs = project.amlexec(
        "experiment", "rerun", "--bundle", str(file), "--verify", "-o", "json", "--lr", "0.2", cwd=made
    )
    assert differs.code == 1, differs
    (difference,) = json.loads(differs.out)["differences"]
    assert (difference["kind"], difference["name"]) == ("output", "model")
    # A run that came from a bundle is packed again.
    packed = project.amlexec("history", "bundle", run_id, str(tmp_path / "three.tar"), cwd=made)
    assert packed.code == 0, packed
    assert (tmp_path / "three.tar").read_bytes() == file.read_bytes()


def _umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask


def test_outputs_are_packed_if_asked_for(
    project: ProjectFolder, run_id: str, new_project: Callable[[str], ProjectFolder], tmp_path: Path
) -> None:
    assert history(project, "bundle", run_id, "../whole.tar", "--outputs").code == 0
    other = new_project("other")
    for _ in range(2):
        done = history(other, "import", "../whole.tar")
        assert (done.code, done.out) == (0, f"{run_id}\n"), done
    for name in ("outputs/model", "metrics.jsonl"):
        assert (other.run_folder(run_id) / name).read_bytes() == (
            project.run_folder(run_id) / name
        ).read_bytes()
    assert (other.run_folder(run_id) / "outputs/latest").readlink() == Path("model")
    assert other.record(run_id) == project.record(run_id)
    # Another run of that id is kept.
    record = other.run_folder(run_id) / "run.json"
    record.write_text(record.read_text().replace('"0.1"', '"0.3"'))
    refused = history(other, "import", "../whole.tar")
    assert refused.code == 3
    assert f"this project has another run {run_id}" in refused.err


def test_outputs_are_larger_than_memory(project: ProjectFolder, tmp_path: Path) -> None:
    """Of a run, of its rerun, in a bundle and from it."""
    project.write("train.py", "open('outputs/large', 'wb').truncate(130_000_000)\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def limited(*arguments: str, cwd: Path | None = None) -> Done:
        limit = ("prlimit", "--data=100000000", sys.executable, "-m", "amlexec")
        return project.call(*limit, *arguments, cwd=cwd or project.root)

    first = limited("experiment", "submit", "-c", "local", "train.py")
    assert first.code == 0, first
    bundle = str(tmp_path / "large.tar")
    for done in (
        limited("experiment", "rerun", first.run_id, "--verify"),
        limited("history", "bundle", first.run_id, bundle, "--outputs"),
        limited("experiment", "rerun", "--bundle", bundle, "--verify", cwd=elsewhere),
    ):
        assert done.code == 0, done
    assert Path(bundle).stat().st_size > 130_000_000


def test_a_bundle_has_the_lock_of_its_environment(
    tmp_path: Path, shop: Shop, new_project: Callable[[str], ProjectFolder]
) -> None:
    project = DockerProject(tmp_path / "demo", shop, conda=shop.conda("six=1.16"))
    project.write("train.py", "import six\nopen('outputs/version', 'w').write(six.__version__)\n")
    first = project.submit("--prepare", "train.py")
    assert first.code == 0, first.err
    assert history(project, "bundle", first.run_id, "../run.tar").code == 0
    lock = project.record(first.run_id)["environment_lock"]
    shutil.rmtree(project.root)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = new_project("other")
    again = other.amlexec("experiment", "rerun", "--bundle", "../run.tar", "--verify", cwd=elsewhere)
    assert again.code == 0, again
    assert (elsewhere / f"demo/.amlexec/environments/locks/{lock}.lock").is_file()


def packed(
    tmp_path: Path, changes: dict[str, bytes | None], extra: list[tarfile.TarInfo] | None = None
) -> Path:
    """The bundle `one.tar` with other contents of some files; None leaves a file out."""
    changed = tmp_path / "changed.tar"
    with tarfile.open(tmp_path / "one.tar") as old, tarfile.open(changed, "w") as new:
        for entry in old:
            data = changes.get(entry.name, old.extractfile(entry).read() if entry.isfile() else b"")  # type: ignore[union-attr]
            if data is None:
                continue
            entry.size = len(data) if entry.isfile() else 0
            new.addfile(entry, io.BytesIO(data))
        for entry in extra or []:
            new.addfile(entry, io.BytesIO(b"x" * entry.size))
    return changed


def _entry(name: str, **values: Any) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(entry, key, value)
    return entry


def test_a_hostile_bundle_is_refused(
    project: ProjectFolder, run_id: str, new_project: Callable[[str], ProjectFolder], tmp_path: Path
) -> None:
    assert history(project, "bundle", run_id, "../one.tar", "--outputs").code == 0
    record = project.record(run_id)

    def with_record(**values: object) -> dict[str, bytes | None]:
        return {"run.json": json.dumps({**record, **values}).encode()}

    other = new_project("other")
    before = sorted(str(path) for path in tmp_path.rglob("*") if "changed" not in path.name)
    cases: list[tuple[dict[str, bytes | None], list[tarfile.TarInfo], str]] = [
        ({}, [_entry("../escaped", size=1)], "escaped"),
        ({}, [_entry("/tmp/amlexec-escaped", size=1)], "amlexec-escaped"),
        ({}, [_entry("snapshot/pipe", type=tarfile.FIFOTYPE)], "pipe"),
        ({}, [_entry("outputs/hard", type=tarfile.LNKTYPE, linkname="/etc/passwd")], "hard"),
        ({}, [_entry("snapshot/.git/config", size=1)], "'snapshot/.git' does not belong in a bundle"),
        ({}, [_entry("snapshot/lib/.GIT/config", size=1)], "does not belong in a bundle"),
        ({}, [_entry("snapshot/.amlexec/runs/x", size=1)], "does not belong in a bundle"),
        ({}, [_entry("control/lock", size=1)], "'control' does not belong in a bundle"),
        ({}, [_entry("snapshot/more.py", size=1)], "its files are not those of the run's snapshot"),
        ({"snapshot/train.py": b"print(1)"}, [], "its files are not those of the run's snapshot"),
        ({"snapshot/train.py": None}, [], "its files are not those of the run's snapshot"),
        ({"outputs/model": b"other"}, [], "its outputs differ from its list of them"),
        ({"outputs.json": b"{}"}, [], "its outputs differ from its list of them"),
        ({"outputs.json": b'{"../x": 1}'}, [], "its list of outputs"),
        ({"outputs.json": None}, [], "it has no outputs.json"),
        ({"bundle.json": b"{}"}, [], "its bundle.json is not what amlexec writes"),
        ({"bundle.json": b'{"format": 9, "run_id": "x_1"}'}, [], "it is of format 9"),
        ({"bundle.json": b'{"format": 1, "run_id": "../x_1"}'}, [], "is not a run id"),
        ({"bundle.json": b'{"format": 1, "run_id": "x_1"}'}, [], "it is not the record of this run"),
        ({"run.json": b"[" * 100_000}, [], "it is nested too deeply"),
        ({"run.json": None}, [], "it has no run.json"),
        (with_record(script_name="../../train.py"), [], "script_name is '../../train.py'"),
        (with_record(target="../x"), [], "target is '../x'"),
        (with_record(environment_variables={"A=B": "x"}), [], "a name that no variable can have"),
        (with_record(arguments=["a\0b"]), [], "a NUL character"),
        (with_record(framework="Perl"), [], "framework is 'Perl'"),
        (with_record(status="Running"), [], "its run has not ended"),
        (with_record(environment_lock="0" * 64), [], "its lock is not the one that its record names"),
        ({"environment.lock": None}, [], "it has no environment.lock"),
    ]
    for changes, extra, message in cases:
        file = packed(tmp_path, changes, extra)
        done = history(other, "import", str(file))
        assert (done.code, done.out) == (2, ""), (message, done)
        assert message in done.err, (message, done.err)
        assert "Traceback" not in done.err
    for text in (b"", b"no tar archive", (tmp_path / "one.tar").read_bytes()[:3000]):
        (tmp_path / "changed.tar").write_bytes(text)
        done = history(other, "import", "../changed.tar")
        assert done.code == 2, done
        assert "this is not a bundle of a run" in done.err
    missing = history(other, "import", "../none.tar")
    assert (missing.code, "Traceback" in missing.err) == (2, False)
    now = sorted(str(path) for path in tmp_path.rglob("*") if "changed" not in path.name)
    assert [path for path in now if "/other/.amlexec" not in path] == before
    assert other.run_ids() == []
    assert not Path("/tmp/amlexec-escaped").exists()

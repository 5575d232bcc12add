"""The registry of models in a folder: versions, aliases, tags, damage, and two writers at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from amlexec.errors import TargetError, UsageError
from amlexec.file_trees import remove_tree
from amlexec.models.folder_store import FolderStore
from amlexec.models.listing import Broken, Model
from amlexec.models.registry import Registry


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "registry"


@pytest.fixture
def registry(place: Path) -> Registry:
    return Registry(FolderStore(place, is_private=False))


def made(folder: Path, text: str, name: str = "model.pkl") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_versions_count_from_one_and_the_same_files_are_the_same_version(
    registry: Registry, tmp_path: Path
) -> None:
    first = registry.register("iris", made(tmp_path, "one"))
    assert (first.model.id, first.is_new, first.model.aliases) == ("iris:1", True, ("latest",))
    assert registry.register("iris", made(tmp_path, "two")).model.id == "iris:2"
    again = registry.register("iris", made(tmp_path, "one"))
    assert (again.model.id, again.is_new) == ("iris:1", False)
    # Under another name, or in another folder, they are another model.
    assert registry.register("wine", made(tmp_path, "one")).model.id == "wine:1"
    assert registry.register("iris", made(tmp_path, "one", "other.pkl")).model.id == "iris:3"
    assert registry.find("iris").id == registry.find("iris:latest").id == "iris:3"
    assert registry.find("iris:v2").id == "iris:2"
    assert registry.path(registry.find("iris:1")).read_text() == "one"


class Counted(FolderStore):
    """A store that counts how many records were read."""

    records = 0

    def tree(self, folder: str) -> dict[str, bytes | OSError]:
        found = super().tree(folder)
        self.records += len(found)
        return found

    def read(self, name: str) -> bytes | None:
        self.records += 1
        return super().read(name)


def test_to_register_new_files_no_version_is_read(place: Path, tmp_path: Path) -> None:
    store = Counted(place, is_private=False)
    registry = Registry(store)
    for number in range(1, 13):
        last = registry.register("iris", made(tmp_path, f"number {number}"), tags={"of": str(number)})
        assert (last.model.id, last.is_new) == (f"iris:{number}", True)
    assert store.records == 0
    # What `register` returned is what the records say.
    assert last.model == registry.find("iris")
    assert registry.register("iris", made(tmp_path, "number 3")).model.id == "iris:3"
    registry.delete("iris:5")
    assert registry.register("iris", made(tmp_path, "number 5")).model.id == "iris:13"
    # Without the folder of digests, as earlier versions of amlexec left it, the records are read, and once.
    remove_tree(place / "names/iris/digests")
    assert registry.register("iris", made(tmp_path, "number 12")).model.id == "iris:12"
    store.records = 0
    assert registry.register("iris", made(tmp_path, "number 14")).model.id == "iris:14"
    assert store.records == 0
    # A name there is only a hint: what it says is looked up.
    digest = registry.find("iris:14").version.content.digest
    (place / f"names/iris/digests/1-{digest}").touch()
    (place / "names/iris/versions/14.json").unlink()
    assert registry.register("iris", made(tmp_path, "number 14")).model.id == "iris:14"


@pytest.mark.parametrize(("theirs", "number"), [("the same", 1), ("others", 2)])
def test_a_version_that_another_writer_makes_meanwhile_is_seen(
    place: Path, tmp_path: Path, theirs: str, number: int
) -> None:
    other = Registry(FolderStore(place, is_private=False))
    (tmp_path / "theirs").mkdir()

    class Slow(FolderStore):
        def create(self, name: str, content: bytes) -> bool:
            if name == "names/iris/versions/1.json":
                other.register("iris", made(tmp_path / "theirs", theirs))
            return super().create(name, content)

    found = Registry(Slow(place, is_private=False)).register("iris", made(tmp_path, "the same"))
    assert (found.model.id, found.is_new) == (f"iris:{number}", number == 2)


def test_a_folder_keeps_its_name_its_files_and_what_can_be_executed(
    registry: Registry, tmp_path: Path
) -> None:
    folder = tmp_path / "net"
    (folder / "weights").mkdir(parents=True)
    made(folder / "weights", "0 1")
    made(folder, "#!/bin/sh", "convert").chmod(0o755)
    (folder / "alias.pkl").symlink_to("weights/model.pkl")
    model = registry.register("net", folder).model
    path = registry.path(model)
    assert path.name == "net"
    assert (path / "weights/model.pkl").read_text() == (path / "alias.pkl").read_text() == "0 1"
    assert not (path / "alias.pkl").is_symlink()
    assert os.access(path / "convert", os.X_OK)
    assert not (path / "alias.pkl").stat().st_mode & 0o333


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: (folder / "a").symlink_to("/etc/passwd"), "leads out of the model's folder"),
        (lambda folder: (folder / "a").symlink_to("../outside"), "leads out of the model's folder"),
        (lambda folder: (folder / "a").symlink_to("nothing"), "no such file"),
        (lambda folder: (folder / "a\n").write_text(""), "control characters"),
        (lambda folder: folder.chmod(0o700), "the folder is empty"),
    ],
)
def test_what_is_no_model_is_refused(registry: Registry, tmp_path: Path, make, message: str) -> None:
    (tmp_path / "outside").write_text("secret")
    folder = tmp_path / "net"
    folder.mkdir()
    make(folder)
    with pytest.raises(UsageError, match=message):
        registry.register("net", folder)
    assert registry.names() == []


def test_a_pipe_is_refused_and_blocks_nothing(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(TargetError, match="a named pipe"):
        registry.register("net", folder)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", ".hidden", "a:1", "ü", "x" * 101, "a;rm", '"'])
def test_names_that_could_be_something_else_are_refused(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="is not a name for a model"):
        registry.register(name, made(tmp_path, "x"))


@pytest.mark.parametrize("alias", ["latest", "Latest", "v3", "3", "V12"])
def test_reserved_aliases_are_refused(registry: Registry, tmp_path: Path, alias: str) -> None:
    registry.register("iris", made(tmp_path, "x"))
    with pytest.raises(UsageError, match="is reserved"):
        registry.promote("iris:1", alias)


def test_an_alias_moves_and_protects_its_version(registry: Registry, tmp_path: Path) -> None:
    for text in "ab":
        registry.register("iris", made(tmp_path, text))
    assert registry.promote("iris:1", "champion")[1] is None
    model, before = registry.promote("iris:2", "champion")
    assert (model.aliases, before) == (("champion", "latest"), 1)
    assert registry.find("iris@champion").id == registry.find("iris:champion").id == "iris:2"
    with pytest.raises(UsageError, match="can mean another version tomorrow"):
        registry.delete("iris:champion")
    with pytest.raises(UsageError, match="iris:2 is champion: it was not deleted"):
        registry.delete("iris:2")
    registry.delete("iris:2", even_if_named=True)
    with pytest.raises(UsageError, match="no alias 'champion'"):
        registry.find("iris:champion")


def test_a_number_is_never_used_again(registry: Registry, tmp_path: Path, place: Path) -> None:
    for text in "ab":
        registry.register("iris", made(tmp_path, text))
    registry.delete("iris:2")
    assert registry.find("iris").id == "iris:1"
    with pytest.raises(UsageError, match="iris:2 was deleted"):
        registry.find("iris:2")
    assert registry.register("iris", made(tmp_path, "b")).model.id == "iris:3"
    registry.delete("iris:3")
    registry.delete("iris:1")
    with pytest.raises(UsageError, match="no model 'iris'"):
        registry.find("iris")
    assert list((place / "contents").iterdir()) == []


def test_files_that_another_version_has_stay(registry: Registry, tmp_path: Path) -> None:
    registry.register("iris", made(tmp_path, "x"))
    registry.register("wine", made(tmp_path, "x"))
    registry.delete("iris:1")
    assert registry.path(registry.find("wine")).read_text() == "x"


def test_tags_and_descriptions_change_and_the_record_does_not(
    registry: Registry, tmp_path: Path, place: Path
) -> None:
    registry.register("iris", made(tmp_path, "x"), tags={"a/b=c": "ü", "stage": "test"}, description="first")
    record = (place / "names/iris/versions/1.json").read_bytes()
    model = registry.tag("iris:1", {"stage": None, "on": "yes"})
    assert model.tags == {"a/b=c": "ü", "on": "yes"}
    assert registry.describe("iris:1", "second").description == "second"
    assert (place / "names/iris/versions/1.json").read_bytes() == record
    with pytest.raises(UsageError, match="has no tag 'stage'"):
        registry.tag("iris:1", {"stage": None})


def test_a_changed_file_is_detected_where_it_is_read_and_repaired_by_registering(
    registry: Registry, tmp_path: Path
) -> None:
    model = registry.register("iris", made(tmp_path, "good")).model
    path = registry.path(model)
    path.chmod(0o600)
    for change, message in [
        (lambda: path.write_text("evil"), "model.pkl was changed"),
        (lambda: (path.unlink(), path.symlink_to("/etc/passwd")), "model.pkl was replaced"),
        (lambda: path.unlink(), "model.pkl is missing"),
        (lambda: (path.parent / "more").write_text(""), "more was added"),
        (lambda: remove_tree(path.parent), "can't be read"),
    ]:
        change()
        with pytest.raises(TargetError, match=message):
            registry.path(model)
        assert registry.register("iris", made(tmp_path, "good")).model.id == "iris:1"
        assert registry.path(model).read_text() == "good"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON, or is cut off"),
        (b'{"format": 1, "name": "iris", "ver', "not JSON, or is cut off"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"format": 2, "amlexec": "9.0"}', "a later version of amlexec wrote it"),
        (b'{"format": 1, "name": "wine", "version": 1}', "of another model"),
        (b'{"format": 1, "name": "iris", "version": 1}', "it has no created_utc"),
        (b"[1]", "not a version of a model"),
    ],
)
def test_a_bad_record_is_a_row_that_says_so(
    registry: Registry, tmp_path: Path, place: Path, content: bytes, problem: str
) -> None:
    for text in "ab":
        registry.register("iris", made(tmp_path, text))
    path = place / "names/iris/versions/1.json"
    path.chmod(0o600)
    path.write_bytes(content)
    (name,) = registry.all()
    broken, good = name.present
    assert isinstance(broken, Broken)
    assert problem in broken.problem
    assert isinstance(good, Model)
    with pytest.raises(TargetError, match="the record of iris:1 can't be read"):
        registry.find("iris:1")
    assert registry.find("iris").id == "iris:2"
    assert registry.register("iris", made(tmp_path, "c")).model.id == "iris:3"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "model.pkl/", "a//b", "."])
def test_paths_of_a_record_lead_nowhere_else(
    registry: Registry, tmp_path: Path, place: Path, path: str
) -> None:
    registry.register("iris", made(tmp_path, "x"))
    record = place / "names/iris/versions/1.json"
    values = json.loads(record.read_text())
    values["files"][0]["path"] = path
    record.chmod(0o600)
    record.write_text(json.dumps(values))
    (name,) = registry.all()
    assert isinstance(name.present[0], Broken)


_WRITER = """
import sys
from pathlib import Path
from amlexec.models.folder_store import FolderStore
from amlexec.models.registry import Registry
registry = Registry(FolderStore(Path(sys.argv[1]), is_private=False))
for path in sys.argv[2:]:
    print(registry.register("iris", Path(path)).model.number)
"""


def test_no_version_is_lost_if_many_register_at_once(registry: Registry, tmp_path: Path, place: Path) -> None:
    files = []
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        files.append(made(folder, str(number)))
    # Four processes with five each, and a file that two of them have.
    shared = made(tmp_path, "shared")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(place), *map(str, [*files[at::4], shared])],
            stdout=subprocess.PIPE,
            text=True,
        )
        for at in range(4)
    ]
    numbers = [[int(line) for line in writer.communicate()[0].split()] for writer in writers]
    own = [number for each in numbers for number in each[:-1]]
    assert len(set(own)) == 20
    assert len({each[-1] for each in numbers}) == 1
    assert sorted([*own, numbers[0][-1]]) == list(range(1, 22))
    texts = {registry.path(registry.find(f"iris:{number}")).read_text() for number in own}
    assert texts == {str(number) for number in range(20)}
    assert not [name for name in (place / "contents").iterdir() if name.name.startswith(".")]


def test_a_full_disk_registers_nothing_and_breaks_nothing(small_disk: Path, tmp_path: Path) -> None:
    registry = Registry(FolderStore(small_disk / "registry", is_private=False))
    registry.register("m", made(tmp_path, "small"))
    large = tmp_path / "large.pkl"
    large.write_bytes(os.urandom(64) * (1 << 20))
    with pytest.raises(TargetError, match="No space left"):
        registry.register("m", large)
    assert [version.id for version in registry.read("m").present] == ["m:1"]
    assert registry.path(registry.find("m")).read_text() == "small"
    assert len(list((small_disk / "registry/contents").iterdir())) == 1
    registry.register("m", made(tmp_path, "another"))


def test_what_a_killed_writer_left_is_removed(registry: Registry, tmp_path: Path, place: Path) -> None:
    from amlexec import temporaries

    registry.register("iris", made(tmp_path, "x"))
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    left = temporaries.owner().rpartition("_")[0] + f"_{ended.pid}"
    (place / "contents" / f".new.{left}-00").mkdir()
    registry.register("iris", made(tmp_path, "y"))
    assert len(list((place / "contents").iterdir())) == 2

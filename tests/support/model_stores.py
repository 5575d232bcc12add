"""What every store of models has to do, whatever it is. As a program, for stores that need other packages.

python -m tests.support.model_stores URL exercise FOLDER
python -m tests.support.model_stores URL register FILE…
"""

from __future__ import annotations

import sys
from pathlib import Path

from amlexec.environments import resolved_lock
from amlexec.errors import TargetError, UsageError
from amlexec.models.listing import Broken
from amlexec.models.registry import Registry, opened
from amlexec.models.version import Origin, RunOrigin

__all__ = ["exercise"]

RUN = RunOrigin(
    *("p_1", "p", "outputs/net", "Completed", "train.py", ("--lr", "1"), "gpu", "remote"),
    *("2026-01-31T12:00:00.000000Z", "a" * 64, "", None, "b" * 64, None, "c" * 64, None, {"accuracy": 0.9}),
)


def exercise(registry: Registry, folder: Path) -> None:
    """Register, find, change, damage, repair and delete versions. `folder` is an empty one."""
    net = folder / "net"
    (net / "deep").mkdir(parents=True)
    (net / "deep/weights").write_bytes(bytes(range(256)) * 5000)
    (net / "with blank ü").write_text("")
    (net / "run.sh").write_text("#!/bin/sh\n")
    (net / "run.sh").chmod(0o755)
    assert registry.all() == []
    assert registry.names() == []
    lock = "# a lock\n"
    run = RUN._replace(lock=resolved_lock.name_of(lock))
    made = registry.register(
        "net", net, origin=Origin("3.11.4", None, run), lock=lock, tags={"a/b=ü": "1\n2"}
    )
    assert registry.lock(made.model) == lock
    assert registry.store.read("locks/none") is None
    assert (made.model.id, made.is_new) == ("net:1", True)
    again = registry.register("net", net, description="more\nlines")
    assert (again.model.id, again.is_new) == ("net:1", False)
    assert again.model.version.origin.run == run
    assert (again.model.tags, again.model.description) == ({"a/b=ü": "1\n2"}, "more\nlines")
    path = registry.path(again.model)
    assert {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} == {
        *("deep/weights", "with blank ü", "run.sh"),
    }
    assert (path / "deep/weights").read_bytes() == (net / "deep/weights").read_bytes()
    assert (path / "run.sh").stat().st_mode & 0o100
    (net / "run.sh").write_text("#!/bin/bash\n")
    assert registry.register("net", net).model.id == "net:2"
    assert registry.promote("net:1", "champion")[1] is None
    assert registry.promote("net:2", "champion")[1] == 1
    assert registry.find("net@champion").aliases == ("champion", "latest")
    registry.tag("net:1", {"a/b=ü": None, "new": ""})
    assert registry.find("net:1").tags == {"new": ""}
    try:
        registry.delete("net:2")
    except UsageError as error:
        assert "champion" in str(error)
    else:
        raise AssertionError("an alias means it")
    registry.delete("net:2", even_if_named=True)
    assert registry.find("net").id == "net:1"
    assert registry.register("net", net).model.id == "net:3"
    assert registry.path(registry.find("net:3")).joinpath("run.sh").read_text() == "#!/bin/bash\n"
    # A file of a writer that was cut off, and one of a later version.
    registry.store.replace("names/net/versions/4.json", b'{"format": 1, "na')
    registry.store.replace("names/net/versions/5.json", b'{"format": 7}')
    (name,) = registry.all()
    assert [isinstance(each, Broken) for each in name.present] == [False, False, True, True]
    (net / "run.sh").write_text("new")
    assert registry.register("net", net).model.id == "net:6"
    assert registry.names() == ["net"]
    assert registry.store.create("names/net/versions/6.json", b"other") is False
    # The answer was lost, and the writer tries once more.
    assert registry.store.create("names/net/aliases/x", b"1") is True
    assert registry.store.create("names/net/aliases/x", b"1") is (registry.store.place[0] != "/")
    registry.remove_alias("net", "x")


def damaged(registry: Registry, folder: Path) -> None:
    """A file that was changed in the store is detected, and registering it again repairs it."""
    file = folder / "m.pkl"
    file.write_text("good")
    model = registry.register("m", file).model
    content = model.version.content
    registry.store.replace(f"contents/{content.digest}/m.pkl", b"evil")
    try:
        registry.path(model)
    except TargetError as error:
        assert "m.pkl was changed" in str(error)
    else:
        raise AssertionError("it was changed")
    assert registry.register("m", file).is_new is False
    assert registry.path(model).read_text() == "good"


if __name__ == "__main__":
    registry = opened(None, sys.argv[1])
    if sys.argv[2] == "exercise":
        for number, what in enumerate((exercise, damaged)):
            (inner := Path(sys.argv[3], str(number))).mkdir(parents=True)
            what(registry, inner)
    for file in sys.argv[3:] if sys.argv[2] == "register" else ():
        print(registry.register("iris", Path(file)).model.number, flush=True)

"""Installing conda packages: into a folder, from a cache that may be damaged, and interrupted."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from amlexec.dependencies import CondaDependencies, Line
from amlexec.errors import TargetError
from amlexec.packages import conda_cache, conda_install, conda_solve, network
from amlexec.packages.platforms import Platform
from amlexec.values import Place, Project
from tests.engines import packages
from tests.engines.serving import serve
from tests.support.declared import PLATFORM, Declared, lines_of, package

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("own_network")

_MOMENTS = 12
"""How many moments of an installation are tried."""


class Installed(NamedTuple):
    """A file of an environment."""

    mode: int
    content: bytes


def files_of(prefix: Path) -> dict[str, Installed]:
    found = {}
    for path in sorted(prefix.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        found[str(path.relative_to(prefix))] = Installed(path.lstat().st_mode, content)
    return found


class TestInstall:
    def install(self, declared: Declared, prefix: Path, package_cache: Path, **more: object) -> list[object]:
        records = declared.resolve().records
        conda_install.install(
            records, prefix, "/opt/env", PLATFORM, network.settings(), cache=package_cache, **more
        )  # type: ignore[arg-type]
        return list(records)

    def test_final_prefix_and_progress(
        self, declared: Declared, channel: str, tmp_path: Path, package_cache: Path
    ) -> None:
        declared.write([channel], ["python", "prefixtool=2.0", "pip"])
        seen: list[tuple[int, int]] = []
        self.install(declared, tmp_path / "env", package_cache, progress=lambda *at: seen.append(at))
        tool = (tmp_path / "env/bin/prefixtool").read_text()
        assert tool.startswith("#!/opt/env/bin/python\n")
        assert str(tmp_path) not in tool
        assert (tmp_path / "env/bin/pip").read_text().startswith("#!/opt/env/bin/python")
        done = subprocess.run(
            [tmp_path / "env/bin/python", "-c", "import pip; print('ok')"], capture_output=True, text=True
        )
        assert done.stdout == "ok\n", done.stderr
        assert seen[-1][0] == seen[-1][1] > 0
        assert [one[0] for one in seen] == sorted(one[0] for one in seen)

    def test_same_lock_gives_the_same_files(
        self, declared: Declared, channel: str, tmp_path: Path, package_cache: Path
    ) -> None:
        declared.write([channel], ["python", "six", "prefixtool"])
        self.install(declared, tmp_path / "one", package_cache)
        self.install(declared, tmp_path / "another/place", tmp_path / "other-cache")
        one, other = files_of(tmp_path / "one"), files_of(tmp_path / "another/place")
        assert one.keys() == other.keys()
        assert [name for name in one if one[name] != other[name]] == []
        assert not [name for name, file in one.items() if str(tmp_path).encode() in file.content]

    def test_files_are_hard_links(self, declared: Declared, channel: str, package_cache: Path) -> None:
        declared.write([channel], ["python", "six"])
        prefix = package_cache / "an-environment"
        self.install(declared, prefix, package_cache)
        (module,) = prefix.glob("lib/python*/site-packages/six.py")
        assert module.stat().st_nlink > 1

    def test_package_that_was_removed_from_the_channel(
        self, declared: Declared, own_channel: Callable[..., Path], tmp_path: Path
    ) -> None:
        own = own_channel(package("thing", "1.0"))
        with serve(str(own)) as site:
            for address in (own.as_uri(), site.url):
                records = declared.write([address], ["thing"]).resolve().records
                gone = own / "noarch/thing-1.0-0.tar.bz2"
                gone.rename(tmp_path / "kept")
                with pytest.raises(TargetError) as caught:
                    conda_install.install(
                        records,
                        tmp_path / "env",
                        "/opt/env",
                        PLATFORM,
                        network.settings(),
                        cache=tmp_path / "c",
                    )
                (tmp_path / "kept").rename(gone)
                assert lines_of(caught.value) == [
                    f"error: thing-1.0-0.tar.bz2 is no longer in its channel {address}/",
                    "hint: `amlexec lock -c NAME --upgrade thing` takes an available one",
                ]

    def test_package_with_another_content(
        self, declared: Declared, own_channel: Callable[..., Path], tmp_path: Path
    ) -> None:
        own = own_channel(package("thing", "1.0"))
        with serve(str(own)) as site:
            for number, address in enumerate((own.as_uri(), site.url)):
                records = declared.write([address], ["thing"]).resolve().records
                packages.write_package(own, package("thing", "1.0", "python"))
                with pytest.raises(TargetError) as caught:
                    conda_install.install(
                        records,
                        tmp_path / f"env{number}",
                        "/opt/env",
                        PLATFORM,
                        network.settings(),
                        cache=tmp_path / f"c{number}",
                    )
                lines = lines_of(caught.value)
                assert lines[0].startswith(f"error: {address}/noarch/thing-1.0-0.tar.bz2 has the sha256 ")
                assert re.search(r" has the sha256 [0-9a-f]{64}; expected [0-9a-f]{64}$", lines[0])
                own_channel(package("thing", "1.0"))

    @pytest.mark.parametrize(
        "damage",
        ["empty", "another byte", "file gone", "list cut off", "index gone", "all gone"],
    )
    def test_package_that_was_damaged_in_the_cache(
        self, declared: Declared, own_channel: Callable[..., Path], tmp_path: Path, damage: str
    ) -> None:
        kept = tmp_path / "cache/packages/thing-1.0-0"
        own = own_channel(
            package("thing", "1.0")._replace(files=[packages.Entry("share/thing", b"content\n")])
        )
        records = declared.write([own.as_uri()], ["thing"]).resolve().records
        records = tuple(one for one in records if one.name.normalized == "thing")

        def install(name: str) -> str:
            conda_install.install(
                records, tmp_path / name, "/opt/env", PLATFORM, network.settings(), cache=tmp_path / "cache"
            )
            return (tmp_path / name / "share/thing").read_text()

        assert install("before") == "content\n"
        lacking = functools.partial(conda_cache.lacking, records, tmp_path / "cache/packages")
        assert asyncio.run(lacking()) == []
        shutil.rmtree(tmp_path / "before")  # its files are hard links to the cache
        if damage == "all gone":
            shutil.rmtree(kept)
        else:
            name, text = {
                "empty": ("share/thing", ""),
                "another byte": ("share/thing", "Content\n"),
                "file gone": ("share/thing", None),
                "list cut off": ("info/paths.json", "{"),
                "index gone": ("info/index.json", None),
            }[damage]
            (kept / name).unlink()
            if text is not None:
                (kept / name).write_text(text)
        assert asyncio.run(lacking()) == ["thing-1.0-0.tar.bz2"]
        assert install("after") == "content\n"
        assert asyncio.run(lacking()) == []

    def test_disk_is_full(self, declared: Declared, channel: str, small_disk: Path) -> None:
        records = declared.write([channel], ["python"]).resolve().records
        with pytest.raises(TargetError) as caught:
            conda_install.install(
                records, small_disk / "env", "/opt/env", PLATFORM, network.settings(), cache=small_disk / "c"
            )
        assert caught.value.message == "the disk is full: the conda packages cannot be unpacked"


# Before a `with`, an interrupt may leave a file to Python's collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_written_after_an_interrupt(channel: str, tmp_path: Path) -> None:
    place = Place("conda_dependencies.yml", 1)
    dependencies = CondaDependencies(place, (Line(channel, place),), (Line("python", place),))
    settings, cache, platform = network.settings(), tmp_path / "cache", Platform("linux-64")
    cache.mkdir()
    project = Project(str(tmp_path))
    records = conda_solve.solve(project, dependencies, platform, settings, cache=cache)

    def install(name: str) -> None:
        conda_install.install(records, tmp_path / name, "/opt/env", platform, settings, cache=cache)

    install("fetches")
    began = time.monotonic()
    install("whole")
    takes = time.monotonic() - began
    interrupted = 0
    for moment in range(_MOMENTS):
        prefix = tmp_path / f"prefix-{moment}"
        timer = threading.Timer(takes * (moment + 0.5) / _MOMENTS, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            install(prefix.name)
            timer.join()
            time.sleep(1)  # it comes here at the latest
        except KeyboardInterrupt:
            interrupted += 1
        shutil.rmtree(prefix, ignore_errors=True)
        time.sleep(0.02)
        assert not prefix.exists(), sorted(prefix.rglob("*"))[:5]
    assert interrupted == _MOMENTS

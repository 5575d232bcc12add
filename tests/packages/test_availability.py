"""Whether locked packages can still be had."""

from __future__ import annotations

import hashlib
import platform
import shutil
from pathlib import Path

from amlexec.dependencies import Line
from amlexec.packages import availability, network, requirements
from amlexec.packages.pip_pins import Pin
from amlexec.packages.resolve import Resolution
from amlexec.values import Place
from tests.engines.serving import serve


class _Resolution(Resolution):
    """The pip section of an environment whose Python is this one."""

    python = platform.python_version()


def pin(wheels: str, name: str, version: str, location: str) -> Pin:
    (file,) = Path(wheels).glob(f"{name}-{version}-*.whl")
    return Pin(name, version, location.format(file=file.name), hashlib.sha256(file.read_bytes()).hexdigest())


def missing(tmp_path: Path, pins: list[Pin], *lines: str) -> list[str]:
    read = requirements.read(str(tmp_path), [Line(line, Place("file.yml", 1)) for line in lines])
    resolution = _Resolution((), tuple(pins))
    return availability.missing(resolution, read, str(tmp_path), network.settings(), tmp_path / "cache")


def test_a_file_of_an_index_may_have_moved_to_another(tmp_path: Path, wheels: str) -> None:
    with serve(wheels) as site:
        index = f"--index-url {site.url}/simple/"
        here = pin(wheels, "tabulate", "0.9.0", f"{site.url}/{{file}}")
        moved = pin(wheels, "six", "1.16.0", "http://127.0.0.1:9/{file}")
        assert missing(tmp_path, [here, moved], index, "six", "tabulate") == []
        other = moved._replace(sha256="0" * 64)
        gone = moved._replace(version="9.9")
        for pins in ([here, other], [moved, gone], [other, gone, here]):
            lost = [each for each in pins if each in {other, gone}]
            found = missing(tmp_path, pins, index, "six", "tabulate")
            assert [sentence.split(": ")[0] for sentence in found] == [
                f"{each.location} can't be reached" for each in lost
            ]


def test_files_of_this_machine(tmp_path: Path, wheels: str) -> None:
    (tmp_path / "lib").mkdir()
    file = pin(wheels, "six", "1.16.0", "./{file}")
    folder = Pin("libx", "1", "./lib", "")
    assert missing(tmp_path, [file, folder], "six") == [
        f"{file.location} can't be read: no such file or directory"
    ]
    shutil.copy(Path(wheels, file.location), tmp_path)
    assert missing(tmp_path, [file, folder], "six") == []
    (tmp_path / file.location).write_bytes(b"other")
    (tmp_path / "lib").rmdir()
    assert missing(tmp_path, [file, folder], "six") == [
        "./lib no longer exists",
        f"{file.location} has other content now",
    ]

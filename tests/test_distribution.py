"""The files that the suite begins with exist: a name that is wrong would only make the suite slower."""

from __future__ import annotations

from pathlib import Path

from tests.support import distribution

ROOT = Path(__file__).parent.parent


def test_the_longest_files_exist() -> None:
    assert [name for name in distribution._LONGEST if not (ROOT / name).is_file()] == []

"""The suite's groups name what exists: a name that is wrong would only make the suite slower."""

from __future__ import annotations

from pathlib import Path

from tests.support import distribution

ROOT = Path(__file__).parent.parent


def test_the_groups_have_tests() -> None:
    files = [name for name in distribution._LONGEST if "/" in name]
    assert [name for name in files if not (ROOT / name).is_file()] == []
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("*.py"))
    assert [name for name in distribution._PARTS if f"def {name}(" not in code] == []

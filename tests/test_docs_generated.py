"""The generated pages of the documentation are up to date with the program."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from amlexec import cli, errors

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
SCHEMAS = sorted((ROOT / "schemas").glob("*.schema.json"))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    found = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_pages_are_up_to_date(generate: ModuleType) -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md")}
    stale = [name for name, text in generate.pages().items() if there.get(name) != text]
    assert stale == [], "python docs/generate.py writes them"


def test_check_passes_and_does_not_depend_on_the_terminal() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        env={**os.environ, "COLUMNS": "40", "FORCE_COLOR": "1", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_check_names_outdated_pages(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "DOCS", tmp_path)
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "reference" / "compute.md").write_text("old")
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().out == "docs/reference/compute.md is out of date\n"
    assert (tmp_path / "reference" / "compute.md").read_text() == "old"


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_key_has_a_line(generate: ModuleType, path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    lines = generate.pages()[path.name.replace(".schema.json", ".md")].splitlines()

    def keys(part: dict[str, Any]) -> list[str]:
        return [name for key, value in part.get("properties", {}).items() for name in (key, *keys(value))] + [
            name for below in part.get("$defs", {}).values() for name in keys(below)
        ]

    for name in keys(schema):
        assert any(f"`{name}`" in line or f".{name}`" in line for line in lines), name


def test_the_picture_of_the_task_graph_is_up_to_date(tmp_path: Path) -> None:
    """It is drawn from the project that its page shows."""
    drawing = [sys.executable, str(ROOT / "docs" / "draw_graph.py")]
    done = subprocess.run([*drawing, "--check"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "python docs/draw_graph.py draws it"
    (tmp_path / "aml_config").mkdir()
    (tmp_path / "aml_config/a<b.runconfig").write_text("Target: [\n")
    done = subprocess.run([*drawing, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True)
    names = [element.text for element in ET.fromstring(done.stdout).iter() if element.text]
    assert {"aml_config/a<b.runconfig", "prepare:a<b", "submit:a<b", "lint"} <= set(names)


def test_every_command_and_option_has_a_line(generate: ModuleType) -> None:
    text = generate.pages()["commands.md"]
    for group in cli.GROUPS:
        assert f"## amlexec {group}" in text
    assert "amlexec experiment submit -c NAME" in text
    assert "| `-c NAME`, `--run-configuration NAME`, `--runconfig NAME` |" in text
    assert "amlexec init [FOLDER]" in text
    assert "%(" not in text
    assert "==SUPPRESS==" not in text


def test_every_exit_code_has_a_line(generate: ModuleType) -> None:
    text = generate.pages()["exit-codes.md"]
    for code, name in [(1, "ScriptFailedError"), (2, "TargetError"), (3, "UsageError")]:
        assert f"| {code} | `{name}` |" in text
    assert f"| {errors.INTERRUPTED} | |" in text
    assert "| 0 | |" in text


def test_tables_have_equally_many_cells_in_every_row(generate: ModuleType) -> None:
    for name, text in generate.pages().items():
        width = 0
        for line in text.splitlines():
            cells = line.replace("\\|", "").count("|") if line.startswith("|") else 0
            assert not (cells and width) or cells == width, f"{name}: {line}"
            width = cells

"""Text from outside can't control the terminal that prints it."""

from __future__ import annotations

import json
import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.commands import output
from amlexec.escaping import OutputFilter, in_json, on_one_line, visible
from tests.support.terminals import run_on_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder

TITLE = "\x1b]0;owned\x07"
"""Sets the title of a terminal."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (TITLE, "\\x1b]0;owned\\x07"),
        ("\x9b31m", "\\x9b31m"),  # the same in one character, of C1
        ("a\rb", "a\\rb"),
        ("a\x08b\x7f", "a\\x08b\\x7f"),
        ("ab\u202efdp.exe", "ab\\u202efdp.exe"),
        ("a\u2066b\u2069c\u200f", "a\\u2066b\\u2069c\\u200f"),
        ("a\u2028b", "a\\u2028b"),
        ("a\U000e0041", "a\\U000e0041"),
        ("größe\t\u00a0👩‍🔬 точность\n", "größe\t\u00a0👩‍🔬 точность\n"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_value_stays_on_one_line() -> None:
    assert on_one_line("killed\nRunId: x") == "killed\\nRunId: x"


@given(st.text())
def test_json_has_the_same_value_without_control_characters(text: str) -> None:
    written = in_json(json.dumps([text], ensure_ascii=False))
    assert json.loads(written) == [text]
    assert visible(written) == written
    assert json.loads(output.as_json({"a": text})) == {"a": text}


def test_a_record_a_path_and_a_file_with_control_characters(project: ProjectFolder) -> None:
    project.write("train.py", "print('\\x1b[1mbold\\x1b[0m')\n")
    done = project.submit("train.py")
    assert "\x1b[1mbold\x1b[0m" in done.out, "the script's output is not changed"
    record = project.run_folder(done.run_id) / "run.json"
    told = json.loads(record.read_text())
    told |= {"status": "Failed", "reason": f"{TITLE}\nerror: x", "target": f"a{TITLE}", "script_name": TITLE}
    record.write_text(json.dumps(told))
    project.write(f"aml_config/{TITLE}\n.runconfig", f"Target: '{TITLE}'\n")
    commands = [
        ("history", "list"),
        ("history", "info", "-r", done.run_id),
        ("history", "info", "-r", done.run_id, "-o", "json"),
        ("experiment", "status", "-r", done.run_id),
        ("experiment", "prepare", "-c", TITLE),
        ("experiment", "submit", "-c", "local", f"{TITLE}.py"),
        ("computetarget", "show", TITLE),
        ("runconfiguration", "list"),
        ("lint",),
        ("lint", "-o", "github"),
        ("lint", "-o", "json"),
    ]
    for command in commands:
        shown = project.amlexec(*command)
        assert "\x1b" not in shown.out + shown.err, command
        assert "Traceback" not in shown.err, command
    for words in (["list", "--all"], ["lint"]):
        shown = project.doit(*words)
        assert "\x1b" not in shown.out + shown.err, words


def test_a_project_in_a_folder_with_control_characters(project: ProjectFolder) -> None:
    folder = project.root.parent / f"de{TITLE}mo"
    project.root.rename(folder)
    project.root = folder
    (folder / "aml_config/local.compute").write_text("type: x\n")
    for command in (("lint",), ("experiment", "submit", "-c", "local", "nowhere.py"), ("history", "list")):
        shown = project.amlexec(*command, cwd=folder)
        assert "\x1b" not in shown.out + shown.err


OUTPUT = {
    b"10 %\r20 %\x1b[K\b\t\n": b"10 %\r20 %\x1b[K\b\t\n",
    b"\x1b[1;31mred\x1b[0m \x1b[m": b"\x1b[1;31mred\x1b[0m \x1b[m",
    b"\x1b]0;title\x07": b"\\x1b]0;title\\x07",
    b"\x1b]52;c;eA==\x1b\\": b"\\x1b]52;c;eA==\\x1b\\",
    b"\x1b[2J\x1b[6n\x1bc": b"\\x1b[2J\\x1b[6n\\x1bc",
    "\u00fc\u2713\u009b2J".encode(): "\u00fc\u2713\\x9b2J".encode(),
    b"\x9b2J \xfc \x80": b"\\x9b2J \xfc \\x80",
    b"cut \x1b[3": b"cut \\x1b[3",
    b"cut \xe2\x9c": b"cut \xe2\\x9c",
}


@given(st.sampled_from([*OUTPUT]), st.lists(st.integers(0, 30), max_size=4))
def test_output_of_a_script_controls_no_terminal(printed: bytes, cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(printed)]
    found = OutputFilter()
    pieces = [found.feed(printed[start:end]) for start, end in pairwise(ends)]
    assert b"".join([*pieces, found.feed(b"", is_last=True)]) == OUTPUT[printed]


def test_output_is_filtered_on_a_terminal_and_in_the_log_of_ci(
    project: ProjectFolder, tmp_path: Path
) -> None:
    printed = "\x1b]0;title\x07\x1b[31mred\x1b[0m\n"
    project.write(
        "train.py", f"import sys\nprint({printed!r}, end='', file=sys.stderr)\nprint({printed!r}, end='')\n"
    )
    done = project.submit("train.py")
    assert printed in done.out
    assert printed in done.err
    for arguments in (("experiment", "follow"), ("history", "info", "-a", "stdout.log")):
        command = (sys.executable, "-m", "amlexec", *arguments, "-r", done.run_id)
        assert printed in project.call(*command).out
        found = run_on_terminal(project, *command, stdout=True)
        assert found.code == 0
        assert b"\\x1b]0;title\\x07\x1b[31mred\x1b[0m\r\n" in found.shown
        assert b"\x1b]" not in found.shown
        done_in_ci = project.call(*command, env={**os.environ, "CI": "true"})
        if arguments[0] == "experiment":
            assert "\\x1b]0;title\\x07\x1b[31mred\x1b[0m\n" in done_in_ci.out
        else:
            assert done_in_ci.out == printed, "a file that is printed is for other programs"
        with (tmp_path / "log").open("w+b") as file:
            project.call(*command, env={**os.environ, "CI": "true"}, stdout=file)
            file.seek(0)
            assert printed.encode() in file.read(), "what goes to a file is unchanged"
    assert (project.run_folder(done.run_id) / "stdout.log").read_text() == printed

"""Plain command lines mean the same with and without argparse."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amlexec import cli
from amlexec.errors import UsageError
from amlexec.plain_arguments import NotPlainError, PlainParser

VALUES = ("x", "last", "local", "1", "2.5", "30d", "10 GB", "lr=0.1", "json", "", "-1", "--", "-x")


def parsers() -> dict[tuple[str, ...], argparse.ArgumentParser]:
    """argparse's parser of each group or verb, by the words that lead to it."""
    found: dict[tuple[str, ...], argparse.ArgumentParser] = {}

    def walk(words: tuple[str, ...], parser: argparse.ArgumentParser) -> None:
        below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in below:
            for name, inner in action.choices.items():
                walk((*words, name), inner)
        if not below:
            found[words] = parser

    walk((), cli.parser())
    return found


PARSERS = parsers()
ARGPARSE = cli.parser()


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    words = draw(st.sampled_from(sorted(PARSERS)))
    line = list(words)
    for action in draw(st.lists(st.sampled_from(PARSERS[words]._actions), max_size=5)):
        if isinstance(action, argparse._HelpAction):
            continue
        if action.option_strings:
            line.append(draw(st.sampled_from(action.option_strings)))
        if action.nargs != 0 and draw(st.integers(0, 9)) > 0:
            choices = [*map(str, action.choices or ()), *([] if draw(st.booleans()) else VALUES)]
            line.append(draw(st.sampled_from(choices or VALUES)))
    return line


def plain(line: list[str]) -> dict[str, Any]:
    parser = PlainParser("amlexec")
    cli._declare(parser.add_subparsers(dest="group"), line[0], line[1] if len(line) > 1 else None)
    return vars(parser.parse(line))


def with_argparse(line: list[str]) -> dict[str, Any]:
    values = vars(ARGPARSE.parse_args(line))
    del values["completion"]  # never in such a command line, see `cli.run`
    return values


@given(line=command_lines())
@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much]
)
def test_it_is_as_argparse_reads_it(line: list[str]) -> None:
    try:
        found = plain(line)
    except NotPlainError:
        return
    try:
        wanted = with_argparse(line)
    except (UsageError, SystemExit) as error:
        raise AssertionError(f"argparse refuses {line}") from error
    assert found == wanted


@pytest.mark.parametrize(
    "line",
    [
        "experiment submit -c local train.py",
        "experiment submit -a -c local -t docker --prepare train.py",
        "experiment prepare -c docker --check -o json",
        "experiment status -r last",
        "history list --last 5 -c local -c docker",
        "history info -r last",
        "computetarget list",
        "lint",
        "gc --older-than 30d",
    ],
)
def test_usual_command_lines_are_plain(line: str) -> None:
    assert plain(line.split()) == with_argparse(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "experiment submit",
        "experiment submit -c",
        "experiment submit --run-config local",
        "experiment submit --runconfig=local",
        "experiment submit -clocal",
        "experiment submit -c local a.py b.py --async c.py",
        "experiment prepare -c docker --check --force",
        "experiment clean",
        "experiment cancel -r last --grace soon",
        "history list -o yaml",
        "history info -h",
        "history nothing",
    ],
)
def test_all_others_are_left_to_argparse(line: str) -> None:
    with pytest.raises(NotPlainError):
        plain(line.split())

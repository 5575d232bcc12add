"""Write docs/reference/ from the program's own sources: schemas, argument parsers, errors.

    python docs/generate.py            write the pages
    python docs/generate.py --check    list the pages that are out of date; exit code 1 if there are any

The output is the same on every Python. argparse formats its help differently in each version, so the pages
are written from the attributes of the parsers.
"""

# ruff: noqa: SLF001 - argparse has no public way to list the arguments of a parser

from __future__ import annotations

import argparse
import inspect
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec import cli, errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DOCS = Path(__file__).parent
SCHEMAS = DOCS.parent / "schemas"
IGNORED = "Accepted and ignored: "


def pages() -> dict[str, str]:
    """The text of every page, keyed by its name in docs/reference/."""
    schemas = {path.name.removesuffix(".schema.json"): path for path in sorted(SCHEMAS.glob("*.schema.json"))}
    texts = {f"{name}.md": _file_kind(path) for name, path in schemas.items()}
    return {**texts, "commands.md": _commands(), "exit-codes.md": _exit_codes()}


def _page(title: str, source: str, *blocks: str) -> str:
    note = f"<!-- Generated from {source} by docs/generate.py: don't edit this file. -->"
    return "\n\n".join([f"# {title}", note, *(block for block in blocks if block)]) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in [head, *rows]]
    lines.insert(1, " | ".join("---" for _ in head))
    return "\n".join(f"| {line} |".replace("|  |", "| |") for line in lines)


def _code(value: object) -> str:
    """`value` as it is written in a file, formatted as code."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    mark = "``" if "`" in text else "`"
    return f"{mark}{text}{mark}" if text else ""


# ---------------------------------------------------------------- file kinds


def _file_kind(path: Path) -> str:
    schema = json.loads(path.read_text(encoding="utf-8"))
    parts = list(schema.get("$defs", {}).values()) or [schema]
    blocks = [
        schema["description"],
        f"For completion in an editor, make this the first line: "
        f"`# yaml-language-server: $schema={schema['$id']}`"
        if path.name != "run.schema.json"
        else f"Schema: <{schema['$id']}>",
    ]
    for part in parts:
        if part is not schema:
            blocks += [f"## {part['title']}", part["description"]]
        blocks += _keys(part, "##" if part is schema else "###")
    return _page(schema["title"], f"schemas/{path.name}", *blocks)


def _keys(part: dict[str, Any], heading: str) -> list[str]:
    """The tables of the keys of `part`, of the values of its enumerations, and of the ignored keys."""
    keys = [(name, key) for name, key in _properties(part) if key["description"]]
    used = [(name, key) for name, key in keys if not key["description"].startswith(IGNORED)]
    blocks = [
        _table(
            ["key", "type", "default", "meaning", "example"],
            [
                [_code(name), _type(key), _default(key), key["description"], _example(key)]
                for name, key in used
            ],
        )
    ]
    for name, key in used:
        if "enumDescriptions" in key:
            values = zip(key["enum"], key["enumDescriptions"], strict=True)
            rows = [[_code(value), text] for value, text in values if value is not None]
            blocks += [f"{heading} Values of {_code(name)}", _table(["value", "meaning"], rows)]
    ignored = [
        [_code(name), _type(key), key["description"].removeprefix(IGNORED)]
        for name, key in keys
        if key["description"].startswith(IGNORED)
    ]
    if ignored:
        blocks += [f"{heading} Accepted and ignored", _table(["key", "type", "why"], ignored)]
    return blocks


def _properties(part: dict[str, Any], before: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key with its dotted name; `[]` stands for an entry of a list, `*` for any name."""
    for name, key in part.get("properties", {}).items():
        yield before + name, key
        yield from _properties(key, f"{before}{name}.")
        if isinstance(key.get("items"), dict):
            yield from _properties(key["items"], f"{before}{name}[].")
        if isinstance(key.get("additionalProperties"), dict):
            yield from _properties(key["additionalProperties"], f"{before}{name}.*.")


def _type(key: dict[str, Any]) -> str:
    types = key.get("type", "any")
    if {"array", "boolean", "object", "string"} <= set(types):
        return "any"
    names = [types] if isinstance(types, str) else [name for name in types if name != "null"]
    words = {"array": "list", "object": "map"}
    return " or ".join(words.get(name, name) for name in names)


def _default(key: dict[str, Any]) -> str:
    return _code(key["default"]) if "default" in key else ""


def _example(key: dict[str, Any]) -> str:
    return _code(key["examples"][0]) if key.get("examples") else ""


# ---------------------------------------------------------------- commands


def _commands() -> str:
    top = cli.parser()
    blocks = [
        str(top.description),
        "The same actions are tasks of `doit`: `doit list` in a project lists them.",
    ]
    commands = list(_leaves(top, "amlexec", ""))
    summary = [[f"[`{name}`](#{_anchor(name)})", help_text] for name, help_text, _ in commands]
    blocks.append(_table(["command", "what it does"], summary))
    blocks += [block for name, help_text, parser in commands for block in _command(name, help_text, parser)]
    return _page("Commands", "the argument parsers of amlexec", *blocks)


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


def _leaves(
    parser: argparse.ArgumentParser, name: str, help_text: str
) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Every parser without subcommands, with its full name and help, in order of declaration."""
    groups = [action for action in _actions(parser) if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name, help_text, parser
    for group in groups:
        for choice in group._choices_actions:
            yield from _leaves(group.choices[choice.dest], f"{name} {choice.dest}", choice.help or "")


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.help != argparse.SUPPRESS]


def _command(name: str, help_text: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## {name}"
    yield _sentence(parser.description or help_text)
    yield f"```\n{name}{_usage(parser)}\n```"
    rows = [
        [_signature(action), _help(action)]
        for action in _actions(parser)
        if not isinstance(action, argparse._HelpAction)
    ]
    if rows:
        yield _table(["argument", "meaning"], rows)
    if parser.epilog:
        yield parser.epilog.strip()


def _sentence(text: str) -> str:
    text = text.strip()
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else f"{text}."


def _usage(parser: argparse.ArgumentParser) -> str:
    exclusive = {
        id(action): group for group in parser._mutually_exclusive_groups for action in group._group_actions
    }
    options, positionals, done = [], [], set()
    for action in _actions(parser):
        group = exclusive.get(id(action))
        if isinstance(action, argparse._HelpAction) or id(group) in done:
            continue
        if group is not None:
            done.add(id(group))
            choices = " | ".join(_shortest(each) for each in group._group_actions)
            options.append(f"({choices})" if group.required else f"[{choices}]")
        elif action.option_strings:
            options.append(_shortest(action) if action.required else f"[{_shortest(action)}]")
        else:
            positionals.append(_values(action))
    return "".join(f" {word}" for word in [*options, *positionals])


def _shortest(action: argparse.Action) -> str:
    if not action.option_strings:
        return _values(action)
    return f"{action.option_strings[0]} {_values(action)}".strip()


def _values(action: argparse.Action) -> str:
    """The placeholder for the values of an argument."""
    if action.choices is not None and action.metavar is None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        name = str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))
    many = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [{name} ...]", "...": f"[{name} ...]"}
    if action.nargs == 0:
        return ""
    if isinstance(action.nargs, int):
        return " ".join([name] * action.nargs)
    return many.get(action.nargs or "", name)


def _signature(action: argparse.Action) -> str:
    if not action.option_strings:
        return _code(_values(action))
    return ", ".join(_code(f"{option} {_values(action)}".strip()) for option in action.option_strings)


def _help(action: argparse.Action) -> str:
    choices = ", ".join(map(str, action.choices)) if action.choices is not None else ""
    text = (action.help or "") % {**vars(action), "choices": choices, "prog": "amlexec"}
    return " ".join(text.split())


# ---------------------------------------------------------------- exit codes


def _exit_codes() -> str:
    rows = [["0", "", "The command succeeded."]]
    for name in errors.__all__:
        kind = getattr(errors, name)
        if (
            isinstance(kind, type)
            and issubclass(kind, errors.AmlexecError)
            and kind.__base__ is not Exception
        ):
            rows.append([str(kind.exit_code), _code(name), _first(kind)])
    rows.append([str(errors.INTERRUPTED), "", "Interrupted (Ctrl-C). A run that was being followed goes on."])
    rows.sort(key=lambda row: int(row[0]))
    return _page(
        "Exit codes",
        "amlexec/errors.py",
        "Both commands, `amlexec` and `doit`, use these exit codes. The exit code of the script itself is in "
        "the run's record and in the message.",
        _table(["exit code", "error", "when"], rows),
        "An error is printed to stderr as `WHERE: error: MESSAGE`, followed by `hint: WHAT TO DO` if there "
        "is a fix. All errors in files are printed at once, sorted by file and line.",
    )


def _first(kind: type) -> str:
    """The first paragraph of a class's docstring, on one line."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].split())


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with --check, compare them with the existing ones."""
    parser = argparse.ArgumentParser(description="Write docs/reference/.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 if anything would change"
    )
    check = parser.parse_args(arguments).check
    stale = []
    for name, text in pages().items():
        path = DOCS / "reference" / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for name in stale:
        sys.stdout.write(f"docs/reference/{name} {'is out of date' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

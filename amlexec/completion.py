"""Shell completion: the script for a shell, and the words that it requests.

The shell runs `amlexec --complete WORD…` while the user types; no other command imports this. Names come from
the project's folder; no target is asked.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from amlexec import kinds
from amlexec.errors import AmlexecError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amlexec.values import Project

__all__ = ["candidates", "run"]

_MOST_RUNS = 50
_FILES, _FOLDERS = ":files", ":folders"
"""Tells the shell to complete file names, or folder names."""

_BASH = """\
# Completion of amlexec for bash. Put into ~/.bashrc: eval "$(amlexec --completion bash)"
_amlexec() {
    local line current="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
            :folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
            *) COMPREPLY+=("$(printf %q "$line")") ;;
        esac
    done < <(amlexec --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _amlexec amlexec
"""
_ZSH = """\
# Completion of amlexec for zsh. Put into ~/.zshrc, after compinit: eval "$(amlexec --completion zsh)"
_amlexec() {
    local line
    local -a found
    for line in "${(@f)$(amlexec --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            :files) _files ;;
            :folders) _files -/ ;;
            ?*) found+=("$line") ;;
        esac
    done
    compadd -a found
}
compdef _amlexec amlexec
"""
_FISH = """\
# Completion of amlexec for fish. Put into ~/.config/fish/config.fish: amlexec --completion fish | source
function __amlexec
    set -l words (commandline -opc) (commandline -ct)
    for line in (amlexec --complete $words[2..-1] 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path (commandline -ct)
            case :folders
                __fish_complete_directories (commandline -ct)
            case '*'
                echo $line
        end
    end
end
complete -c amlexec -f -a '(__amlexec)'
"""
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def run(arguments: Sequence[str], parser: Callable[[], argparse.ArgumentParser]) -> int:
    """Run `amlexec --completion SHELL` or `amlexec --complete WORD…`; returns the exit code.

    `parser` makes the parser of all commands.

    Raises:
        UsageError: the shell is not supported.
    """
    from amlexec.console import data

    if arguments[0] == "--complete":
        for word in candidates(arguments[1:], parser()):
            if word.isprintable():
                data(word)
        return 0
    shell = " ".join(arguments[1:])
    if shell not in _SCRIPTS:
        raise UsageError(
            f"--completion is for {', '.join(_SCRIPTS)}" + (f", not {shell}" if shell else ""),
            hint="amlexec --completion bash",
        )
    data(_SCRIPTS[shell].rstrip("\n"))
    return 0


def candidates(words: Sequence[str], commands: argparse.ArgumentParser) -> list[str]:
    """Candidates for the last of `words`, the words after `amlexec`; it may be typed in part."""
    if words[-2:-1] == [":"] or words[-1:] == [":"]:
        return _after_colon(words, commands)
    before, current = list(words[:-1]), words[-1] if words else ""
    parser, option, places = _where(before, commands)
    if option is not None:
        found = _values(option, parser.prog, before)
    elif current.startswith("-") and places >= 0:
        found = [name for action in parser._actions for name in _names(action)]  # noqa: SLF001
    else:
        found = _positional(parser, places, before)
    return [word for word in found if word.startswith((current, ":"))]


def _after_colon(words: Sequence[str], commands: argparse.ArgumentParser) -> list[str]:
    """Candidates for what follows the colon of NAME:VERSION, which bash takes for three words."""
    at = len(words) - (1 if words[-1] == ":" else 2)
    start = f"{words[at - 1]}:" if at else ":"
    joined = start + "".join(words[at + 1 :])
    return [word.removeprefix(start) for word in candidates([*words[: max(at - 1, 0)], joined], commands)]


def _where(
    before: Sequence[str], parser: argparse.ArgumentParser
) -> tuple[argparse.ArgumentParser, argparse.Action | None, int]:
    """The command in `before`, its option whose value comes next, and the number of its positional words:
    -1 if the rest belongs to a script, -2 if there is no such command.
    """
    option: argparse.Action | None = None
    places = 0
    for word in before:
        if option is not None:
            option = None
            continue
        verbs = _verbs(parser)
        if verbs is not None and word in verbs:
            parser, places = verbs[word], 0
            continue
        if word.startswith("-"):
            action = parser._option_string_actions.get(word)  # noqa: SLF001
            option = action if action is not None and action.nargs != 0 else None
            continue
        if verbs is not None:
            return parser, None, -2  # there is no such command
        places += 1
        if parser.prog in {"amlexec experiment submit", "amlexec experiment sweep"}:
            return parser, None, -1
    return parser, option, places


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser] | None:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return None


def _names(action: argparse.Action) -> list[str]:
    hidden = action.help == argparse.SUPPRESS
    return [] if hidden else [name for name in action.option_strings if name.startswith("--")]


def _positional(parser: argparse.ArgumentParser, places: int, before: Sequence[str]) -> list[str]:
    verbs = _verbs(parser)
    if places == -2:
        return []
    if verbs is not None:
        return [*verbs, *(["--help", "--version", "--completion"] if parser.prog == "amlexec" else [])]
    if places < 0:
        return [_FILES]
    actions = [action for action in parser._actions if not action.option_strings]  # noqa: SLF001
    if not actions:
        return []
    action = actions[min(places, len(actions) - 1)]
    if places >= len(actions) and action.nargs not in {"*", "+"}:
        return []
    return _values(action, parser.prog, before)


def _values(action: argparse.Action, command: str, before: Sequence[str]) -> list[str]:
    """The known values of an option or positional argument."""
    if action.choices is not None:
        return [str(choice) for choice in action.choices]
    if action.metavar in {"SCRIPT", "FILE"}:
        return [_FILES]
    if action.metavar == "FOLDER":
        return [_FOLDERS]
    if action.metavar == "KIND":
        return list(kinds.ATTACHABLE)
    project = _project(before)
    if project is None:
        return []
    from amlexec.config import load as config

    is_about_target = command.startswith("amlexec computetarget") and not command.endswith("attach")
    if action.dest in {"target", "source"} or (action.metavar == "NAME" and is_about_target):
        return list(config.compute_targets(project))
    shows = command.startswith("amlexec runconfiguration") and not command.endswith("create")
    if action.dest in {"run_configuration", "configuration"} or (action.dest == "name" and shows):
        return list(config.run_configurations(project))
    if action.metavar == "SWEEP":
        from amlexec.sweeps import store

        return ["last", *reversed(store.ids(project))]
    if action.metavar == "MODEL" or (action.metavar == "NAME" and command.startswith("amlexec model")):
        return _models(project, only_names=action.metavar == "NAME")
    return _runs(project) if action.metavar == "RUN" else []


def _project(before: Sequence[str]) -> Project | None:
    from amlexec.config import load as config

    at = next((at for at, word in enumerate(before[:-1]) if word in {"-p", "--project"}), None)
    try:
        return config.find_project(os.getcwd() if at is None else before[at + 1])  # noqa: PTH109
    except AmlexecError:
        return None


def _runs(project: Project) -> list[str]:
    """`last`, and the newest runs by the times at the ends of their ids."""
    try:
        names = [
            entry.name for entry in os.scandir(f"{project.state}/runs") if not entry.name.startswith(".")
        ]
    except OSError:
        return []
    newest = sorted(names, key=lambda name: name.rpartition("_")[2], reverse=True)
    return ["last", *newest[:_MOST_RUNS]]


def _models(project: Project, *, only_names: bool) -> list[str]:
    """The names of models, then their versions and aliases; only of a registry in a folder."""
    from amlexec.models import places
    from amlexec.models.folder_store import FolderStore
    from amlexec.models.registry import Registry

    try:
        store = places.opened(project)
        registry = Registry(store)
        if not isinstance(store, FolderStore) or only_names:
            return registry.names() if isinstance(store, FolderStore) else []
        found = registry.all()
    except AmlexecError:
        return []
    names = [name.name for name in found if name.present]
    versions = [version.id for name in found for version in name.present[::-1]]
    return [*names, *versions, *(f"{name.name}:{alias}" for name in found for alias in sorted(name.aliases))]

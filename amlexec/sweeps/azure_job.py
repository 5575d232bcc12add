"""Read a sweep job of Azure Machine Learning (CLI v2) as it stands: what of it can be executed here.

Search space, objective, limits and early termination become the settings of a sweep, and the command becomes
a script with arguments. Environment and compute are those of the run configuration.
https://learn.microsoft.com/azure/machine-learning/reference-yaml-job-sweep
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.config import document
from amlexec.config.document import Mapping, Node, Scalar
from amlexec.config.generations import find
from amlexec.errors import UsageError
from amlexec.files import SMALL, read_regular
from amlexec.search import early_stop
from amlexec.search.section import SweepSection
from amlexec.sweeps.azure_space import AzureFile, parameters_of

if TYPE_CHECKING:
    from amlexec.values import Project

__all__ = ["AzureJob", "read"]

_INPUT = re.compile(r"\$\{\{\s*(inputs|outputs)\.([^}\s]+)\s*\}\}")
_INTERPRETER = re.compile(r"(?:.*/)?python(?:3(?:\.\d+)?)?")
_OPERATORS = frozenset(["&&", "||", "|", ";", ">", ">>", "<", "&"])
_SEARCHES = {"random": ("random", ""), "grid": ("grid", ""), "bayesian": ("optuna", "tpe")}
"""`sampling_algorithm` -> the search, and Optuna's sampler."""
_POLICIES = {"bandit": "bandit", "median_stopping": "median", "truncation_selection": "truncation"}
_OPTIONS = {
    "slack_factor": "slack_factor",
    "slack_amount": "slack_amount",
    "truncation_percentage": "percentage",
    "evaluation_interval": "interval",
    "delay_evaluation": "delay",
}
_IGNORED = ("environment", "compute", "resources", "outputs", "identity", "queue_settings")


class AzureJob(NamedTuple):
    """What of a sweep job is executed here."""

    script: str
    """Relative to the project's root."""
    arguments: tuple[str, ...]
    """`${{search_space.NAME}}` stands for the value of a parameter."""
    section: SweepSection
    notes: tuple[str, ...]
    """What is done otherwise than in the cloud, a line each."""


def read(project: Project, path: Path) -> AzureJob:
    """Read the job in a file. What can't be executed here is an error, with its place.

    Raises:
        ConfigurationError: the file has errors, or asks for what can't be done here.
        UsageError: the file can't be read.
    """
    try:
        data = read_regular(path, SMALL << 2)
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"the job can't be read: {reason[:1].lower()}{reason[1:]}"
        raise UsageError(message, where=str(path)) from None
    root = document.read(data, str(path)).root
    file = AzureFile(str(path), root)
    kind = file.text("type")
    if kind.casefold() != "sweep":
        file.fail(root, f"this is not a sweep job: its type is {kind or 'missing'}", "write type: sweep")
    section = _section(file)
    script, arguments = _command(project, path, file)
    ignored = [key for key in _IGNORED if any(find(root, name) for name in (key, f"trial.{key}"))]
    if ignored:
        file.note(f"{', '.join(ignored)}: ignored; the run configuration decides")
    return AzureJob(script, arguments, section, tuple(file.notes))


def _section(file: AzureFile) -> SweepSection:
    search, seed, sampler = _sampling(file)
    names = ("max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout")
    points, jobs, timeout, run_timeout = (file.whole(f"limits.{name}") for name in names)
    if search != "grid" and not points:
        hint = "write limits: {max_total_trials: 20}"
        file.fail(file.root, "limits.max_total_trials is missing: the number of points", hint)
    metric, goal = file.text("objective.primary_metric"), file.text("objective.goal").casefold()
    if metric and goal not in {"maximize", "minimize"}:
        node = find(file.root, "objective.goal") or file.root
        file.fail(node, f"objective.goal is {goal or 'missing'}", "write maximize or minimize")
    return SweepSection(
        parameters=parameters_of(file),
        search=search,
        points=points,
        seed=seed,
        sampler=sampler,
        metric=metric,
        goal=goal if metric else "",
        early_stop=_early_stop(file),
        jobs=jobs,
        timeout=timeout,
        run_timeout=run_timeout,
    )


def _sampling(file: AzureFile) -> tuple[str, int | None, str]:
    """The search, its seed, and Optuna's sampler."""
    node = find(file.root, "sampling_algorithm")
    if isinstance(node, Mapping):
        name, rule = file.text("type", node).casefold(), file.text("rule", node).casefold()
        seed = file.whole("sampling_algorithm.seed") if "seed" in node.entries else None
    else:
        name, rule, seed = file.text("sampling_algorithm").casefold(), "", None
    if name not in _SEARCHES:
        message = f"sampling_algorithm is {name or 'missing'}"
        file.fail(node or file.root, message, "write random, grid or bayesian")
    if rule == "sobol":
        file.note("sampling_algorithm.rule: sobol is ignored; the points are drawn at random")
    search, sampler = _SEARCHES[name]
    return search, seed, sampler


def _early_stop(file: AzureFile) -> str:
    node = find(file.root, "early_termination")
    if node is None or (isinstance(node, Scalar) and node.is_null):
        return ""
    kind = file.text("type", node).casefold()
    if kind not in _POLICIES:
        message = f"early_termination.type is {kind or 'missing'}"
        file.fail(node, message, f"write one of {', '.join(_POLICIES)}")
    options = {
        ours: float(file.number(name, node)) for name, ours in _OPTIONS.items() if file.text(name, node)
    }
    try:
        early_stop.checked(_POLICIES[kind], options)
    except UsageError as error:
        file.fail(node, error.message, error.hint)
    words = ",".join(f"{name}={value:g}" for name, value in options.items())
    return _POLICIES[kind] + (f":{words}" if words else "")


def _command(project: Project, path: Path, file: AzureFile) -> tuple[str, tuple[str, ...]]:
    node = find(file.root, "trial.command")
    if not isinstance(node, Scalar) or not node.text.strip():
        file.fail(node or file.root, "trial.command is missing", "write: python train.py --lr …")
    try:
        words = shlex.split(node.text)
    except ValueError as error:
        file.fail(node, f"trial.command can't be split into words: {error}")
    operator = next((word for word in words if word in _OPERATORS or word.endswith(";")), "")
    if operator:
        file.fail(node, f"trial.command has the shell's operator {operator}", "write one python command")
    if len(words) < 2 or not _INTERPRETER.fullmatch(words[0]) or words[1].startswith("-"):
        file.fail(node, "trial.command does not run a Python script", "write: python train.py --lr …")
    inputs = _Inputs(project, path, file, node)
    return _script(project, path, file, node, words[1]), tuple(map(inputs.filled, words[2:]))


def _script(project: Project, path: Path, file: AzureFile, node: Node, script: str) -> str:
    code = file.text("trial.code") or "."
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", code):
        file.fail(find(file.root, "trial.code") or node, f"trial.code is {code}", "write a folder")
    folder = Path(os.path.realpath(path.parent / code))
    place, root = folder / script, Path(project.root)
    if not place.is_file():
        file.fail(node, f"there is no script {script!r} in {folder}", "is it saved?")
    if not place.is_relative_to(root):
        file.fail(node, f"the script {script!r} is outside the project", "move it into the project")
    if folder != root:
        file.note(f"the script runs in the project's root, not in {code}")
    return place.relative_to(root).as_posix()


class _Inputs:
    """Replaces `${{inputs.NAME}}` by a number, a text, or the path of a file of the project."""

    def __init__(self, project: Project, path: Path, file: AzureFile, command: Node) -> None:
        self._root, self._folder, self._file, self._command = Path(project.root), path.parent, file, command

    def filled(self, word: str) -> str:
        """A word of the command with the values. Raises ConfigurationError for what is not here."""
        return _INPUT.sub(self._value, word)

    def _value(self, match: re.Match[str]) -> str:
        kind, name = match.groups()
        node = find(self._file.root, f"inputs.{name}") if kind == "inputs" else None
        if isinstance(node, Scalar) and not node.is_null:
            return node.text
        where = self._file.text("path", node) if isinstance(node, Mapping) else ""
        place = Path(os.path.realpath(self._folder / where)) if where else None
        if place is None or not place.exists() or not place.is_relative_to(self._root):
            hint = "there is no data store: write the value itself, or use the shared directory"
            message = f"{match[0]} is not a number, a text or a file of the project"
            self._file.fail(node or self._command, message, hint)
        return place.relative_to(self._root).as_posix()

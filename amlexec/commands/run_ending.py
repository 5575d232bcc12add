"""The lines at the end of a run or of following it, and the error of a failed run."""

from __future__ import annotations

from amlexec import escaping
from amlexec.errors import ScriptFailedError, TargetError
from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amlexec.errors import AmlexecError
    from amlexec.history.paths import RunPaths
    from amlexec.history.record import Run
    from amlexec.values import Detached

__all__ = ["closing", "detached", "error_of"]


def closing(run: Run, paths: RunPaths) -> list[str]:
    """The lines that end the output of a run."""
    lines = ["", "Execution Details", "=================", f"RunId: {run.run_id}"]
    reason = f" ({escaping.on_one_line(run.reason)})" if run.reason else ""
    lines.append(f"Status: {run.status}{reason}")
    if run.outputs is not None and run.outputs.files and run.tracked:
        files = "file" if run.outputs.files == 1 else "files"
        lines.append(f"Outputs: {run.outputs.files} {files} in {paths.outputs}")
    lines += _models(paths)
    if run.unread:
        lines += [f"Unread: {line}" for line in run.unread]
        lines.append(f"  to try again: amlexec experiment status -r {run.run_id}")
    return lines


def _models(paths: RunPaths) -> list[str]:
    """A line for each model that the script has registered."""
    if not (paths.folder / "models.jsonl").exists():
        return []
    from amlexec.models import of_run

    lines, failed = [], False
    for each in of_run.outcomes(paths):
        what = f"{each.name} was not registered: {each.problem}"
        lines.append(f"Model: {escaping.on_one_line(each.id or what)}")
        failed |= not each.id
    again = f"  to try again: amlexec model register -r {paths.folder.name}"
    return [*lines, again] if failed else lines


def detached(what: Detached) -> list[str]:
    """The lines with what to type when a run goes on without this command."""
    first = {
        "async": f"RunId: {what.run_id} has been submitted",
        "interrupt": f"stopped following; the run {what.run_id} goes on",
        "pipe": f"the output was closed; the run {what.run_id} goes on",
    }[what.why]
    return [
        first,
        f"  follow it:  amlexec experiment follow -r {what.run_id}",
        f"  look at it: amlexec experiment status -r {what.run_id}",
        f"  cancel it:  amlexec experiment cancel -r {what.run_id}",
    ]


def error_of(run: Run) -> AmlexecError | None:
    """The error of a finished run for the command that ran it; None if it completed."""
    if run.status == "Completed":
        return None
    if run.status == "Failed" and run.exit_code is not None:
        return ScriptFailedError(
            f"the script failed: {run.reason}",
            where=run.script_name,
            hint=f"its log: amlexec history info -r {run.run_id} -a stderr.log{_sweep_hint(run)}",
        )
    if run.status == "Canceled":
        return ScriptFailedError(f"the run {run.run_id} was canceled")
    return TargetError(f"the run {run.run_id} is {run.status}: {run.reason}")


def _sweep_hint(run: Run) -> str:
    """For a script that perhaps got several values where it wanted one: `--lr 0.1,0.01`."""
    from amlexec.search import grammar

    for word in run.arguments if run.sweep is None else ():
        text = word.rpartition("=")[2]
        try:
            found = grammar.values(text)
        except grammar.BadValuesError:
            continue
        size = found.size if found is not None else None
        if found is not None and size and size > 1 and all(_is_number(found.at(at).value) for at in (0, 1)):
            return f"; to run it with each value of {text}: amlexec experiment sweep"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

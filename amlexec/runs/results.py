"""The results of a run for its record: metrics, outputs, and the application of a Spark cluster."""

from __future__ import annotations

import os

from amlexec import kinds
from amlexec.file_trees import walk
from amlexec.files import SMALL, open_regular, read_regular
from amlexec.history import tags
from amlexec.history.record import Application, Outputs, Run
from amlexec.light_typing import TYPE_CHECKING
from amlexec.runs.control_log import note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from amlexec.history.metrics import Summary
    from amlexec.history.output_series import Source
    from amlexec.history.paths import RunPaths

__all__ = ["with_results"]

_MOST_UNREAD = 10
_LOG_BYTES = 4 << 20
"""How much of a log is searched for the lines at its beginning."""


def with_results(run: Run, paths: RunPaths) -> Run:
    """The run with its metrics and outputs on this computer; `unread` names those that can't be read."""
    from amlexec.history import metrics

    unread: list[str] = []
    made = run
    sources = _sources(paths)
    try:
        logged = metrics.summary(paths.metrics, sources)
    except OSError as error:
        unread.append(_unread(paths.metrics.name, error))
    else:
        made = made._replace(metrics=logged.values, metric_counts=logged.counts)
        for line in (
            *_remarks(paths, logged),
            *(remark for source in sources for remark in source.remarks()),
        ):
            note(paths, line)
    _add_tags(paths, sources)
    try:
        made = made._replace(outputs=_outputs(paths, unread))
    except OSError as error:
        unread.append(_unread(paths.outputs.name, error))
    try:
        made = made._replace(application=_application(run, paths))
    except OSError as error:
        unread.append(_unread(paths.stderr.name, error))
    for line in unread:
        note(paths, line)
    return made._replace(unread=tuple(unread))


def _sources(paths: RunPaths) -> list[Source]:
    """What other loggers wrote. Nothing is imported for a run without outputs."""
    for outputs in (paths.outputs, paths.checkout / "outputs"):
        try:
            with os.scandir(outputs) as entries:
                is_empty = next(entries, None) is None
        except OSError:  # reported where outputs are counted
            continue
        if not is_empty:
            from amlexec.history import output_series

            return output_series.sources(paths.folder)
    return []


def _remarks(paths: RunPaths, logged: Summary) -> Iterator[str]:
    if logged.unreadable:
        yield f"{logged.unreadable} lines of {paths.metrics.name} are not metrics"
    if logged.left_out:
        yield f"{logged.left_out} metrics are too large for the record: {paths.metrics.name} has them"


def _add_tags(paths: RunPaths, sources: Sequence[Source]) -> None:
    """Set the tags that scripts have set with other loggers, unless the run has them already."""
    try:
        found = {name: text for source in sources for name, text in source.tags().items()}
        present = tags.read(paths)
        new = {name: text for name, text in found.items() if name not in present}
        if new:
            tags.change(paths, new)
    except OSError as error:
        note(paths, _unread(paths.tags.name, error))


def _unread(name: str, error: OSError) -> str:
    why = error.strerror or str(error)
    return f"{name} could not be read: {why[:1].lower()}{why[1:]}"


def _application(run: Run, paths: RunPaths) -> Application | None:
    if run.framework != "PySpark" or not kinds.of(run.target_kind).is_spark_cluster:
        return None
    from amlexec.spark import yarn_report
    from amlexec.spark.cluster_args import application

    report = yarn_report.Report()
    try:
        text = read_regular(paths.application, SMALL, follow=False).decode("utf-8", "replace")
        report = yarn_report.parsed(text)
    except OSError:
        pass  # not of YARN
    if report.id:
        texts = (report.tracking_url, report.state, report.final_status, report.diagnostics.strip())
        return Application(report.id, *(text or None for text in texts))
    try:
        with open_regular(paths.stderr, follow=False) as log:
            found, address = application(log.read(_LOG_BYTES).decode(errors="replace"))
    except FileNotFoundError:
        return None
    return Application(found, address or None) if found else None


def _outputs(paths: RunPaths, unread: list[str]) -> Outputs | None:
    """Number and size of the outputs; None if unreadable. Adds unreadable folders to `unread`, up to ten."""

    def skipped(error: OSError) -> None:
        if len(unread) < _MOST_UNREAD:
            unread.append(_unread(os.path.relpath(error.filename or paths.outputs, paths.folder), error))

    files = size = folders = 0
    if not os.path.lexists(paths.outputs):
        return Outputs(0, 0)
    for folder in walk(paths.outputs, skipped):
        folders += 1
        for entry in folder.others:
            if not _leads_to_folder(entry):
                files += 1
                size += entry.stat(follow_symlinks=False).st_size
    return Outputs(files, size) if folders else None


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to a folder; one that leads to itself is none."""
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:
        return False

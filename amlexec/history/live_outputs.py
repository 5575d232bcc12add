"""Metrics of a run that goes on in a folder of this computer, with those of other loggers in its outputs.

Until the run ends, commands that list runs read what TensorBoard and MLflow have written up to now each time:
it is left out if it is large. What reads whole series (`series.read_series`) reads it in any case.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from amlexec.history import metrics

if TYPE_CHECKING:
    from amlexec.history.metrics import Summary
    from amlexec.history.output_series import Source
    from amlexec.history.paths import RunPaths

__all__ = ["LARGEST", "sources", "state", "summary"]

LARGEST = 8 << 20
"""Bytes of other loggers' files, of which a second is needed to read them."""
_MOST_FILES = 10_000


def summary(paths: RunPaths) -> Summary:
    """The last value and the count of every metric. Raises OSError if `metrics.jsonl` can't be read."""
    return metrics.summary(paths.metrics, sources(paths))


def sources(paths: RunPaths) -> list[Source]:
    """What other loggers have written up to now; nothing if there is much of it."""
    found = state(paths)
    if not found or int(found.split(".")[1], 16) > LARGEST:
        return []
    from amlexec.history import output_series

    return output_series.sources(paths.folder)


def state(paths: RunPaths) -> str:
    """Number, size and latest time of the loggers' files, to see that they have changed; "" without any."""
    outputs = paths.checkout / "outputs"
    if not outputs.is_dir() or outputs.is_symlink():
        return ""
    from amlexec.file_trees import walk
    from amlexec.history.output_series import is_logged

    count = size = newest = 0
    entries = (
        entry
        for folder in walk(outputs, lambda _: None)
        for entry in folder.others
        if is_logged(folder.path, entry.name)
    )
    for entry in itertools.islice(entries, _MOST_FILES):
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # it was removed meanwhile
            continue
        count += 1
        size += status.st_size
        newest = max(newest, status.st_mtime_ns)
    return f"{count:x}.{size:x}.{newest:x}" if count else ""

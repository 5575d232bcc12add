"""Why spark-submit has failed, from the end of the run's standard error, to which it writes its own log."""

import os
import re

_LAST_BYTES = 1 << 16


def is_archive_gone(folder):
    """Whether spark-submit has missed an archive in the cluster; `folder` is the run's."""
    gone = rb"does not exist.*\.amlexec/archives/|\.amlexec/archives/.*No such file"
    return re.search(gone, _last_lines(folder)) is not None


def why(folder):
    """Why spark-submit has not submitted an application; "" if its log does not tell."""
    lines = _last_lines(folder)
    missing = re.findall(rb"unresolved dependency: ([^#\s]+)#([^;\s]+);([^:\s\]]+)", lines)
    if missing:
        names = sorted({b":".join(parts).decode("utf-8", "replace") for parts in missing})
        return "no repository has the Maven package%s %s" % ("s" * bool(names[1:]), ", ".join(names))
    found = re.findall(rb'^Exception in thread "main" ([^\n]+)', lines, re.MULTILINE)
    text = found[-1].decode("utf-8", "replace") if found else ""
    return text and "spark-submit: " + re.sub(r"^([\w.$]+: )+", "", text)[:1000]


def _last_lines(folder):
    try:
        with open(os.path.join(folder, "stderr.log"), "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _LAST_BYTES, 0))
            return file.read()
    except (IOError, OSError):
        return b""

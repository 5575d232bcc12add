"""Log metrics and files from a script: `from amlexec.run import log`.

The code is the files that are sent into a run, where amlexec need not be installed; see there for what they
write. Like those files, this one uses the syntax of Python 3.5: a run's PYTHONPATH may bring any interpreter
here.
"""

from amlexec.runtime.site.amlexec.run import (
    Logged,
    log,
    log_confusion_matrix,
    log_file,
    log_image,
    log_list,
    log_row,
    log_table,
    log_text,
    record,
    register_model,
    tag,
    upload,
)

__all__ = [
    "Logged",
    "log",
    "log_confusion_matrix",
    "log_file",
    "log_image",
    "log_list",
    "log_row",
    "log_table",
    "log_text",
    "record",
    "register_model",
    "tag",
    "upload",
]

"""Log metrics and files from a script: `from amlexec.run import log`.

The code is the file that is sent into a run, where amlexec need not be installed; see there for what it
writes. Like that file, this one uses the syntax of Python 3.5: a run's PYTHONPATH may bring any interpreter
here.
"""

from amlexec.runtime.site.amlexec.run import Logged, log, upload

__all__ = ["Logged", "log", "upload"]

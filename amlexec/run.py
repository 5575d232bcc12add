"""Log metrics and files from a script: `from amlexec.run import log`.

The code is the very file that travels into a run, where amlexec need not be installed; what is written
where is said there. Like that file, this one keeps to the syntax of Python 3.5: a run's PYTHONPATH may lead
any interpreter here.
"""

from amlexec.runtime.site.amlexec.run import Logged, log, upload

__all__ = ["Logged", "log", "upload"]

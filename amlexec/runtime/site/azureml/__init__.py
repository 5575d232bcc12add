"""A place for `azureml.logging`; everything else is the `azureml` package that is installed, if one is.

This folder precedes the installed packages on a run's path. It must hide nothing of them: the package's path
is extended by theirs, and their own `__init__.py` is executed here, too. What is not installed is searched in
`_fallback`: `azureml.core` and others, as far as scripts of experiments use them. Any other module of
azureml is an ImportError that says what to do instead. What an installed azureml-core logs outside Azure is
recorded, too.
"""

import os
import pkgutil
import sys

__path__ = pkgutil.extend_path(__path__, __name__)


def _installed():
    """The `__init__.py` of the installed package, or ""."""
    for folder in __path__:
        path = os.path.join(folder, "__init__.py")
        if os.path.isfile(path) and not os.path.samefile(path, __file__):
            return path
    return ""


_path = _installed()
if _path:
    with open(_path, "rb") as _file:
        exec(compile(_file.read(), _path, "exec"))  # noqa: S102 - what importing it would do

__path__.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "_fallback"))

from azureml._fallback.absent import tell_of_missing_modules  # noqa: E402

tell_of_missing_modules()
if os.environ.get("AMLEXEC_RUN_FOLDER"):
    from azureml._fallback.recorded import RecordedRuns

    sys.meta_path.insert(0, RecordedRuns)

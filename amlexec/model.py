"""Register models from a script, and find registered ones: `from amlexec.model import register, path_of`.

In a run, the code is the file that is sent into it; see there. Outside, models are registered at once. Like
that file, this one uses the syntax of Python 3.5: a run's PYTHONPATH may bring any interpreter here.
"""

import os

from amlexec.runtime.site.amlexec import model as _in_run
from amlexec.runtime.site.amlexec.model import Registered

__all__ = ["Registered", "path_of", "register"]


def register(
    name: str,
    path: object,
    tags: "dict[str, str] | None" = None,
    description: str = "",
) -> Registered:
    """Register a file or folder as the next version of the model `name`.

    In a run, it gets its number when the run has ended. Outside, the registry is that of the project of the
    current folder, or the one that AMLEXEC_MODELS names, and errors are those of `amlexec.errors`.
    """
    if os.environ.get("AMLEXEC_RUN_FOLDER"):
        return _in_run.register(name, path, tags, description)
    from amlexec.models import scripts

    number = scripts.register(name, str(path), tags or {}, description)
    return Registered(name, number, str(path))


def path_of(reference: str) -> str:
    """The path of a registered file or folder: of NAME, its newest version, NAME:VERSION or NAME:ALIAS."""
    if os.environ.get("AMLEXEC_RUN_FOLDER") or os.environ.get("AZUREML_MODEL_DIR"):
        return _in_run.path_of(reference)
    from amlexec.models import scripts

    return scripts.path_of(reference)

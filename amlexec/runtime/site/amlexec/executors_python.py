"""Pack the files with which executors on any machine record their Python.

In the archive, `python` starts PYTHON, a path relative to an executor's working folder, with the
`sitecustomize` beside it: a PYTHONPATH in Spark's settings would replace that of the executor's machine.
"""

import io
import os
import tarfile

STARTED = """\
#!/bin/sh
PYTHONPATH=$(cd "${{0%/*}}" && pwd)${{PYTHONPATH:+:$PYTHONPATH}}
export PYTHONPATH
exec {} "$@"
"""


def pack(archive, run, executors, python):
    """Write the archive for the run's folder `run`; `executors` is AMLEXEC_EXECUTORS."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, os.pardir, "sitecustomize.py"), "rb") as file:
        parts = {"sitecustomize.py": file.read()}
    parts["amlexec_run.txt"] = os.fsencode("%s\n%s" % (run, executors))
    parts["python"] = STARTED.format(python).encode("ascii")
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        for name in sorted(parts):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(parts[name]), 0o755
            packed.addfile(entry, io.BytesIO(parts[name]))

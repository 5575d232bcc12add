"""Pack the Python modules of a project for the executors of Spark."""

import os
import zipfile

LEFT_OUT = ("outputs", "aml_config", "__pycache__")


def pack(folder, archive):
    """Pack all files that end with .py, except in the folders that a run brings or creates."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("amlexec_project.txt", "")  # Spark refuses an empty archive
        for at, folders, files in os.walk(folder):
            top = at == folder
            folders[:] = sorted(one for one in folders if one[0] != "." and not (top and one in LEFT_OUT))
            for name in sorted(files):
                path = os.path.join(at, name)
                if name.endswith(".py") and os.path.isfile(path):
                    packed.write(path, os.path.relpath(path, folder))

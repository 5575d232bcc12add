"""Pack what the machines of a cluster need of a run, in one process: each start of Python takes time.

usage: spark_pack.py FOLDER EXECUTORS PYTHON [project]

In FOLDER, the run's, it writes

    control/modules.zip        the project's Python modules
    control/executors.tar.gz   see `executors_python.py`, for EXECUTORS and PYTHON; not if PYTHON is ""
    control/project.tar.gz     with `project`: see `spark_node.py`
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import project_modules  # noqa: E402 - this program is started without a path


def main():
    """Write the archives."""
    folder, executors, python = sys.argv[1:4]
    project, control = os.path.join(folder, "project"), os.path.join(folder, "control")
    project_modules.pack(project, os.path.join(control, "modules.zip"))
    if python:
        import executors_python

        executors_python.pack(os.path.join(control, "executors.tar.gz"), folder, executors, python)
    if sys.argv[4:]:
        import spark_node

        spark_node.pack(project, os.path.dirname(HERE), os.path.join(control, "project.tar.gz"))


if __name__ == "__main__":
    main()

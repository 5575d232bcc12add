"""Start a script in spark-submit like any other script. usage: spark_driver.py SCRIPT [ARGUMENT...]

spark-submit merges a script's standard error into standard output, and gives it a standard input that never
ends. Here, standard error becomes that of spark-submit, and standard input is empty.
"""

import os
import sys


def main():
    """Exec the script in this process; it finds Spark by its environment."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        errors = os.open("/proc/%d/fd/2" % os.getppid(), os.O_WRONLY | os.O_APPEND)
    except OSError:
        pass  # not Linux, or not a file: the streams stay merged
    else:
        os.dup2(errors, 2)
    # Spark's settings on this machine may have replaced PYTHONPATH.
    site = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.environ.get("PYTHONPATH", "")
    if site not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join([site] + ([path] if path else []))
    os.execv(sys.executable, [sys.executable] + sys.argv[1:])  # noqa: S606


if __name__ == "__main__":
    main()

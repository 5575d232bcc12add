"""Begin a script under spark-submit as it begins everywhere else. usage: spark_driver.py SCRIPT [ARGUMENT...]

spark-submit mixes what a script writes to standard error into its standard output, and gives it a standard
input that never ends. Here the one goes where spark-submit's own goes, and the other is empty.
"""

import os
import sys


def main():
    """Become the script, in the same process: it finds Spark by its environment."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    try:
        errors = os.open("/proc/%d/fd/2" % os.getppid(), os.O_WRONLY | os.O_APPEND)
    except OSError:
        pass  # no Linux, or no file: then it stays mixed
    else:
        os.dup2(errors, 2)
    # Settings of Spark on this machine may have put another path in place of ours.
    site = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.environ.get("PYTHONPATH", "")
    if site not in path.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join([site] + ([path] if path else []))
    os.execv(sys.executable, [sys.executable] + sys.argv[1:])  # noqa: S606


if __name__ == "__main__":
    main()

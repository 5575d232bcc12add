"""Run spark-submit for YARN, and stay with the application until its end: the command on a head node.

    yarn_start.py MODE TAG SPARK-SUBMIT [ARGUMENT...]
    yarn_start.py end-MODE TAG SPARK-SUBMIT           end what a killed one has left

`yarn_submit.py` does that. This program is what it starts with: if the markers on this machine say that the
cluster has the archives, spark-submit begins at once, and the modules are imported and the cluster is asked
while Java starts. Should an archive be gone, it is stored, and spark-submit begins again.
"""

import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import hadoop_archives  # noqa: E402 - this program is started without a path


def main():
    """The exit code of the run."""
    mode, words = sys.argv[1], sys.argv[3:]
    process = None
    if not mode.startswith("end-"):
        control = os.path.join(os.environ["AMLEXEC_RUN_FOLDER"], "control")
        known = hadoop_archives.known(words, hadoop_archives.spark_home(words[0]), control)
        process = known and subprocess.Popen(known, stdin=subprocess.DEVNULL)
        # Until it is known what is to be done then.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    import yarn_submit

    return yarn_submit.main(mode, sys.argv[2], words, process and (known, process))


if __name__ == "__main__":
    sys.exit(main())

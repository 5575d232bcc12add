"""The results of a driver on a node, written to the cluster's file system by its REST interface.

Without it, Hadoop's own client does that, which takes seconds to start: see `spark_node.py`.
"""

import os

import hadoop_files
import hadoop_site


def results():
    """The folder AMLEXEC_SPARK_RETURN in `.amlexec/runs` in the user's home folder; None without REST."""
    found = hadoop_site.settings("core-site.xml", "hdfs-site.xml", folders=[hadoop_site.SENT])
    files = hadoop_files.files(found, "")
    if not files.namenodes:
        return None
    files.program = []  # a node needs no program of Hadoop's
    name = os.environ["AMLEXEC_SPARK_RETURN"]
    return Results(files, "%s/.amlexec/runs/%s" % (hadoop_files.home(found), name))


class Results:
    """A folder with results, whose operations raise HadoopError, OSError or ValueError."""

    def __init__(self, files, folder):
        """No I/O."""
        self.files, self.folder = files, folder

    def exit_code(self):
        """The exit code of an earlier attempt; None if there is none."""
        path = self.folder + "/exit_code"
        if self.files.size(path) is None:
            return None
        self.files.get(path, "amlexec-earlier")
        with open("amlexec-earlier") as file:
            return int(file.read())

    def send(self, packed, exit_code):
        """Write an archive, and then the file with the exit code, each atomically."""
        self.files.delete(self.folder + "/results.tar")  # of an earlier attempt
        self.files.put(packed, self.folder + "/results.tar")
        self.files.put(exit_code, self.folder + "/exit_code")
        os.unlink(packed)

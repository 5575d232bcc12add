"""What a cluster with YARN has, for `computetarget check`. Prints lines "KEY VALUE".

hadoop FOLDER        Hadoop's configuration; missing if there is none
nodes N MB VCORES    members of the cluster, and what is free;   nodes_error WHY
queue NAME           for each queue that takes applications
files ADDRESS        the user's home folder, which can be written to;   files_error WHY
files_slow WHY       no NameNode can be asked: the command `hadoop fs` has written
"""

import os

import hadoop_files
import hadoop_site
import yarn_rest
from hadoop_site import HadoopError


def main():
    """Ask the ResourceManager and the file system."""
    folder = os.environ.get("HADOOP_CONF_DIR") or os.environ.get("YARN_CONF_DIR")
    if not folder and os.path.exists("/etc/hadoop/conf/yarn-site.xml"):
        folder = os.environ["HADOOP_CONF_DIR"] = "/etc/hadoop/conf"
    if not folder:
        return
    print("hadoop %s" % folder)
    settings = hadoop_site.settings("core-site.xml", "hdfs-site.xml", "yarn-site.xml")
    yarn = yarn_rest.Yarn(yarn_rest.resource_managers(settings))
    try:
        free = yarn.free()
        print("nodes %d %d %d" % free if free else "nodes_error its web interface does not answer")
        for name in yarn.queues():
            print("queue %s" % name)
    except HadoopError as error:
        print("nodes_error %s" % error)
    files = hadoop_files.files(settings, os.environ.get("SPARK_HOME", ""))
    path = "%s/.amlexec/archives/.check.%d" % (hadoop_files.home(settings), os.getpid())
    try:
        files.put(os.devnull, path)
    except (HadoopError, OSError) as error:
        print("files_error %s" % error)
    else:
        files.delete(path)
        print("files %s" % hadoop_files.home(settings))
        if files.why:
            print("files_slow %s" % files.why)


if __name__ == "__main__":
    main()

"""Hadoop's daemons and command lines as programs of a machine, and what configures them.

The jars are at `JARS`, Java is at JAVA_HOME. The machines are in `tests/support/yarn.py`; the host that they
know as `head` has the ResourceManager and the NameNode.
"""

from __future__ import annotations

import io
import tarfile

__all__ = ["CONF", "DAEMONS", "JARS", "LOG", "PROGRAMS", "SITES", "files", "site", "tar"]

CONF = "/etc/hadoop/conf"
JARS = "/opt/hadoop"
SITES = {
    "core-site": {
        "fs.defaultFS": "hdfs://head:8020",
        "hadoop.tmp.dir": "/var/hadoop",
    },
    "hdfs-site": {
        "dfs.replication": "1",
        "dfs.namenode.safemode.extension": "0",
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
    },
    "yarn-site": {
        "yarn.resourcemanager.hostname": "head",
        # By default, a second: a driver and an executor would wait for it. Daemons are never idle.
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": "250",
        # After its restart, nodes and applications would come back half a minute later.
        "yarn.resourcemanager.connect.retry-interval.ms": "500",
        # Nothing would get a container in the first 10 s of one.
        "yarn.resourcemanager.work-preserving-recovery.scheduling-wait-ms": "500",
        "yarn.resourcemanager.am.max-attempts": "4",
        "yarn.resourcemanager.recovery.enabled": "true",
        "yarn.resourcemanager.store.class": "org.apache.hadoop.yarn.server.resourcemanager.recovery."
        "FileSystemRMStateStore",
        "yarn.resourcemanager.fs.state-store.uri": "file:///var/hadoop/states",
        "yarn.nodemanager.resource.memory-mb": "3072",
        "yarn.nodemanager.resource.cpu-vcores": "8",
        "yarn.nodemanager.vmem-check-enabled": "false",
        "yarn.nodemanager.log-dirs": "/var/hadoop/logs",
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "100",
        "yarn.nodemanager.container-monitor.interval-ms": "1000",
        # A node that ends would wait for its containers for 3 s more.
        "yarn.nodemanager.process-kill-wait.ms": "2000",
        "yarn.scheduler.minimum-allocation-mb": "128",
    },
    "capacity-scheduler": {
        "yarn.scheduler.capacity.root.queues": "default,narrow",
        "yarn.scheduler.capacity.root.default.capacity": "99",
        "yarn.scheduler.capacity.root.narrow.capacity": "1",
        "yarn.scheduler.capacity.root.narrow.maximum-capacity": "1",
        "yarn.scheduler.capacity.maximum-am-resource-percent": "1.0",
    },
}
LOG = """\
log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{HH:mm:ss} %p %c{1}: %m%n
"""
DAEMONS = {
    "namenode": "org.apache.hadoop.hdfs.server.namenode.NameNode",
    "datanode": "org.apache.hadoop.hdfs.server.datanode.DataNode",
    "resourcemanager": "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager",
    "nodemanager": "org.apache.hadoop.yarn.server.nodemanager.NodeManager",
}
_OPENED = "--add-opens=java.base/java.lang=ALL-UNNAMED"
_CLASS_PATH = f"{JARS}/*:/opt/azure/*"
_DAEMON = f"""\
#!/bin/sh
exec "$JAVA_HOME/bin/java" -Xmx256m {_OPENED} -cp '{CONF}:{_CLASS_PATH}' "$@"
"""
_PROGRAM = f"""\
#!/bin/sh
cli=org.apache.hadoop.yarn.client.cli
case ${{0##*/}}.$1 in
yarn.application) class=$cli.ApplicationCLI ;;
yarn.logs) class=$cli.LogsCLI; shift ;;
yarn.node) class=$cli.NodeCLI; shift ;;
yarn.rmadmin) class=$cli.RMAdminCLI; shift ;;
*.haadmin) class=org.apache.hadoop.hdfs.tools.DFSHAAdmin; shift ;;
*.dfsadmin) class=org.apache.hadoop.hdfs.tools.DFSAdmin; shift ;;
*.fs | *.dfs) class=org.apache.hadoop.fs.FsShell; shift ;;
esac
conf=${{HADOOP_CONF_DIR:-{CONF}}}
exec "$JAVA_HOME/bin/java" -Xmx128m {_OPENED} -cp "$conf:{_CLASS_PATH}" "$class" "$@"
"""
PROGRAMS = {"daemon": _DAEMON, **dict.fromkeys(("yarn", "hdfs", "hadoop"), _PROGRAM)}
"""What is in `/usr/local/bin`: `daemon CLASS`, and Hadoop's own names."""


def files(sites: dict[str, dict[str, str]] | None = None) -> dict[str, str]:
    """The files of a machine by their paths: the programs, and what configures them."""
    return {
        **{f"{CONF}/{name}.xml": site(values) for name, values in (sites or SITES).items()},
        f"{CONF}/log4j.properties": LOG,
        # Pages that Hadoop's jars don't have, and that no test looks at.
        **{f"{CONF}/webapps/{name}/index.html": "" for name in ("hdfs", "datanode")},
        **{f"/usr/local/bin/{name}": text for name, text in PROGRAMS.items()},
    }


def site(values: dict[str, str]) -> str:
    """A file of Hadoop's settings."""
    lines = [
        f"<property><name>{name}</name><value>{value}</value></property>" for name, value in values.items()
    ]
    return "\n".join(["<configuration>", *lines, "</configuration>", ""])


def tar(files: dict[str, str]) -> bytes:
    """An archive of files by their paths, to be unpacked at `/`; those in a folder `bin` can be executed."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name.lstrip("/"))
            member.size, member.mode = len(text.encode()), 0o755 if "/bin/" in name else 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    return held.getvalue()

"""A YARN cluster with HDFS: a head node to log in to, and two nodes without Python, each a container.

The daemons are Hadoop's own, each in a process of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import sys
import tarfile
import time
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from amlexec.docker import archives, containers
from amlexec.errors import TargetError
from amlexec.runtime import SITE
from tests.conftest import PATIENCE
from tests.engines import azurite, fast_java, hadoop_azure, hadoop_programs, hadoop_versions, ssh_host
from tests.engines.fixtures import need
from tests.engines.ssh_host import QUIET
from tests.support.hosts import Host
from tests.support.places import ClusterProject, Place

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from http.client import HTTPResponse

    from amlexec.docker.client import Engine
    from tests.engines.spark import Installed
    from tests.support.hosts import Client
    from tests.support.places import Shop

__all__ = [
    "CONTAINER",
    "NODES",
    "ON_STORAGE",
    "YarnCluster",
    "YarnProject",
    "hadoop_parts",
    "seldom",
    "storage",
    "yarn",
    "yarn_of_module",
    "yarn_project_on",
]

NODES = ("node1", "node2")
_STORAGE_HOST = f"{azurite.ACCOUNT}.blob.core.windows.net"
"""To the containers, an address of this machine."""
_STORAGE_PORT = 10000
STORAGE = f"{_STORAGE_HOST}:{_STORAGE_PORT}"
CONTAINER = f"wasb://amlexec@{STORAGE}"
"""A file system in Azure's storage."""
ON_STORAGE = "/etc/hadoop/wasb"
"""The configuration of Hadoop on the head node in which it is the default file system."""
_SITES = {
    **hadoop_programs.SITES,
    "core-site": {**hadoop_programs.SITES["core-site"], f"fs.azure.account.key.{STORAGE}": azurite.KEY},
}
_SPARK = """\
spark.driver.memory 512m
spark.executor.memory 512m
spark.yarn.am.memory 256m
spark.ui.enabled false
spark.yarn.scheduler.heartbeat.interval-ms 300
spark.yarn.report.interval 200ms
"""


def seldom(true: Callable[[], bool], what: str) -> None:
    """Wait until something is so, which is asked for by a program or a daemon: they need the processors."""
    until = time.monotonic() + 2 * PATIENCE
    while not true():
        assert time.monotonic() < until, f"not within {2 * PATIENCE:g} s: {what}"
        time.sleep(0.5)


class YarnCluster(Host):
    """The head node, with the nodes' containers beside it."""

    gateway = ""
    active = "head"
    """The node whose ResourceManager and NameNode answer."""
    scheme = "http"
    ports: ClassVar[dict[str, int]] = {"yarn": 8088, "hdfs": 9870}
    trusted: ssl.SSLContext | None = None
    image = ssh_host.REFERENCE
    nodes: ClassVar[tuple[str, ...]] = NODES
    sites: ClassVar[dict[str, dict[str, str]]] = _SITES

    def __init__(self, engine: Engine, folder: Path) -> None:
        super().__init__(engine, folder)
        self.name = f"amlexec-test-yarn-{uuid.uuid4().hex[:8]}"
        self._ips: dict[str, str] = {}

    def container(self, node: str) -> str:
        """The name of a node's container."""
        return self.name if node == "head" else f"{self.name}-{node}"

    def serve(self, parts: Installed) -> None:
        """Start everything, and wait until both nodes are members."""
        with self.engine.asked() as api:
            api.create_network(self.name)
            self.gateway = api.inspect_network(self.name)["IPAM"]["Config"][0]["Gateway"]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        home = parts.home(hadoop_versions.spark_version())
        jars = f"{home}/jars:/opt/spark/jars:ro"
        binds = [f"{hadoop_versions.folder()}:{hadoop_programs.JARS}:ro", *fast_java.binds()]
        if hadoop_azure.is_there():
            binds.append(f"{hadoop_azure.folder()}:/opt/azure:ro")
        self._start("head", [f"{home}:/opt/spark:ro", *binds], parts)
        python = f"{home}/python/lib:/opt/spark/python/lib:ro"
        for node in self.nodes:
            self._start(node, [jars, python, *binds], parts)
        assert self._answers(PATIENCE), "sshd does not come up"
        self._begin()

    def _begin(self) -> None:
        """Start the daemons."""
        self.daemon("head", "resourcemanager")
        for node in NODES:
            self.run(node, "rm -rf /usr/bin/python3* /usr/lib/python3*; ! command -v python3")
            self.daemon(node, "nodemanager")
        self.format()
        self.daemon("head", "namenode")
        # One holds all data: each JVM takes seconds to start.
        self.daemon(NODES[0], "datanode")
        self._open()

    def _open(self) -> None:
        """Wait for the nodes, and make the users' home folders."""
        self.until_nodes(len(NODES))
        seldom(lambda: self.data_nodes() == 1, "HDFS has the node with the data")
        seldom(lambda: self.hdfs(f"/user/{QUIET}", "MKDIRS"), "HDFS opens")
        assert self.hdfs(f"/user/{QUIET}", "SETOWNER", owner=QUIET)
        self.new_user("ada")

    def format(self) -> None:
        """Make the folder of the NameNode."""
        self.run("head", f"daemon {hadoop_programs.DAEMONS['namenode']} -format -force 2>&1")

    def new_user(self, name: str) -> None:
        """Make a user who can log in to the head node and has a home folder in HDFS."""
        self.run("head", f"useradd -m -s /bin/bash {name}")
        assert self.hdfs(f"/user/{name}", "MKDIRS")
        assert self.hdfs(f"/user/{name}", "SETOWNER", owner=name)

    def _start(self, node: str, binds: list[str], parts: Installed) -> None:
        host: dict[str, Any] = {"NetworkMode": self.name, "Init": True, "Binds": binds}
        host["ExtraHosts"] = [f"{_STORAGE_HOST}:{self.gateway}"]
        if node == "head":
            host["PortBindings"] = {f"{self.port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(self.port)}]}
        settings = {
            "Image": self.image,
            "Hostname": node,
            "Cmd": ["sh", "/etc/ssh/start"] if node == "head" else ["sleep", "infinity"],
            "Env": [f"JAVA_HOME={fast_java.home()}", f"HADOOP_CONF_DIR={hadoop_programs.CONF}"],
            "ExposedPorts": {f"{self.port}/tcp": {}} if node == "head" else {},
            "HostConfig": host,
            "NetworkingConfig": {"EndpointsConfig": {self.name: {"Aliases": [node]}}},
        }
        name = self.container(node)
        containers.create(self.engine, settings, name=name)
        files = hadoop_programs.files(self.sites)
        if node == "head":
            self._put()
            files |= {f"/opt/ours/{one.name}": one.read_text() for one in SITE.glob("amlexec/hadoop_*.py")}
            sites = {**self.sites, "core-site": {**self.sites["core-site"], "fs.defaultFS": CONTAINER}}
            files |= {
                f"{ON_STORAGE}/{site}.xml": hadoop_programs.site(values) for site, values in sites.items()
            }
            # As on real head nodes: what the connector says at its end comes after the errors.
            files[f"{ON_STORAGE}/log4j.properties"] = hadoop_programs.LOG.replace("WARN", "INFO")
            files["/etc/spark/conf/spark-defaults.conf"] = (
                f"{_SPARK}spark.yarn.jars local:/opt/spark/jars/*\n"
            )
            files["/etc/spark/plain/spark-defaults.conf"] = _SPARK
            home = parts.home(hadoop_versions.spark_version())
            modules = sorted(path.name for path in Path(home, "python/lib").glob("*.zip"))
            told = {
                "JAVA_HOME": fast_java.home(),
                "SPARK_HOME": "/opt/spark",
                "SPARK_CONF_DIR": "/etc/spark/conf",
                "HADOOP_CONF_DIR": hadoop_programs.CONF,
                "PATH": "/opt/spark/bin:/usr/local/bin:/usr/bin:/bin",
                # The nodes have them: each application would send 26 MB.
                "PYSPARK_ARCHIVES_PATH": ",".join(f"local:/opt/spark/python/lib/{name}" for name in modules),
            }
            text = "".join(f"export {name}={value}\n" for name, value in told.items())
            files |= {f"/home/{QUIET}/.bashrc": text, "/etc/skel/.bashrc": text}
            configuration = archives.get(self.engine, name, "/etc/ssh/sshd_config")
            with configuration as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as archive:
                member = archive.extractfile("sshd_config")
                assert member is not None
                files["/etc/ssh/sshd_config"] = member.read().decode().replace("127.0.0.1", "0.0.0.0")
        archives.put(self.engine, name, "/", hadoop_programs.tar(files))
        containers.start(self.engine, name)

    def daemon_script(self, daemon: str, options: str = "") -> str:
        """Shell text that runs a daemon in the foreground."""
        return f"daemon {hadoop_programs.DAEMONS[daemon]} {options} >/tmp/{daemon}.log 2>&1"

    def daemon(self, node: str, *daemons: str, options: str = "") -> None:
        """Start daemons on a node; their logs are in its /tmp."""
        for daemon in daemons:
            # One that was told to end has its ports until it is gone.
            script = f"while kill -0 $(cat /tmp/{daemon}.pid) 2>/dev/null; do sleep 0.1; done 2>/dev/null; "
            script += f"echo $$ >/tmp/{daemon}.pid; exec {self.daemon_script(daemon, options)}"
            self.run(node, script, detach=True)

    def end(self, node: str, daemon: str, signal: str = "KILL") -> None:
        """End a daemon."""
        self.run(node, f"kill -{signal} $(cat /tmp/{daemon}.pid)")

    def run(self, node: str, script: str, *, user: str = "root", detach: bool = False) -> str:
        """What a script prints on a node. Fails where the script fails."""
        with self.engine.asked() as api:
            made = api.exec_create(self.container(node), ["sh", "-c", script], user=user)
            output = api.exec_start(made, detach=detach)
            if detach:
                return ""
            code = api.exec_inspect(made)["ExitCode"]
        assert code == 0, f"{script}: {code}: {output.decode(errors='replace')}"
        return str(output.decode(errors="replace"))

    def ours(self, script: str, *, detach: bool = False) -> str:
        """What a script prints on the head node that uses our `files` and `home` of the cluster."""
        text = "import sys, hadoop_archives, hadoop_files, hadoop_site\n"
        text += "settings = hadoop_site.settings('core-site.xml', 'hdfs-site.xml')\n"
        text += "files, home = hadoop_files.files(settings, '/opt/spark'), hadoop_files.home(settings)\n"
        return self.run(
            "head", f"cd /opt/ours && python3 - <<'END'\n{text}{script}\nEND", user=QUIET, detach=detach
        )

    def rest(self, path: str) -> Any:
        """What the ResourceManager answers."""
        with self._opened("yarn", f"/ws/v1/cluster/{path}") as answer:
            return json.load(answer)

    def hdfs(self, path: str, operation: str, **options: str) -> bool:
        """Whether an operation of WebHDFS that changes something succeeds, as the administrator."""
        words = "".join(f"&{key}={value}" for key, value in options.items())
        method = "DELETE" if operation == "DELETE" else "PUT"
        try:
            with self._opened("hdfs", f"/webhdfs/v1{path}?op={operation}&user.name=root{words}", method):
                return True
        except OSError:
            return False

    def listed(self, path: str) -> list[str]:
        """The names in a folder of HDFS; none if it does not exist."""
        try:
            with self._opened("hdfs", f"/webhdfs/v1{path}?op=LISTSTATUS&user.name=root") as answer:
                found = json.load(answer)["FileStatuses"]["FileStatus"]
        except OSError:
            return []
        return sorted(one["pathSuffix"] for one in found)

    def size(self, path: str) -> int:
        """The size of a file in HDFS."""
        with self._opened("hdfs", f"/webhdfs/v1{path}?op=GETFILESTATUS&user.name=root") as answer:
            return int(json.load(answer)["FileStatus"]["length"])

    def _opened(self, daemon: str, path: str, method: str = "GET") -> HTTPResponse:
        """The answer of one of the active daemons."""
        node = self.active
        if node not in self._ips:
            with self.engine.asked() as api:
                networks = api.inspect_container(self.container(node))["NetworkSettings"]["Networks"]
            self._ips[node] = str(networks[self.name]["IPAddress"])
        address = f"{self.scheme}://{self._ips[node]}:{self.ports[daemon]}{path}"
        asked = urllib.request.Request(address, method=method)
        answer: HTTPResponse = urllib.request.urlopen(asked, timeout=20, context=self.trusted)
        return answer

    def until_nodes(self, number: int) -> None:
        """Wait until the cluster has this number of nodes. Seldom asked: the daemons need the processors."""
        until = time.monotonic() + 2 * PATIENCE
        while self.active_nodes() != number:
            assert time.monotonic() < until, f"{self.name} has not {number} nodes: {self._said()}"
            time.sleep(0.5)

    def _said(self) -> str:
        """The last lines of the nodes' logs."""
        return "\n".join(self.run(node, "tail -n 8 /tmp/nodemanager.log") for node in self.nodes)

    def active_nodes(self) -> int:
        """How many nodes are members of the cluster."""
        try:
            found = self.rest("metrics")
            return int(found.get("clusterMetrics", found)["activeNodes"])
        except (OSError, ValueError, KeyError):
            return -1  # it is starting

    def data_nodes(self) -> int:
        """How many nodes HDFS has for its data."""
        query = "qry=Hadoop:service=NameNode,name=FSNamesystemState"
        try:
            with self._opened("hdfs", f"/jmx?{query}") as answer:
                return int(json.load(answer)["beans"][0]["NumLiveDataNodes"])
        except (OSError, ValueError, LookupError):
            return -1  # it is starting

    def applications(self, tag: str = "") -> list[dict[str, Any]]:
        """All applications, or those with this tag."""
        found = self.rest("apps")["apps"] or []
        listed = list(found["app"] if isinstance(found, dict) else found)
        return [each for each in listed if not tag or tag in each["applicationTags"].split(",")]

    def application(self, identity: str) -> dict[str, Any]:
        """One application."""
        found: dict[str, Any] = self.rest(f"apps/{identity}")
        return dict(found.get("app", found))

    def remove(self) -> None:
        """Remove the containers and their network."""
        self.disconnect()
        for node in (*self.nodes, "head"):
            with contextlib.suppress(TargetError):
                containers.remove(self.engine, self.container(node), force=True)
        with self.engine.asked() as api:
            api.remove_network(self.name)


class YarnProject(ClusterProject):
    """A project that runs on YARN."""

    mode = "cluster"

    def compute(self, *lines: str, base: str = "", master: str = "yarn") -> str:
        """The text of the `.compute` file, with more lines."""
        return super().compute(f"yarnDeployMode: {self.mode}", *lines, base=base, master=master)

    def configure(self, *lines: str) -> None:
        """Write the `.runconfig` file, with more lines."""
        told = [f"Target: {self.place.name}", "Framework: PySpark", *lines]
        self.write(f"aml_config/{self.place.name}.runconfig", "\n".join(told) + "\n")
        self.write("aml_config/cluster.compute", self.compute())
        self.settings()

    def submitted(self, *words: str) -> tuple[int, bytes, bytes]:
        """The exit code and the output of `submit`: however slow YARN and Spark are on a busy machine."""
        command = (sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "cluster", *words)
        process = self.start(*command)
        out, err = process.communicate(timeout=3 * PATIENCE)
        return process.returncode, out, err

    def settings(self, **values: str) -> None:
        """Write the Spark dependencies file; `_` in names is `.`."""
        told = {
            "spark.executor.instances": "1",
            **{key.replace("_", "."): each for key, each in values.items()},
        }
        text = "".join(f"  {key}: '{value}'\n" for key, value in told.items())
        self.write("aml_config/spark_dependencies.yml", f"configuration:\n{text}")


@contextlib.contextmanager
def yarn_cluster(
    engine: Engine, parts: Installed, folder: Path, kind: type[YarnCluster] = YarnCluster
) -> Iterator[YarnCluster]:
    """A cluster of one's own."""
    found = kind(engine, folder)
    try:
        found.serve(parts)
        yield found
    finally:
        found.remove()


@pytest.fixture(scope="session")
def hadoop_parts(spark_parts: Installed) -> Installed:
    """Spark and Java on this machine, and Hadoop's daemons."""
    need("hadoop", "Hadoop", hadoop_versions.is_there)
    return spark_parts


@pytest.fixture(scope="module")
def yarn_of_module(
    ssh_image: str, machines: Engine, hadoop_parts: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[YarnCluster]:
    """One cluster for a file of tests, since its daemons are never idle; take `yarn`."""
    with yarn_cluster(machines, hadoop_parts, tmp_path_factory.mktemp("yarn")) as found:
        yield found


@pytest.fixture
def yarn(yarn_of_module: YarnCluster, client: Client) -> YarnCluster:
    """A cluster that runs, shared by all tests: leave it as it was found."""
    client.lets_in(yarn_of_module)
    return yarn_of_module


@pytest.fixture
def storage(yarn: YarnCluster, tmp_path: Path) -> Iterator[YarnCluster]:
    """That cluster, with `CONTAINER` beside HDFS."""
    need("hadoop_azure", "Hadoop's connector to Azure's storage", hadoop_azure.is_there)
    need("azurite", "Azurite", azurite.is_there)
    with azurite.serve_plain(tmp_path, yarn.gateway, _STORAGE_PORT):
        yield yarn


@pytest.fixture
def yarn_project(yarn: YarnCluster, shop: Shop, tmp_path: Path) -> YarnProject:
    """A project that runs on that cluster, with a Python that the user manages."""
    return yarn_project_on(yarn, shop, tmp_path)


def yarn_project_on(cluster: YarnCluster, shop: Shop, folder: Path) -> YarnProject:
    """Such a project on any cluster, in the folder `demo` of that folder."""
    place = Place("cluster", "cluster", mounts=False)
    return YarnProject(folder / "demo", shop, place, cluster)  # type: ignore[arg-type]

"""A Slurm cluster: a login node with sshd and slurmctld, two compute nodes, one shared home folder.

The nodes are containers on one Docker network that goes with them. With `AMLEXEC_TEST_SLURM=accounting`,
slurmdbd and MariaDB on the login node keep accounts.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import tarfile
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import archives, containers
from amlexec.errors import TargetError
from tests.conftest import ProjectFolder
from tests.engines import slurm_versions as image
from tests.engines.fixtures import need
from tests.engines.ssh_host import QUIET
from tests.support.hosts import _CONFIGURATION, Host
from tests.support.places import RemoteProject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from amlexec.docker.client import Engine
    from tests.conftest import Done
    from tests.support.hosts import Client

__all__ = [
    "NODES",
    "SMALL",
    "WAIT",
    "Lab",
    "SlurmHead",
    "SlurmProject",
    "lab",
    "program",
    "slurm_head",
    "slurm_head_of_session",
    "slurm_image",
]

NODES = ("c1", "c2")
SMALL = "/small"
"""A folder of a few megabytes that all nodes share."""
_SLURM = """\
ClusterName=lab
SlurmctldHost=login
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_interval=1,enable_user_top
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SlurmdTimeout=600
KillWait=30
CompleteWait=0
MinJobAge=300
EnforcePartLimits=NO
SlurmctldLogFile=/var/log/slurm/ctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
NodeName=c[1-2] CPUs=16 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=c[1-2] Default=YES MaxTime=60 DefaultTime=10 PriorityTier=10 State=UP
PartitionName=low Nodes=c[1-2] MaxTime=60 DefaultTime=10 PriorityTier=1 State=UP
"""
_MUNGE = """\
mkdir -p /run/munge /var/log/munge /var/spool/slurmctld /var/spool/slurmd /var/log/slurm
chown -R munge:munge /etc/munge /run/munge /var/log/munge
chmod 700 /etc/munge
chmod 755 /run/munge
chmod 400 /etc/munge/munge.key
su -s /bin/sh munge -c '/usr/sbin/munged --force'
"""
_ACCOUNTED = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=login
AccountingStorageEnforce=associations,limits
"""
_SLURMDBD = """\
AuthType=auth/munge
DbdHost=login
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
PidFile=/run/slurmdbd.pid
LogFile=/var/log/slurm/slurmdbd.log
"""
_ACCOUNTING = f"""\
mkdir -p /run/mysqld
chown mysql /run/mysqld
[ -d /var/lib/mysql/mysql ] || mariadb-install-db --user=mysql >/dev/null
mariadbd --user=mysql --skip-networking --innodb-buffer-pool-size=32M >/var/log/slurm/mariadb.log 2>&1 &
until mariadb-admin ping >/dev/null 2>&1; do sleep 0.1; done
/usr/sbin/slurmdbd
until sacctmgr -i add cluster lab >/dev/null 2>&1; do sleep 0.1; done
sacctmgr -i add account research >/dev/null
sacctmgr -i add user root,{QUIET} account=research >/dev/null
"""
_SSHD = _CONFIGURATION.format(port=22).replace("ListenAddress 127.0.0.1", "ListenAddress 0.0.0.0")
_NODE = f"set -e\n{_MUNGE}exec /usr/sbin/slurmd -D\n"
_LOGIN = f"set -e\n{_MUNGE}rm -f /run/nologin\n{{controller}}\nexec sh /etc/ssh/start\n"
_CONTROLLER = "/usr/sbin/slurmctld"


class SlurmHead(Host):
    """A login node; `nodes` are the names of the containers of its compute nodes."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        super().__init__(engine, folder)
        self._key = os.urandom(1024)
        self.nodes = {node: f"{self.name}-{node}" for node in NODES}

    def create(self, *, of: str = "", **settings: object) -> None:
        """Make the network, the shared folder and the three machines, and wait until the nodes are idle."""
        with self.engine.asked() as api:
            api.create_network(self.name, driver="bridge")
            api.create_volume(f"{self.name}-home")
            small = {"type": "tmpfs", "device": "tmpfs", "o": "size=4m,mode=1777"}
            api.create_volume(f"{self.name}-small", driver_opts=small)
        for node, name in self.nodes.items():
            containers.create(self.engine, self._wanted(of or image.reference(), node, settings), name=name)
            self._put_slurm(name, _NODE)
            containers.start(self.engine, name)
        for attempt in range(5):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            ports = {"22/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(self.port)}]}
            wanted = self._wanted(of or image.reference(), "login", {"PortBindings": ports, **settings})
            containers.create(self.engine, {**wanted, "ExposedPorts": {"22/tcp": {}}}, name=self.name)
            self._put()
            started = f"({_ACCOUNTING}{_CONTROLLER}) &" if image.has_accounting() else _CONTROLLER
            self._put_slurm(self.name, _LOGIN.format(controller=started))
            with contextlib.suppress(TargetError):  # another process may have taken the port
                containers.start(self.engine, self.name)
                if self._answers(2.0 * (attempt + 1)):
                    break
            containers.remove(self.engine, self.name, force=True)
        else:
            pytest.fail(f"{self.name} does not come up")
        self.up()

    def up(self) -> None:
        """Wait until both nodes take jobs."""
        ready = "sinfo -h -N -p main -o %t | grep -cE '^(idle|mix)$'"
        self.until(f'[ "$({ready})" = {len(NODES)} ]', pause=0.1)

    def remove(self) -> None:
        """Remove everything."""
        self.unpause()
        self.disconnect()
        for name in (self.name, *self.nodes.values()):
            containers.remove(self.engine, name, force=True)
        with self.engine.asked() as api, contextlib.suppress(Exception):
            api.remove_network(self.name)
        for volume in ("home", "small"):
            with self.engine.asked() as api, contextlib.suppress(Exception):
                api.remove_volume(f"{self.name}-{volume}", force=True)

    def stop_controller(self) -> None:
        """End slurmctld, and wait until it is gone."""
        self.ssh("pkill -x slurmctld; while pgrep -x slurmctld >/dev/null; do sleep 0.05; done")

    def start_controller(self, *options: str) -> None:
        """Start slurmctld again."""
        self.ssh(" ".join(("slurmctld", *options)))
        self.up()

    def on_node(self, node: str, script: str) -> str:
        """Run a script as root on a compute node, and what it prints."""
        out: list[bytes] = []
        code = containers.execute(self.engine, self.nodes[node], ["sh", "-c", script], out.append)
        assert code == 0, out
        return b"".join(out).decode(errors="replace")

    def job(self, run_id: str) -> str:
        """The number of a run's job."""
        return self.ssh(f"cat /home/{QUIET}/.amlexec/runs/{run_id}/control/job").split()[0]

    def _wanted(self, of: str, node: str, settings: dict[str, object]) -> dict[str, object]:
        binds = [f"{self.name}-home:/home", f"{self.name}-small:{SMALL}"]
        host = {"NetworkMode": self.name, "Init": True, "Binds": binds, **settings}
        ends = {self.name: {"Aliases": [node]}}
        start = ["sh", "/etc/slurm/start"]
        networking = {"EndpointsConfig": ends}
        return {
            "Image": of,
            "Hostname": node,
            "Cmd": start,
            "HostConfig": host,
            "NetworkingConfig": networking,
        }

    def _put_slurm(self, name: str, start: str) -> None:
        text = _SLURM
        if image.has_accounting():
            text = text.replace("AccountingStorageType=accounting_storage/none\n", _ACCOUNTED)
        files = {
            "slurm/slurm.conf": (text.encode(), 0o644),
            "slurm/slurmdbd.conf": (_SLURMDBD.encode(), 0o600),
            "slurm/start": (start.encode(), 0o755),
            "munge/munge.key": (self._key, 0o400),
            # In the place of that of a machine on the network of this one.
            "ssh/sshd_config": (_SSHD.encode(), 0o644),
        }
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w") as archive:
            for path, (data, mode) in files.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(data), mode
                archive.addfile(member, io.BytesIO(data))
        archives.put(self.engine, name, "/etc", held.getvalue())


class SlurmProject(RemoteProject):
    """A project that runs on a Slurm cluster."""

    host: SlurmHead

    def compute(self, *lines: str, base: str = "") -> str:
        """The text of the `.compute` file, with more lines."""
        assert not base, "these machines have no images"
        told = ["type: slurm", f"address: {self.host.address}", f"username: {QUIET}"]
        told += [f"userManagedEnvironment: {str(not self.place.is_prepared).lower()}"]
        return "\n".join([*told, "pythonLocation: python3", *lines]) + "\n"


WAIT = """\
import os, signal, sys, time
signal.signal(signal.SIGUSR2, lambda *_: print("usr2", flush=True))
print("begun", flush=True)
while not os.path.exists("go"):
    time.sleep(0.05)
"""


class Lab(ProjectFolder):
    """A project with one target on the cluster."""

    def __init__(self, root: Path, head: SlurmHead) -> None:
        super().__init__(root)
        self.head = head
        self.write("wait.py", WAIT)
        self.target()

    def target(self, *lines: str, name: str = "lab") -> None:
        """Write both files of the target."""
        told = ["type: slurm", f"address: {self.head.address}", f"username: {QUIET}"]
        told += ["userManagedEnvironment: true", "pythonLocation: python3", *lines]
        self.write(f"aml_config/{name}.compute", "\n".join(told) + "\n")
        self.write(f"aml_config/{name}.runconfig", f"Target: {name}\nFramework: Python\n")

    def run(self, *arguments: str) -> Done:
        """Submit, and wait for the end."""
        return self.amlexec("experiment", "submit", "-c", "lab", *arguments)

    def begin(self, *arguments: str, until: str = "RUNNING") -> str:
        """Submit without waiting for the end; the id of the run, whose job is then in this state, if any."""
        done = self.amlexec("experiment", "submit", "--async", "-c", "lab", *(arguments or ("wait.py",)))
        assert done.code == 0, done.err
        run_id = done.run_id
        if until == "RUNNING":
            log = f"{self.folder_of(run_id)}/stdout.log"
            self.head.until(f"grep -q begun {log}")
        elif until:
            self.until(run_id, until)
        return run_id

    def follow(self, run_id: str) -> Done:
        """Follow a run to its end."""
        return self.amlexec("experiment", "follow", "-r", run_id)

    def status(self, run_id: str) -> str:
        """What `experiment status` says."""
        return self.amlexec("experiment", "status", "-r", run_id).out

    def state(self, run_id: str) -> str:
        """Slurm's word."""
        return self.head.ssh(f"squeue -h -t all -j {self.head.job(run_id)} -o %T").strip()

    def until(self, run_id: str, state: str) -> None:
        """Wait until that is Slurm's word."""
        asked = f"squeue -h -t all -j {self.head.job(run_id)} -o %T"
        self.head.until(f'[ "$({asked})" = {state} ]', pause=0.1)

    def tell(self, run_id: str) -> None:
        """Let the script end."""
        self.head.ssh(f"touch {self.folder_of(run_id)}/project/go")

    def folder_of(self, run_id: str) -> str:
        """The run's folder on the cluster."""
        return f"/home/{QUIET}/.amlexec/runs/{run_id}"

    def end(self, run_id: str) -> tuple[str, int | None, str]:
        """Status, exit code and reason of the record."""
        record = self.record(run_id)
        return record["status"], record["exit_code"], record["reason"]


@pytest.fixture(scope="session")
def slurm_image() -> None:
    """The image of a node."""
    need("slurm", f"the image {image.reference()}", image.is_there)


@pytest.fixture(scope="session")
def slurm_head_of_session(
    slurm_image: None, machines: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SlurmHead]:
    """One cluster for a session of tests; take `slurm_head`."""
    del slurm_image
    machine = SlurmHead(machines, tmp_path_factory.mktemp("slurm-head"))
    try:
        machine.create()
        yield machine
    finally:
        machine.remove()


@pytest.fixture
def slurm_head(slurm_head_of_session: SlurmHead, client: Client) -> SlurmHead:
    """A cluster that runs, shared by all tests: leave it as it was found."""
    client.lets_in(slurm_head_of_session)
    return slurm_head_of_session


@pytest.fixture
def lab(tmp_path: Path, slurm_head: SlurmHead) -> Iterator[Lab]:
    """A project on the cluster; its jobs end with it."""
    yield Lab(tmp_path / "demo", slurm_head)
    slurm_head.ssh("scancel -s KILL --full -u remo 2>/dev/null; scancel -u remo")


@pytest.fixture
def program(slurm_head: SlurmHead) -> Iterator[Callable[[str, str], None]]:
    """Put a program of ours before Slurm's on the login node, as sites do."""
    made = []

    def put(name: str, text: str) -> None:
        made.append(name)
        slurm_head.ssh(f"cat >/usr/local/bin/{name}; chmod +x /usr/local/bin/{name}", input=text.encode())

    yield put
    for name in made:
        slurm_head.ssh(f"rm -f /usr/local/bin/{name}")

"""The kinds of compute targets: a row with the properties of each.

No other module compares kinds; code that differs by kind reads the row. So a new kind is a row here, and a
module in `amlexec.targets`.
"""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Protocol

    class _Declared(Protocol):
        """The part of `ComputeTarget` that is used here; its module imports this one."""

        @property
        def kind(self) -> str: ...

        @property
        def user_managed_environment(self) -> bool: ...


__all__ = [
    "ATTACHABLE",
    "CLUSTER",
    "CONTAINERINSTANCE",
    "DOCKER",
    "IMAGE",
    "KINDS",
    "KUBERNETES",
    "LOCAL",
    "PREFIX",
    "REMOTE",
    "REMOTEDOCKER",
    "SLURM",
    "Kind",
    "is_prepared",
    "of",
]

IMAGE = "image"
PREFIX = "prefix"


class Kind(NamedTuple):
    """A kind of compute target. The defaults describe a kind that this version can read but not run."""

    name: str
    """`type` in a `.compute` file."""
    aliases: tuple[str, ...] = ()
    """Older names."""
    module: str = ""
    """The module in `amlexec.targets` that runs it; "" if this version can't run it."""
    target: str = ""
    """The class in that module."""
    is_here: bool = False
    """Whether runs are on this machine."""
    over_ssh: bool = False
    """Whether runs are on a machine over SSH. False for cloud services, like `is_here`."""
    in_container: bool = False
    """Whether runs are containers, of images that a Docker engine builds."""
    successor: str = ""
    """The kind to use in its place, if the service no longer exists; "" for none."""
    is_slurm_cluster: bool = False
    """Whether Slurm, through its machine, runs them as jobs."""
    is_spark_cluster: bool = False
    """Whether spark-submit on its machine submits runs to a cluster."""
    environment: str = ""
    """How amlexec stores an environment: as an IMAGE, or as a PREFIX on the machine unless the user manages
    it; "" if it is always the user's own."""
    is_user_managed: bool = False
    """The default of `userManagedEnvironment`."""
    contained: str = ""
    """The kind to use if a run configuration requests a container; "" for the same kind."""
    has_shared_folder: bool = True
    """Whether `nativeSharedDirectory` has a default."""
    has_nodes: bool = False
    """Whether `nodeCount` is the number of a run's machines."""
    is_attachable: bool = False
    """Whether `amlexec computetarget attach` can create one."""
    is_service: bool = False
    """Whether runs are containers of a service, which gets their images from a registry."""
    is_kubernetes: bool = False
    """Whether that service is a Kubernetes cluster."""
    lists_runs: bool = False
    """Whether its machine lists the runs on it, from every submitting computer."""
    stops_by_id: bool = False
    """Whether a run can be stopped by its id alone, without its record."""

    has_many_runs: bool = False
    """Whether its machine tells the states of many runs in one call, and runs a sweep's points as one job."""

    @property
    def on_local_engine(self) -> bool:
        """Whether runs are containers of the engine that the `docker` command on this machine uses."""
        return self.is_here and self.in_container

    @property
    def writes_here(self) -> bool:
        """Whether running scripts write their metrics into the run's folder on this machine."""
        return self.is_here and not self.in_container

    @property
    def on_remote_engine(self) -> bool:
        """Whether runs are containers of an engine on a machine over SSH."""
        return self.over_ssh and self.in_container

    @property
    def uses_python_location(self) -> bool:
        """Whether `pythonLocation` can name the interpreter."""
        return bool(self.module) and not self.in_container


LOCAL = Kind("local", module="local", target="LocalTarget", is_here=True, contained="docker")
DOCKER = Kind(
    "docker",
    aliases=("localdocker",),
    module="docker",
    target="DockerTarget",
    is_here=True,
    in_container=True,
    environment=IMAGE,
)
REMOTEDOCKER = Kind(
    "remotedocker",
    aliases=("virtualmachine",),
    module="docker",
    target="DockerTarget",
    over_ssh=True,
    in_container=True,
    environment=IMAGE,
    is_attachable=True,
    lists_runs=True,
)
REMOTE = Kind(
    "remote",
    module="ssh",
    target="SSHTarget",
    over_ssh=True,
    environment=PREFIX,
    # Handwritten files only name a machine, which has its own Python.
    is_user_managed=True,
    contained="remotedocker",
    is_attachable=True,
    lists_runs=True,
    stops_by_id=True,
)
CLUSTER = Kind(
    "cluster",
    module="spark_cluster",
    target="SparkClusterTarget",
    over_ssh=True,
    is_spark_cluster=True,
    environment=PREFIX,
    has_shared_folder=False,
    is_attachable=True,
    lists_runs=True,
)
SLURM = Kind(
    "slurm",
    module="slurm",
    target="SlurmTarget",
    over_ssh=True,
    is_slurm_cluster=True,
    environment=PREFIX,
    has_nodes=True,
    is_attachable=True,
    lists_runs=True,
    stops_by_id=True,
    has_many_runs=True,
)
CONTAINERINSTANCE = Kind(
    "containerinstance",
    module="container_instance",
    target="ContainerInstanceTarget",
    in_container=True,
    environment=IMAGE,
    has_shared_folder=False,
    is_attachable=True,
    is_service=True,
)
KUBERNETES = Kind(
    "kubernetes",
    module="kubernetes",
    target="KubernetesTarget",
    in_container=True,
    environment=IMAGE,
    has_shared_folder=False,
    is_attachable=True,
    is_service=True,
    is_kubernetes=True,
)
KINDS = (
    LOCAL,
    DOCKER,
    REMOTEDOCKER,
    REMOTE,
    CLUSTER,
    SLURM,
    Kind("batchai", has_nodes=True, successor=SLURM.name),
    CONTAINERINSTANCE,
    KUBERNETES,
)
"""In the order of lists that users see."""
ATTACHABLE = tuple(kind.name for kind in KINDS if kind.is_attachable)
"""The names of the kinds that can be attached."""
_BY_NAME = {name: kind for kind in KINDS for name in (kind.name, *kind.aliases)}


def of(name: str) -> Kind:
    """The kind with that name or older name; for an unknown name, a kind that can't be run."""
    return _BY_NAME.get(name) or Kind(name)


def is_prepared(target: _Declared) -> bool:
    """Whether amlexec, and not the user, prepares the environment of a target."""
    environment = of(target.kind).environment
    return environment == IMAGE or (environment == PREFIX and not target.user_managed_environment)

"""The kinds of compute targets: one row each, with all that the product has to know of a kind.

No other module compares a kind: it asks a row. So a new kind is a row here, and the module in
`amlexec.targets` that the row names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Protocol

    class _Declared(Protocol):
        """What is needed of a `ComputeTarget`, whose module imports this one."""

        @property
        def kind(self) -> str: ...

        @property
        def user_managed_environment(self) -> bool: ...


__all__ = [
    "ATTACHABLE",
    "CLUSTER",
    "DOCKER",
    "IMAGE",
    "KINDS",
    "LOCAL",
    "PREFIX",
    "REMOTE",
    "REMOTEDOCKER",
    "Kind",
    "is_prepared",
    "of",
]

IMAGE = "image"
PREFIX = "prefix"


class Kind(NamedTuple):
    """A kind of compute target. The defaults are those of a kind that this version reads and can't run."""

    name: str
    """`type` in a `.compute` file."""
    aliases: tuple[str, ...] = ()
    """Its older names."""
    module: str = ""
    """The module in `amlexec.targets` that runs it; "" where this version can't run it."""
    target: str = ""
    """The class in that module."""
    is_here: bool = False
    """Whether runs are on this machine."""
    over_ssh: bool = False
    """Whether runs are on a machine that is reached over SSH. A service of the cloud is neither."""
    in_container: bool = False
    """Whether runs are containers of a Docker engine."""
    is_spark_cluster: bool = False
    """Whether spark-submit on its machine hands a run to a cluster."""
    environment: str = ""
    """What amlexec keeps an environment as: an IMAGE, or a PREFIX on its machine unless the user manages
    it; "" where it is always the user's."""
    is_user_managed: bool = False
    """`userManagedEnvironment` where the file does not say."""
    contained: str = ""
    """The kind that it becomes where a run configuration asks for a container; "" where it stays."""
    has_shared_folder: bool = True
    """Whether `nativeSharedDirectory` has a default."""
    has_nodes: bool = False
    """Whether `nodeCount` says how many machines a run takes."""
    is_attachable: bool = False
    """Whether `amlexec computetarget attach` makes one."""
    lists_runs: bool = False
    """Whether its machine tells which runs are on it, whoever submitted them."""
    stops_by_id: bool = False
    """Whether a run's id is all that it takes to stop the run, and not the record of it too."""

    @property
    def on_local_engine(self) -> bool:
        """Whether runs are containers of the one engine that the `docker` command here would ask."""
        return self.is_here and self.in_container

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
    # Files that were written by hand name a machine with a Python on it, and no more.
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
KINDS = (
    LOCAL,
    DOCKER,
    REMOTEDOCKER,
    REMOTE,
    CLUSTER,
    Kind("batchai", has_nodes=True),
    Kind("containerinstance"),
)
"""In the order in which choices are shown."""
ATTACHABLE = tuple(kind.name for kind in KINDS if kind.is_attachable)
"""The names of what can be attached."""
_BY_NAME = {name: kind for kind in KINDS for name in (kind.name, *kind.aliases)}


def of(name: str) -> Kind:
    """The kind of that name or older name; one that can't be run where there is none, as in new records."""
    return _BY_NAME.get(name) or Kind(name)


def is_prepared(target: _Declared) -> bool:
    """Whether amlexec prepares the environment of a target, rather than its user."""
    kept_as = of(target.kind).environment
    return kept_as == IMAGE or (kept_as == PREFIX and not target.user_managed_environment)

"""The immutable values that are passed between the steps. No I/O, no clock.

They are named tuples: immutable, comparable, cheap to import (the standard library's dataclasses cost a
run 10 ms of start-up, for `inspect`).
"""

from __future__ import annotations

from amlexec import kinds
from amlexec.escaping import on_one_line
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ComputeTarget",
    "Declaration",
    "Detached",
    "Interpreter",
    "NotCollected",
    "Place",
    "Plan",
    "Project",
    "RunConfiguration",
    "SweepPoint",
    "Violation",
    "WantedModel",
    "spelled",
]


class Place(NamedTuple):
    """A place in a file that the user wrote. `line` and `column` count from 1; 0 means the whole file."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.path, *(str(number) for number in (self.line, self.column) if number)])


class Violation(NamedTuple):
    """One error, warning or note about a file; sorts by file, line and column."""

    place: Place
    severity: str
    """`error`, `warning` or `note`."""
    message: str
    hint: str = ""
    key: str = ""
    """Its dotted key, such as `EnvironmentVariables.PATH`, or ""."""

    def lines(self) -> list[str]:
        """Its printed form: `FILE:LINE:COLUMN: SEVERITY: MESSAGE`, then `hint: HINT`."""
        first = f"{on_one_line(str(self.place))}: {self.severity}: {self.message}"
        return [first, *([f"  hint: {self.hint}"] if self.hint else [])]


class Project(NamedTuple):
    """A folder with `aml_config/` in it, or with run configurations in `.azureml/`."""

    root: str
    """Absolute path, symbolic links resolved."""
    folder: str = "aml_config"
    """The folder of its declarations; `.azureml`, of later azureml-core, if there is no `aml_config`."""
    home: str = ""
    """The user's own folder if `root` is a copy of one of its snapshots, else ""."""

    @property
    def place(self) -> str:
        """The user's own folder, absolute: whose project it is, and where its state is."""
        return self.home or self.root

    @property
    def own(self) -> Project:
        """The user's own project, of which this may be a copy."""
        return self._replace(root=self.place, home="")

    @property
    def name(self) -> str:
        """The folder's name: the first half of a run id, and the folder in a shared directory."""
        return self.place.replace("\\", "/").rstrip("/").rpartition("/")[2] or "project"

    @property
    def configuration(self) -> str:
        """The folder of its declarations, absolute."""
        return f"{self.root}/{self.folder}"

    @property
    def state(self) -> str:
        """The folder of amlexec's files for this project, absolute."""
        return f"{self.place}/.amlexec"


class ComputeTarget(NamedTuple):
    """A `.compute` file: where scripts run. Absent keys have their documented defaults."""

    name: str
    kind: str
    """The name of one of `amlexec.kinds.KINDS`."""
    place: Place
    """Its file, or the azureml-core file that describes it."""
    address: str = ""
    username: str = ""
    password: str = ""
    private_key: str = ""
    base_docker_image: str = ""
    shared_volumes: bool = True
    native_shared_directory: str = ""
    nvidia_docker: bool = False
    user_managed_environment: bool = False
    python_location: str = "python"
    spark_submit_location: str = "spark-submit"
    master: str = "yarn"
    yarn_deploy_mode: str = "cluster"
    node_count: int = 1
    shared_directory: str = ""
    """The folder on the machine that a cluster's nodes share; "" for the home folder."""
    partition: str = ""
    account: str = ""
    qos: str = ""
    time: str = ""
    """The limit for a run, as Slurm writes it; "" for the partition's default."""
    tasks_per_node: int = 0
    """Processes of a run on each node; 0 for the default, which is 1."""
    cpus_per_task: int = 0
    memory: str = ""
    gres: str = ""
    constraint: str = ""
    communicator: str = "None"
    """How the processes of a run on several nodes are started."""
    container: str = ""
    """The program on the nodes that runs images; "" if scripts run without a container."""
    container_image: str = ""
    requeue: bool = False
    """Whether Slurm starts a run anew after it was preempted, or a node has failed."""
    sbatch: tuple[str, ...] = ()
    """More options of sbatch."""
    subscription_id: str = ""
    resource_group: str = ""
    region: str = ""
    cpu_cores: float = 1.0
    memory_gb: float = 4.0
    gpu: str = ""
    gpu_count: int = 1
    registry: str = ""
    storage_account: str = ""
    identity: str = ""
    subnet: str = ""
    resource_manager: str = ""
    context: str = ""
    """Of the kubeconfig; "" for its current one."""
    namespace: str = "default"
    claim: str = ""
    """The PersistentVolumeClaim with the files of runs."""
    gpu_resource: str = ""
    """The cluster's name of its GPUs; "" for none."""
    service_account: str = ""
    run_as_user: int = 0
    """The user id of scripts in their Pods; 0 for that of the image, which is root."""
    pull_secret: str = ""
    node_selector: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[tuple[tuple[str, str | int], ...], ...] = ()
    elsewhere: tuple[tuple[str, Place], ...] = ()
    """Keys that a camelCase run configuration sets, with their places."""

    def where(self, key: str) -> Place:
        """The place of a key, or of its file: `pythonLocation`, as `.compute` files spell it."""
        return dict(self.elsewhere).get(key, self.place)

    def key(self, key: str) -> str:
        """The key as spelled in its file."""
        return spelled(key, self.where(key))

    def shared_folder(self, project: Project) -> str:
        """The folder on this machine that all runs of `project` share on this target, absolute; "" for none.

        A relative path starts at the project, not at the current folder. Remote targets have theirs on their
        own machines.
        """
        import os

        if not self.native_shared_directory or not kinds.of(self.kind).is_here:
            return ""
        shared = os.path.expanduser(self.native_shared_directory)  # noqa: PTH111
        return os.path.normpath(os.path.join(project.place, shared, project.name))  # noqa: PTH118


_CAMEL = {
    "baseDockerImage": "environment.docker.baseImage",
    "sharedVolumes": "environment.docker.sharedVolumes",
    "nvidiaDocker": "environment.docker.gpuSupport",
    "pythonLocation": "environment.python.interpreterPath",
    "userManagedEnvironment": "environment.python.userManagedDependencies",
    "yarnDeployMode": "hdi.yarnDeployMode",
    "nodeCount": "batchai.nodeCount",
    "tasksPerNode": "mpi.processCountPerNode",
    "region": "containerInstance.region",
    "cpuCores": "containerInstance.cpuCores",
    "memoryGb": "containerInstance.memoryGb",
}


def spelled(key: str, place: Place) -> str:
    """A key of a compute target as spelled in the file at `place`: in run configurations, camelCase."""
    return key if place.path.endswith(".compute") or not place.path else _CAMEL.get(key, key)


class WantedModel(NamedTuple):
    """A registered model that a run's script reads."""

    reference: str
    """NAME, NAME:VERSION or NAME:ALIAS, as declared."""
    place: Place
    version: str = ""
    """NAME:VERSION, which it means; "" until the run is submitted."""


class RunConfiguration(NamedTuple):
    """A `.runconfig` file: how a script runs."""

    name: str
    place: Place
    target: str
    """Name of the compute target; "" if only the command line names it."""
    framework: str = "Python"
    """`Python` or `PySpark`."""
    argument_vector: tuple[str, ...] = ()
    argument_vector_place: Place = Place("")
    environment_variables: tuple[tuple[str, str], ...] = ()
    conda_dependencies_file: str = "aml_config/conda_dependencies.yml"
    """Relative to the project's root, with `/`."""
    spark_dependencies_file: str = "aml_config/spark_dependencies.yml"
    prepare_environment: bool = False
    tracked_run: bool = True
    models: tuple[WantedModel, ...] = ()


class Declaration(NamedTuple):
    """A run configuration with its compute target: the value between READ and PLAN."""

    project: Project
    run_configuration: RunConfiguration
    compute_target: ComputeTarget
    notes: tuple[Violation, ...] = ()
    """Warnings and notes of these files, sorted; errors were raised before."""


class SweepPoint(NamedTuple):
    """The point of a sweep that a run executes."""

    id: str
    """The sweep's id."""
    number: int
    """The point's number in the sweep; the first is 1."""
    parameters: dict[str, Any]
    """Its parameters: numbers, texts, true, false, None, and lists and maps of them."""


class Plan(NamedTuple):
    """One execution: what will run, where and with what. The value between PLAN and RUN."""

    project: Project
    configuration: str
    """Name of the run configuration."""
    target: ComputeTarget
    framework: str
    script: str
    """Relative to the project's root, with `/`."""
    arguments: tuple[str, ...]
    environment_variables: tuple[tuple[str, str], ...] = ()
    conda_dependencies_file: str = ""
    spark_dependencies_file: str = ""
    prepare_environment: bool = False
    environment_digest: str = ""
    """The environment that was made ready for it; "" where its files say which it is."""
    tracked: bool = True
    warnings: tuple[str, ...] = ()
    """Messages to print before the run."""
    handed_over: tuple[tuple[str, str], ...] = ()
    """The declared form of those `environment_variables` that come from this machine's environment."""
    sweep: SweepPoint | None = None
    """The point of a sweep that it executes."""
    models: tuple[WantedModel, ...] = ()
    """The registered models that go with it."""

    @property
    def script_argument(self) -> str:
        """The script for its interpreter's command line: a name that begins with a dash is no option."""
        return f"./{self.script}" if self.script.startswith("-") else self.script

    @property
    def prepare_command(self) -> str:
        """The command that prepares its environment."""
        target = "" if self.target.name == self.configuration else f" -t {self.target.name}"
        return f"amlexec experiment prepare -c {self.configuration}{target}"


class Interpreter(NamedTuple):
    """The Python that the script runs in, as reported by itself."""

    path: str
    version: str
    prefix: str | None = None
    """Its `sys.prefix`, written by the run itself; None if the Python was asked only before the run."""


class NotCollected(NamedTuple):
    """An output of a run that was not collected."""

    path: str
    """Its path in the run's copy of the project, such as `outputs/model.bin`."""
    reason: str
    kept: bool = False
    """Whether it is still in that copy, which is then kept until it is collected."""


class Detached(NamedTuple):
    """The run goes on, but this command no longer follows it."""

    run_id: str
    why: str
    """`async`, `interrupt` (Ctrl-C), or `pipe`: the reader closed the pipe."""

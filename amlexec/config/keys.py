"""The keys of both files in each of their generations, and the fields of `amlexec.values` for them."""

from __future__ import annotations

from amlexec.light_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "CAMEL",
    "CAMEL_COMPUTE",
    "CLOUD_FRAMEWORKS",
    "COMPUTE_FIELDS",
    "COMPUTE_KEYS",
    "IGNORED",
    "INLINE_CONDA",
    "IN_DOCKER",
    "OF_NODES",
    "PASCAL",
    "SWEEP",
]

COMPUTE_FIELDS = {
    "address": "address",
    "username": "username",
    "password": "password",
    "privateKey": "private_key",
    "baseDockerImage": "base_docker_image",
    "sharedVolumes": "shared_volumes",
    "nativeSharedDirectory": "native_shared_directory",
    "nvidiaDocker": "nvidia_docker",
    "userManagedEnvironment": "user_managed_environment",
    "pythonLocation": "python_location",
    "sparkSubmitLocation": "spark_submit_location",
    "master": "master",
    "yarnDeployMode": "yarn_deploy_mode",
    "nodeCount": "node_count",
    "sharedDirectory": "shared_directory",
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "time": "time",
    "tasksPerNode": "tasks_per_node",
    "cpusPerTask": "cpus_per_task",
    "memory": "memory",
    "gres": "gres",
    "constraint": "constraint",
    "communicator": "communicator",
    "container": "container",
    "containerImage": "container_image",
    "requeue": "requeue",
    "sbatch": "sbatch",
    "subscriptionId": "subscription_id",
    "resourceGroup": "resource_group",
    "region": "region",
    "cpuCores": "cpu_cores",
    "memoryGb": "memory_gb",
    "gpu": "gpu",
    "gpuCount": "gpu_count",
    "registry": "registry",
    "storageAccount": "storage_account",
    "identity": "identity",
    "subnet": "subnet",
    "resourceManager": "resource_manager",
    "context": "context",
    "namespace": "namespace",
    "claim": "claim",
    "gpuResource": "gpu_resource",
    "serviceAccount": "service_account",
    "runAsUser": "run_as_user",
    "pullSecret": "pull_secret",
    "nodeSelector": "node_selector",
    "tolerations": "tolerations",
}
COMPUTE_KEYS = {field: key for key, field in COMPUTE_FIELDS.items()}

PASCAL = {
    "Target": "target",
    "Framework": "framework",
    "ArgumentVector": "argument_vector",
    "EnvironmentVariables": "environment_variables",
    "CondaDependenciesFile": "conda_dependencies_file",
    "SparkDependenciesFile": "spark_dependencies_file",
    "PrepareEnvironment": "prepare_environment",
    "TrackedRun": "tracked_run",
}
SWEEP = {
    "List": "list_file",
    "Search": "search",
    "Points": "points",
    "Seed": "seed",
    "Sampler": "sampler",
    "Metric": "metric",
    "Goal": "goal",
    "EarlyStop": "early_stop",
    "Jobs": "jobs",
    "FailFast": "fail_fast",
    "Timeout": "timeout",
    "RunTimeout": "run_timeout",
}
CAMEL = {
    "target": "target",
    "framework": "framework",
    "environment.environmentVariables": "environment_variables",
    "environment.python.condaDependenciesFile": "conda_dependencies_file",
    "prepareEnvironment": "prepare_environment",
    "autoPrepareEnvironment": "prepare_environment",
    "history.outputCollection": "tracked_run",
    "history.enabled": "tracked_run",
}
CAMEL_COMPUTE = {
    "environment.docker.baseImage": "base_docker_image",
    "docker.sharedVolumes": "shared_volumes",
    "environment.docker.sharedVolumes": "shared_volumes",
    "environment.docker.gpuSupport": "nvidia_docker",
    "environment.python.interpreterPath": "python_location",
    "environment.python.userManagedDependencies": "user_managed_environment",
    "hdi.yarnDeployMode": "yarn_deploy_mode",
    "batchai.nodeCount": "node_count",
    "containerInstance.region": "region",
    "containerInstance.cpuCores": "cpu_cores",
    "containerInstance.memoryGb": "memory_gb",
}
OF_NODES = {
    "communicator": "communicator",
    "nodeCount": "node_count",
    "mpi.processCountPerNode": "tasks_per_node",
}
"""Keys of azureml-core, likewise, that only have an effect on clusters with nodes. Any value is accepted."""
IGNORED: dict[str, tuple[Any, ...]] = {
    "UseSampling": (False,),
    "DataSourceSettings": ({},),
    "DataSourceSubstitutions": ({},),
    "CondaFile": (),
    "command": ([],),
    "communicator": ("None",),
    "maxRunDurationSeconds": (),
    "nodeCount": (1,),
    "dataReferences": ({},),
    "data": ({},),
    "outputData": ({},),
    "exposedPorts": ([],),
    "environment.python.baseCondaEnvironment": (),
    "environment.docker.baseDockerfile": (),
    "environment.docker.arguments": ([],),
    "environment.docker.shmSize": ("2g", "1g"),
    "environment.docker.baseImageRegistry.address": (),
    "docker.arguments": ([],),
    "docker.shmSize": ("2g", "1g"),
    "tensorflow.workerCount": (1,),
    "tensorflow.parameterServerCount": (1, 0),
    "mpi.processCountPerNode": (1, 0),
}
"""Keys that have an effect in Azure but none here, with the values that have no effect in Azure either."""

CLOUD_FRAMEWORKS = frozenset(
    ["CNTK", "TensorFlow", "PyTorch", "TensorFlowParameterServer", "PythonMpi", "PythonIntelMpi"]
)
"""Frameworks of azureml-core that run Python with an additional setup in the cloud."""

IN_DOCKER = ("environment.docker.enabled", "docker.useDocker")
"""Keys of azureml-core that ask for a container; either of them is enough."""
INLINE_CONDA = "environment.python.condaDependencies"

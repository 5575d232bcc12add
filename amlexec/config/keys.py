"""The keys of a `.compute` file, and the fields of `amlexec.values.ComputeTarget` for them."""

from __future__ import annotations

__all__ = ["COMPUTE_FIELDS", "COMPUTE_KEYS"]

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
}
COMPUTE_KEYS = {field: key for key, field in COMPUTE_FIELDS.items()}

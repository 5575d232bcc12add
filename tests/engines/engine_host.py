"""Images of a machine to log in to that has an engine of its own, one for each kind of engine.

`tests/support/engine_hosts.py` starts machines of them, and `engine_machine.py` the one whose engine the
suite is run against.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import debian_image, ssh_host, tools
from .choice import kind_of_machines

if TYPE_CHECKING:
    from .engine_kinds import Kind

__all__ = ["is_there", "ready", "reference", "remove", "remove_groups", "settings"]

_CAPABILITIES = (
    "SYS_ADMIN",
    "NET_ADMIN",
    "SYS_PTRACE",
    "DAC_READ_SEARCH",
    "SYS_NICE",
    "IPC_LOCK",
    "SYSLOG",
)
"""What an engine needs of a container that need not be a privileged one."""
_DEVICES = ("/dev/fuse", "/dev/net/tun")
_GROUPS = Path("/sys/fs/cgroup")
_OF_PODMAN = ("libpod_parent",)


def reference(kind: Kind | None = None) -> str:
    """The image of a kind, by default of that which the machines of the tests have."""
    # Podman is the same, whoever starts it.
    return f"amlexec-test/engine-host-{(kind or kind_of_machines()).name.partition('-')[0]}:1"


def settings(kind: Kind) -> dict[str, Any]:
    """What the engine of the machines is told (`HostConfig`) of a container with an engine of a kind."""
    devices = [path for path in _DEVICES if kind.is_podman and Path(path).exists()]
    return {
        "CapAdd": list(_CAPABILITIES),
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "DeviceCgroupRules": ["a *:* rwm"],
        "Devices": [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in devices
        ],
        "CgroupnsMode": "host",
        "Binds": ["/sys/fs/cgroup:/sys/fs/cgroup:rw"],
        # An unnamed volume goes with the container.
        "Mounts": [{"Type": "volume", "Target": kind.data}],
    }


def remove_groups(name: str) -> None:
    """Remove the empty control groups that the engine of a machine of that name has left."""
    for group in (name, *_OF_PODMAN):
        for root in (_GROUPS / group, *_GROUPS.glob(f"*/{group}")):
            for at, _, _ in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    Path(at).rmdir()


def is_there() -> bool:
    """Whether the engine has the image, made by this recipe."""
    return debian_image.is_there(reference(), _recipe())


def ready() -> None:
    """Make the image anew; what it takes is there. Raises MissingError, ToolError."""
    if not ssh_host.is_there():
        raise tools.MissingError("no machine with an engine: one without is not there either")
    kind = kind_of_machines()
    # The quiet user may use the engine, the others may not.
    group = f"groupadd --system --force docker && usermod -aG docker {ssh_host.QUIET}"
    hook = f"--customize-hook=chroot \"$1\" sh -c '{group}'"
    command = ssh_host.with_packages(kind.packages, kind.suite, [hook])
    debian_image.make(reference(), _recipe(), f"a machine with {kind.what}", command)


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    debian_image.remove(reference())


def _recipe() -> str:
    kind = kind_of_machines()
    return debian_image.recipe(__file__, ssh_host.__file__, more=repr((kind.suite, kind.packages)))

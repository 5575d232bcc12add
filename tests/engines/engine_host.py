"""Images of a machine to log in to that has an engine of its own, one for each kind of engine.

`tests/support/engine_hosts.py` starts machines of them, and `engine_machine.py` the one whose engine the
suite is run against.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec.docker import images
from amlexec.errors import TargetError

from . import ssh_host, tools
from .choice import kind_of_machines, machines
from .ssh_host import _mmdebstrap as debian

if TYPE_CHECKING:
    from .engine_kinds import Kind

__all__ = ["is_there", "ready", "reference", "remove", "remove_groups", "settings"]

_LABEL = "amlexec-test.recipe"
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
    try:
        image = images.inspect(machines(), reference())
    except TargetError:
        return False
    return image is not None and ((image["Config"] or {}).get("Labels") or {}).get(_LABEL) == _recipe()


def ready() -> None:
    """Make the image anew; what it takes is there. Raises MissingError, ToolError."""
    if not ssh_host.is_there():
        raise tools.MissingError("no machine with an engine: one without is not there either")
    kind = kind_of_machines()
    print(f"making a machine with {kind.what}, of Debian's packages")
    with tempfile.TemporaryDirectory(dir=tools.roomy()) as folder:
        archive = Path(folder, "root.tar")
        *command, suite, target = debian(archive, Path(folder), kind.suite)
        more = [f"--include={','.join(kind.packages)}"]
        # The quiet user may use the engine, the others may not.
        group = f"groupadd --system --force docker && usermod -aG docker {ssh_host.QUIET}"
        more.append(f"--customize-hook=chroot \"$1\" sh -c '{group}'")
        tools.run([*command, *more, suite, target], "making the root file system of a machine")
        changes = ["ENV LANG=C.UTF-8", f"LABEL {_LABEL}={_recipe()}"]
        try:
            with archive.open("rb") as file:
                images.import_root(machines(), file, reference(), changes=changes)
        except TargetError as error:
            raise tools.ToolError("\n".join(error.lines())) from None


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    try:
        machines().version()
    except TargetError:
        return
    images.remove(machines(), reference())


def _recipe() -> str:
    kind = kind_of_machines()
    made = Path(__file__).read_bytes() + Path(ssh_host.__file__).read_bytes()
    return hashlib.sha256(made + repr((kind.suite, kind.packages)).encode()).hexdigest()

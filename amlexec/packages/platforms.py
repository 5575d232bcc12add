"""The platforms of environments, with what a solver needs to know of them."""

from __future__ import annotations

import re

from amlexec import kinds
from amlexec.errors import TargetError
from amlexec.light_typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.values import ComputeTarget

__all__ = ["DEFAULT", "Platform", "engine_misfit", "misfit", "of_image", "of_target", "subdir_of"]

_MACHINES = {
    "linux-64": "x86_64",
    "linux-aarch64": "aarch64",
    "linux-ppc64le": "ppc64le",
    "linux-s390x": "s390x",
}
_DOCKER = {
    "amd64": "linux-64",
    "x86_64": "linux-64",
    "arm64": "linux-aarch64",
    "aarch64": "linux-aarch64",
    "ppc64le": "linux-ppc64le",
    "s390x": "linux-s390x",
}
_KERNEL = "4.18"
"""Of Red Hat Enterprise Linux 8: the oldest maintained kernel with the glibc below."""
_UV_GLIBC = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
"""The minor versions of glibc 2 that `uv pip compile --python-platform` supports."""


class Platform(NamedTuple):
    """The system that packages are chosen for: the target's, never this machine's."""

    subdir: str
    """conda's name for it, such as `linux-64`."""
    glibc: str = "2.28"
    """The oldest glibc on which the packages must run; Debian 10 and RHEL 8 have 2.28."""
    cuda: str = ""
    """The CUDA version of the target's driver; "" without a GPU."""

    @property
    def name(self) -> str:
        """Its name in a lock file: the subdir, and differences from the defaults; without dots."""
        default = Platform(self.subdir)
        glibc = f"-glibc-{self.glibc}" if self.glibc != default.glibc else ""
        return f"{self.subdir}{glibc}{f'-cuda-{self.cuda}' if self.cuda else ''}".replace(".", "-")

    @property
    def machine(self) -> str:
        """The processor's name in wheels and in conda's `__archspec`."""
        return _MACHINES[self.subdir]

    @property
    def virtual_packages(self) -> tuple[tuple[str, str, str], ...]:
        """conda's virtual packages: name, version and build, sorted.

        https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-virtual.html
        """
        cuda = [("__cuda", self.cuda, "0")] if self.cuda else []
        return (
            ("__archspec", "1", self.machine),
            *cuda,
            ("__glibc", self.glibc, "0"),
            ("__linux", _KERNEL, "0"),
            ("__unix", "0", "0"),
        )

    @property
    def wheel_platforms(self) -> tuple[str, ...]:
        """The platform tags of suitable wheels, best first (PEP 600)."""
        newest = int(self.glibc.split(".")[1])
        legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
        oldest = 5 if self.subdir == "linux-64" else 17
        tags = []
        for minor in range(newest, oldest - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in legacy:
                tags.append(f"{legacy[minor]}_{self.machine}")
        return (*tags, f"linux_{self.machine}")

    @property
    def uv_platform(self) -> str:
        """uv's name for it.

        Raises:
            TargetError: uv does not support it.
        """
        minor = int(self.glibc.split(".")[1])
        known = [version for version in _UV_GLIBC if version <= minor]
        if self.machine not in {"x86_64", "aarch64"} or not known:
            raise TargetError(
                f"a pip section cannot be resolved for {self.subdir} with glibc {self.glibc}",
                hint="use conda packages instead of the pip section",
            )
        return f"{self.machine}-manylinux_2_{known[-1]}"


DEFAULT = Platform("linux-64")


_CUDA = "12.0"
"""For targets with a GPU: the oldest driver that current CUDA packages support."""


def of_target(target: ComputeTarget) -> Platform:
    """The assumed platform of a target whose engine was not asked yet.

    A local engine has this machine's processor; a remote engine is assumed to be x86-64.
    """
    import platform

    subdir = DEFAULT.subdir
    if kinds.of(target.kind).on_local_engine:
        subdir = _DOCKER.get(platform.machine().lower(), subdir)
    return Platform(subdir, cuda=_CUDA if target.nvidia_docker or target.gpu else "")


def subdir_of(machine: str) -> str:
    """conda's name for Linux on a processor, given by its name in `uname -m`; "" if unsupported."""
    return _DOCKER.get(machine.lower(), "")


def misfit(known: Mapping[str, str], platform: Platform) -> tuple[str, str]:
    """Why a machine can't have an environment for `platform`, and a hint; "" twice if it can.

    `known` comes from `prefix.sh` or `check.sh`: `system` and `machine` of uname, `libc` of getconf;
    `programs` if the home folder can run programs; `gzip` and `tar` if these are installed.
    """
    yours = "or manage it yourself: userManagedEnvironment: true, with pythonLocation"
    system, machine = known.get("system", ""), known.get("machine", "")
    if (subdir_of(machine) if system == "Linux" else "") != platform.subdir:
        return (
            f"it is {system} on {machine}, but its environments are made for {platform.subdir}",
            f"attach a {platform.subdir} machine, {yours}",
        )
    libc, _, version = known.get("libc", "").partition(" ")
    if libc != "glibc":
        return "it has no glibc, which conda's packages require", f"use Docker, {yours}"
    if _numbers(version) < _numbers(platform.glibc):
        return (
            f"it has glibc {version}, but packages are chosen for {platform.glibc} and later",
            f"use Docker, {yours}",
        )
    if "programs" not in known:
        return (
            "no program can be started from ~/.amlexec: the home folder is mounted with noexec",
            "an environment in it could not run: mount it without noexec",
        )
    missing = [program for program in ("gzip", "tar") if program not in known]
    return (f"there is no {' and no '.join(missing)}", "install the missing program") if missing else ("", "")


def engine_misfit(system: str, machine: str, platform: Platform) -> tuple[str, str]:
    """Why an engine can't run images for `platform`, and a hint; "" twice if it can.

    `system` and `machine` are `Os` and `Arch` of the engine's version.
    """
    if system != "linux" or subdir_of(machine) == platform.subdir:
        return "", ""  # another system has its own message
    cure = (
        f"attach a machine with an {platform.machine} processor, or this one as `remote`, with its own Python"
    )
    return (
        f"its Docker engine runs on {machine}, but its environments are made for {platform.machine}",
        cure,
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def of_image(system: str, architecture: str, *, glibc: str = "", cuda: str = "") -> Platform:
    """The platform of a Docker image: `system` and `architecture` as in the engine (`linux`, `amd64`).

    Raises:
        TargetError: conda has no packages for it.
    """
    subdir = _DOCKER.get(architecture.lower()) if system.lower() == "linux" else None
    if subdir is None:
        raise TargetError(
            f"no environment can be made for {system}/{architecture}",
            hint=f"use an image for linux on {', '.join(sorted(set(_DOCKER)))}",
        )
    if glibc and not re.fullmatch(r"2\.\d+", glibc):
        raise TargetError(f"{glibc!r} is not a version of glibc")
    return Platform(subdir, glibc or DEFAULT.glibc, cuda)

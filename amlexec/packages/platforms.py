"""The platforms that environments are made for, and what of them a solver must know."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds
from amlexec.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from amlexec.model import ComputeTarget

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
"""Red Hat Enterprise Linux 8's, the oldest that is still maintained with the glibc below."""
_UV_GLIBC = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
"""The glibc 2.X for which `uv pip compile --python-platform` has a name."""


class Platform(NamedTuple):
    """What packages are chosen for: the target's system, never the one that we run on."""

    subdir: str
    """conda's name for it, such as `linux-64`."""
    glibc: str = "2.28"
    """The oldest glibc on which the packages must run; 2.28 is that of Debian 10 and of RHEL 8."""
    cuda: str = ""
    """The CUDA version of the target's driver; "" where no GPU is asked for."""

    @property
    def name(self) -> str:
        """What a lock file calls it: the subdir, and what else differs from the usual; without dots."""
        usual = Platform(self.subdir)
        glibc = f"-glibc-{self.glibc}" if self.glibc != usual.glibc else ""
        return f"{self.subdir}{glibc}{f'-cuda-{self.cuda}' if self.cuda else ''}".replace(".", "-")

    @property
    def machine(self) -> str:
        """The processor's name in wheels and in conda's `__archspec`."""
        return _MACHINES[self.subdir]

    @property
    def virtual_packages(self) -> tuple[tuple[str, str, str], ...]:
        """Name, version and build of what the system itself provides, sorted.

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
        """The platform tags of wheels that run there, best first (PEP 600)."""
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
            TargetError: uv can't resolve for it.
        """
        minor = int(self.glibc.split(".")[1])
        known = [one for one in _UV_GLIBC if one <= minor]
        if self.machine not in {"x86_64", "aarch64"} or not known:
            raise TargetError(
                f"a pip section cannot be resolved for {self.subdir} with glibc {self.glibc}",
                hint="use conda packages there instead of the pip section",
            )
        return f"{self.machine}-manylinux_2_{known[-1]}"


DEFAULT = Platform("linux-64")


_CUDA = "12.0"
"""For targets that ask for a GPU: the oldest driver that current CUDA packages run on."""


def of_target(target: ComputeTarget) -> Platform:
    """The platform that is prepared for when nobody has asked the target's engine.

    A local engine has this machine's processor; a remote one is taken for x86-64.
    """
    import platform

    subdir = DEFAULT.subdir
    if kinds.of(target.kind).on_local_engine:
        subdir = _DOCKER.get(platform.machine().lower(), subdir)
    return Platform(subdir, cuda=_CUDA if target.nvidia_docker else "")


def subdir_of(machine: str) -> str:
    """conda's name for Linux on a processor, by what `uname -m` calls that; "" where there is none."""
    return _DOCKER.get(machine.lower(), "")


def misfit(known: Mapping[str, str], platform: Platform) -> tuple[str, str]:
    """Why an environment for `platform` can't be on a machine, and the cure; two times "" where it can.

    `known` is what `prefix.sh` and `check.sh` ask of it: `system` and `machine` of uname, `libc` as getconf
    says it; and `programs`, `gzip`, `tar` where programs start from the home folder, and where these are.
    """
    yours = "or let it be yours: userManagedEnvironment: true, with pythonLocation"
    system, machine = known.get("system", ""), known.get("machine", "")
    if (subdir_of(machine) if system == "Linux" else "") != platform.subdir:
        return (
            f"it is {system} on {machine}, and environments for it are made for {platform.subdir}",
            f"attach a machine that is {platform.subdir}, {yours}",
        )
    libc, _, version = known.get("libc", "").partition(" ")
    if libc != "glibc":
        return "it has no glibc, which conda's packages are made for", f"use Docker there, {yours}"
    if _numbers(version) < _numbers(platform.glibc):
        return (
            f"it has glibc {version}, and packages are chosen for {platform.glibc} and later",
            f"use Docker there, {yours}",
        )
    if "programs" not in known:
        return (
            "no program can be started from ~/.amlexec: the home folder is mounted with noexec",
            "an environment in it could not run: have it mounted without noexec",
        )
    missing = [program for program in ("gzip", "tar") if program not in known]
    return (f"there is no {' and no '.join(missing)}", "have it installed there") if missing else ("", "")


def engine_misfit(system: str, machine: str, platform: Platform) -> tuple[str, str]:
    """Why an engine can't run what is made for `platform`, and the cure; two times "" where it can.

    `system` and `machine` are `Os` and `Arch` of its version.
    """
    if system != "linux" or subdir_of(machine) == platform.subdir:
        return "", ""  # another system has a word of its own
    cure = (
        f"attach a machine with an {platform.machine} processor, or this one as `remote`, with its own Python"
    )
    return (
        f"its Docker engine runs on {machine}, and environments for it are made for {platform.machine}",
        cure,
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def of_image(system: str, architecture: str, *, glibc: str = "", cuda: str = "") -> Platform:
    """The platform of a Docker image: `system` and `architecture` as the engine tells them, `linux`, `amd64`.

    Raises:
        TargetError: there are no conda packages for it.
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

"""An image of a machine to log in to: Debian with sshd, five login shells, git and Python.

It is made of Debian's packages, not pulled. `tests/support/hosts.py` starts machines of it.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from amlexec.errors import TargetError

from . import debian_image, tools
from .base_image import _certificates as certificates
from .choice import machines
from .places import can_install

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["QUIET", "REFERENCE", "SHELLS", "is_there", "ready", "remove", "with_packages"]

REFERENCE = "amlexec-test/host:1"
SHELLS = ("bash", "dash", "zsh", "fish", "tcsh")
"""Login shells. There is a user of the same name for each, whose start-up files print a lot."""
QUIET = "remo"
"""A user with bash and no start-up files."""
_SUITE = "bookworm"
_PACKAGES = (
    "ca-certificates",
    "fish",
    "git",
    "openssh-server",
    "procps",
    "python3",
    "sudo",
    "tcsh",
    "zsh",
)
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
# Quotes that are never closed, what a shell would act on, and no end of the last line.
_NOISE = (
    """printf '%s\\n' "It's 100% here" '$HOME `id` {"a": 1}' ''; printf 'last words'; printf 'warned' >&2"""
)
_START_UP = {
    "bash": (".bashrc", _NOISE),
    "dash": (".ssh/rc", _NOISE),  # dash itself reads nothing; this is read by sshd
    "zsh": (".zshenv", f"{_NOISE}\nalias echo=false"),
    "fish": (".config/fish/config.fish", f"{_NOISE}\nalias sh=false"),
    "tcsh": (".tcshrc", "echo \"It's 100% here\"\necho -n 'last words'\nalias sh false\nset prompt = '% '"),
}


def is_there() -> bool:
    """Whether the engine has the image, made by this recipe, and this machine has what uses it."""
    if not all(shutil.which(program) for program in ("ssh", "ssh-keygen", "ssh-agent")):
        return False
    return debian_image.is_there(REFERENCE, _recipe())


def ready() -> None:
    """Make the image anew. Raises MissingError, ToolError."""
    try:
        machines().version()
    except TargetError as error:
        raise tools.MissingError(f"no machine to log in to: {error.message}") from None
    needed = {"ssh": "openssh-client", "mmdebstrap": "mmdebstrap"}
    missing = [package for program, package in needed.items() if not shutil.which(program)]
    if missing and not can_install():
        raise tools.MissingError(
            f"no machine to log in to: {' and '.join(missing)} needed, as root on Debian"
        )
    if missing:
        print(f"installing {' and '.join(missing)}")
        tools.install(*missing, "debian-archive-keyring")
    debian_image.make(REFERENCE, _recipe(), "a machine to log in to", _mmdebstrap)


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    debian_image.remove(REFERENCE)


def with_packages(
    packages: Sequence[str], suite: str = _SUITE, more: Sequence[str] = ()
) -> Callable[[Path, Path], list[str]]:
    """The command of `debian_image.make` for such a machine with more packages, and more options."""

    def command(archive: Path, scratch: Path) -> list[str]:
        *words, release, target = _mmdebstrap(archive, scratch, suite)
        return [*words, f"--include={','.join(packages)}", *more, release, target]

    return command


def _recipe() -> str:
    return debian_image.recipe(__file__)


def _mmdebstrap(archive: Path, scratch: Path, suite: str = _SUITE) -> list[str]:
    homes = scratch / "homes"
    for shell, (name, text) in _START_UP.items():
        file = homes / shell / name
        file.parent.mkdir(parents=True)
        file.write_text(f"{text}\n", "utf-8")
    homes.joinpath(QUIET).mkdir()
    scratch.chmod(0o755)
    authorities = str(certificates())
    shells = {**{shell: shell for shell in SHELLS}, QUIET: "bash"}
    users = " && ".join(
        f'useradd --create-home --skel "/tmp/homes/{user}" --shell "$(command -v {shell})" {user}'
        for user, shell in shells.items()
    )
    return [
        "env",
        f"TMPDIR={scratch}",
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT),
        '--setup-hook=mkdir -p "$1/usr/share/man/man1"',
        # Debian's own, and those that this machine trusts beyond them.
        f"--customize-hook=upload {authorities} /etc/ssl/certs/ca-certificates.crt",
        '--customize-hook=mkdir "$1/tmp/homes"',
        f"--customize-hook=sync-in {homes} /tmp/homes",
        f"--customize-hook=chroot \"$1\" sh -c '{users} && rm -rf /tmp/homes /etc/ssh/ssh_host_*'",
        suite,
        str(archive),
    ]

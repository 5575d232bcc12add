"""An image of a machine to log in to: Debian with sshd, five login shells, git and Python.

It is made of Debian's packages, not pulled. `tests/support/hosts.py` starts machines of it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from amlexec.docker import images
from amlexec.errors import TargetError

from . import tools
from .base_image import _certificates as certificates
from .choice import machines
from .places import can_install

__all__ = ["QUIET", "REFERENCE", "SHELLS", "is_there", "ready", "remove"]

REFERENCE = "amlexec-test/host:1"
SHELLS = ("bash", "dash", "zsh", "fish", "tcsh")
"""Login shells. There is a user of the same name for each, whose start-up files print a lot."""
QUIET = "remo"
"""A user with bash and no start-up files."""
_LABEL = "amlexec-test.recipe"
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
    try:
        image = images.inspect(machines(), REFERENCE)
    except TargetError:
        return False
    return image is not None and ((image["Config"] or {}).get("Labels") or {}).get(_LABEL) == _recipe()


def ready() -> None:
    """Make the image anew. Raises MissingError, ToolError."""
    try:
        docker = machines()
        docker.version()
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
    print("making a machine to log in to, of Debian's packages")
    with tempfile.TemporaryDirectory(dir=tools.roomy()) as folder:
        archive = Path(folder, "root.tar")
        tools.run(_mmdebstrap(archive, Path(folder)), "making the root file system of a host")
        try:
            with archive.open("rb") as file:
                images.import_root(
                    docker, file, REFERENCE, changes=["ENV LANG=C.UTF-8", f"LABEL {_LABEL}={_recipe()}"]
                )
        except TargetError as error:
            raise tools.ToolError("\n".join(error.lines())) from None


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    try:
        machines().version()
    except TargetError:
        return
    images.remove(machines(), REFERENCE)


def _recipe() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


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

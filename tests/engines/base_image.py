"""A small image to build on and run in: this machine's own shell, tools and libraries, and no Python.

It is what a conda environment needs of an image, and nothing more; no registry is asked.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import ssl
import subprocess
import sys
import tarfile
from pathlib import Path

from amlexec.docker import client, images
from amlexec.docker.errors import EngineAnswerError
from amlexec.errors import TargetError

from . import interpreter, tools
from .choice import under_test
from .packages import TIME

__all__ = ["REFERENCE", "is_there", "archive", "ready", "remove"]

REFERENCE = "amlexec-test/base:1"
_LABEL = "amlexec-test.recipe"
# All of them from packages that Debian has everywhere ("Essential: yes").
_PROGRAMS = """
    sh bash [ basename cat chgrp chmod chown cp cut date dd df dirname du echo env expr false find flock grep
    gzip head hostname id kill ln ls md5sum mkdir mkfifo mktemp mv nice nohup nproc od paste printenv printf
    pwd readlink realpath rm rmdir sed seq setsid sha256sum sleep sort split stat tail tar tee test timeout
    touch tr true truncate tty uname uniq wc which whoami xargs yes
"""
_ALIASES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Folders that are links into /usr where the distribution has merged them; the image then has the same."""
# Loaded by name at run time, so that no program lists them; and what compiled wheels take for granted.
_LOADED = ("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2", "libgcc_s.so.1", "libstdc++.so.6")
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_FOLDERS = dict.fromkeys(("/dev", "/home", "/opt", "/proc", "/sys", "/usr/local/bin", "/usr/sbin"), 0o755) | {
    "/root": 0o700,
    "/tmp": 0o1777,
    "/var/tmp": 0o1777,
}


def is_there() -> bool:
    """Whether the engine has the image, made by this recipe of this machine's programs."""
    try:
        image = images.inspect(under_test(), REFERENCE)
    except TargetError:
        return False
    return image is not None and ((image["Config"] or {}).get("Labels") or {}).get(_LABEL) == _recipe()


def ready() -> None:
    """Make the image anew. Raises MissingError, ToolError."""
    if sys.platform != "linux":
        raise tools.MissingError("no base image: it is made of a Linux machine's own programs")
    changes = [
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "ENV LANG=C.UTF-8",
        'CMD ["/bin/sh"]',
        f"LABEL {_LABEL}={_recipe()}",
    ]
    try:
        docker = under_test()
        docker.version()
    except TargetError as error:
        raise tools.MissingError(f"no base image: {error.message}") from None
    print("making a base image of this machine's programs")
    try:
        former = images.inspect(docker, REFERENCE)
        made = images.import_root(docker, archive(), REFERENCE, changes=changes)
        if former is not None and former["Id"] != made:
            _forget(docker, former["Id"])
    except TargetError as error:
        raise tools.ToolError("\n".join(error.lines())) from None


def remove() -> None:
    """Remove the image by its name; without an engine there is nothing to remove."""
    try:
        docker = under_test()
        docker.version()
    except TargetError:
        return
    images.remove(docker, REFERENCE)


def _forget(docker: client.Engine, image: str) -> None:
    """Remove an image that has lost its name, unless something was made of it."""
    try:
        images.remove(docker, image)
    except EngineAnswerError as error:
        if error.status != 409:
            raise


def _recipe() -> str:
    """The digest of this module and of which programs of this machine go in."""
    parts = [Path(__file__).read_bytes(), sys.version.encode(), sys.base_prefix.encode()]
    for path in [*map(Path, _programs().values()), Path("/lib"), _certificates()]:
        told = path.stat()
        parts.append(f"{path} {told.st_size} {told.st_mtime_ns}".encode())
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def _programs() -> dict[str, str]:
    """Where each program goes, and which file of this machine it is."""
    found = {}
    for name in _PROGRAMS.split():
        path = shutil.which(name, path="/usr/bin:/bin")
        if path:
            found[f"/usr/bin/{name}"] = os.path.realpath(path)
    return found


def _certificates() -> Path:
    """The certificate authorities that this machine trusts, as OpenSSL or its user's settings say."""
    default = ssl.get_default_verify_paths()
    candidates = [default.cafile, _CERTIFICATES, default.openssl_cafile, "/etc/pki/tls/certs/ca-bundle.crt"]
    for candidate in candidates:
        if candidate and Path(candidate).is_file():
            return Path(candidate)
    import pip._vendor.certifi as bundled  # a machine without ca-certificates: what pip itself trusts

    return Path(bundled.where())


def archive() -> bytes:
    """The root file system. The same machine gives the same bytes."""
    files = {target: Path(source).read_bytes() for target, source in _programs().items()}
    needing = [*map(Path, _programs().values()), interpreter.executable(), *interpreter.extension_modules()]
    files |= {_inside(library): Path(library).read_bytes() for library in _libraries(needing)}
    files[_CERTIFICATES] = _certificates().read_bytes()
    files |= {path: text.encode() for path, text in _FILES.items()}
    links = {path: str(Path(path).readlink()) for path in _ALIASES if Path(path).is_symlink()}
    # Where Debian's OpenSSL looks without being told.
    links["/usr/lib/ssl/cert.pem"] = _CERTIFICATES
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as root:
        for path in sorted({*_parents([*files, *links, *_FOLDERS]), *_FOLDERS}):
            _add(root, path, tarfile.DIRTYPE, _FOLDERS.get(path, 0o755))
        for path, target in sorted(links.items()):
            _add(root, path, tarfile.SYMTYPE, 0o777, link=target)
        for path, data in sorted(files.items()):
            _add(root, path, tarfile.REGTYPE, 0o755 if _is_program(path) else 0o644, data)
    return written.getvalue()


def _is_program(path: str) -> bool:
    return path.startswith("/usr/bin/") or ".so" in Path(path).name


def _inside(path: str) -> str:
    """Where a file of this machine goes: the same place, its folder's links followed."""
    folder, _, name = path.rpartition("/")
    return f"{os.path.realpath(folder)}/{name}"


def _libraries(programs: list[Path]) -> set[str]:
    """The shared libraries that the programs load, but Python's own."""
    # A script among them makes ldd end with 1; what it says of the others counts.
    done = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False)
    found = set(re.findall(r"(/\S+\.so\S*) \(0x", done.stdout))
    if not found:
        raise tools.ToolError(f"ldd names no libraries\n{tools.last_lines(done.stderr)}")
    folders = {str(Path(path).parent) for path in found}
    found |= {f"{folder}/{name}" for folder in folders for name in _LOADED if Path(folder, name).exists()}
    own = f"{sys.base_prefix}/" if sys.base_prefix != "/usr" else "/nowhere/"
    return {path for path in found if not path.startswith(own)}


def _parents(paths: list[str]) -> set[str]:
    return {str(parent) for path in paths for parent in Path(path).parents if str(parent) != "/"}


def _add(
    archive: tarfile.TarFile, path: str, kind: bytes, mode: int, data: bytes = b"", *, link: str = ""
) -> None:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.type, member.mode, member.mtime, member.linkname = kind, mode, TIME, link
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))

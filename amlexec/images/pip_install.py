"""Install the pip section of an environment inside its image, with the environment's own pip.

What only pip needs (requirements with passwords, certificates, wheels, sources) is removed before the image
is committed, so no layer has it. Only sources of editable packages stay.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec.environments import pip_report
from amlexec.environments.pip_files import PIP_NETWORK_VARIABLES, section_of, write_sources
from amlexec.errors import TargetError
from amlexec.images.labels import PREFIX
from amlexec.packages import stable_tar
from amlexec.packages.network import build_variables
from amlexec.packages.urls import is_loopback
from amlexec.tar import Tar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amlexec.environments.build_context import BuildContext
    from amlexec.environments.request import BuildRequest
    from amlexec.images.build_container import BuildContainer
    from amlexec.packages.network import Network
    from amlexec.packages.pip_pins import Pin

__all__ = ["install", "needs_this_machine"]

_SOURCES = "/opt/amlexec/src"
"""Local wheels and source folders while pip installs them; editable ones stay."""
_REQUIREMENTS = "/tmp/amlexec-requirements"  # noqa: S108 - in a container of this build only
_BUNDLE = "/tmp/amlexec-ca.pem"  # noqa: S108
_REPORT = "/tmp/amlexec-report.json"  # noqa: S108
_IN_TURN = """
import os, sys
mark, count, *words = sys.argv[1:]
pip, lister = words[: int(count)], words[int(count) :]
os.dup2(1, 2)  # else what it says as an error may come after the mark
code = os.spawnv(os.P_WAIT, pip[0], pip)
if code:
    sys.exit(code if code > 0 else 128 - code)
sys.stdout.write(mark)
sys.stdout.flush()
os.execv(pip[0], [pip[0]] + lister)
"""
"""Runs pip, and if it ends well, another program of the same Python. Arguments: what is printed in between,
the number of the words of pip's command line, these, and the other's arguments."""


def needs_this_machine(request: BuildRequest, network: Network) -> bool:
    """Whether pip needs this machine's loopback: for an index or a proxy there."""
    addresses = [*network.addresses, *(entry.raw for entry in request.requirements.entries)]
    return any(is_loopback(str(address)) for address in addresses)


def install(
    builder: BuildContainer, context: BuildContext
) -> tuple[list[tuple[str, str]], tuple[Pin, ...] | None]:
    """Install the pip section; name and version of every package that Python then finds, and the files that
    pip has installed, or None if they are not known.

    Raises:
        TargetError: pip failed; with the requirement line, pip's last lines and the log's path.
    """
    request, network, log = context.request, context.network, context.log
    section = section_of(context, _SOURCES)
    links = [(path, _links(number)) for number, path in enumerate(_folders(network)) if path]
    files = {_requirements(number): _text(lines) for number, lines in enumerate(section.steps)}
    files[f"{_REQUIREMENTS}.constraints"] = _text(section.constraints)
    if network.ca_bundle:
        files[_BUNDLE] = Path(network.ca_bundle).read_bytes()
    with tempfile.TemporaryFile() as file:
        with Tar.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            write_sources(archive, (*section.sources, *links), request)
            for name, text in files.items():
                _add_text(archive, name, text)
        file.seek(0)
        builder.put(file)
    builder.start()
    variables = _variables(network)
    log.hide(*variables.values(), *section.lines, *section.unhashed, *section.constraints)
    command = [f"{PREFIX}/bin/python", "-m", "pip", "install", "--no-cache-dir", "--root-user-action=ignore"]
    command += ["--disable-pip-version-check", "--progress-bar=off", *section.options]
    command += pip_report.options(context, _REPORT)
    left = [*files, *(at for _, at in (*section.sources, *links) if at not in section.kept)]
    report = _REPORT if pip_report.is_wanted(context) else ""
    lister = ["-I", "-c", pip_report.LIST, report, _SOURCES, *left]
    output = _Output(log.write)
    calls = [
        [*command, "-r", _requirements(number), "-c", f"{_REQUIREMENTS}.constraints"]
        for number in range(len(section.steps))
    ]
    # A call of the engine takes longer than the listing.
    last = calls.pop() if calls else [command[0], "-c", ""]
    calls.append([command[0], "-I", "-S", "-c", _IN_TURN, output.mark, str(len(last)), *last, *lister])
    for words in calls:
        code = builder.run(words, output.add, variables)
        if code != 0 and output.listing is None:
            output.end()
            raise log.failure(request, code)
    if code != 0 or output.listing is None:
        raise TargetError(f"the installed packages can't be listed: {output.text}")
    found, installed = pip_report.listed(output.text)
    return found, pip_report.pins_of(context, installed, (*section.sources, *links))


class _Output:
    """The output of pip, passed on as it comes, and after the mark the listing."""

    def __init__(self, told: Callable[[bytes], object]) -> None:
        self.mark = os.urandom(12).hex()
        self.listing: bytearray | None = None
        """None until pip has ended well."""
        self._told = told
        self._held = b""
        """What may be the beginning of the mark."""

    @property
    def text(self) -> str:
        """The listing."""
        return (self.listing or b"").decode(errors="replace")

    def add(self, data: bytes) -> None:
        """Take the next output."""
        if self.listing is not None:
            self.listing += data
            return
        before, mark, after = (self._held + data).partition(self.mark.encode())
        if mark:
            self._held, self.listing = b"", bytearray(after)
        else:
            before, self._held = before[: -len(self.mark)], before[-len(self.mark) :]
        if before:
            self._told(before)

    def end(self) -> None:
        """Pass on the rest: there is no listing."""
        held, self._held = self._held, b""
        self._told(held)


def _requirements(number: int) -> str:
    return f"{_REQUIREMENTS}{number or ''}.txt"


def _text(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _variables(network: Network) -> dict[str, str]:
    variables = {name: str(value) for name, value in build_variables(network).items()}
    variables |= {name: os.environ[name] for name in PIP_NETWORK_VARIABLES if name in os.environ}
    variables |= {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INPUT": "1", "HOME": "/root"}
    if network.find_links:
        links = zip(network.find_links, _folders(network), strict=True)
        places = (_links(number) if path else str(link) for number, (link, path) in enumerate(links))
        variables["PIP_FIND_LINKS"] = " ".join(places)
    if network.ca_bundle:
        variables |= {"PIP_CERT": _BUNDLE, "SSL_CERT_FILE": _BUNDLE, "REQUESTS_CA_BUNDLE": _BUNDLE}
    return variables


def _folders(network: Network) -> list[str]:
    """The folder on this machine of each find-links entry in pip's settings; "" for a URL."""
    paths = [str(link).removeprefix("file://") for link in network.find_links]
    return [path if Path(path).is_dir() else "" for path in paths]


def _links(number: int) -> str:
    return f"{_SOURCES}/links/{number}"


def _add_text(archive: tarfile.TarFile, path: str, text: bytes) -> None:
    entry: Any = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode, entry.mtime = len(text), 0o600, stable_tar.EPOCH
    archive.addfile(entry, io.BytesIO(text))

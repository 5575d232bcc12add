"""Install the pip section of an environment on a machine over SSH, with the environment's own pip.

Wheels and sources are sent as files and removed afterwards, except sources of editable packages. Files that
may contain a login are in a private folder in memory, which is removed when pip ends.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shlex
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from amlexec.environments import pip_files, pip_report
from amlexec.errors import TargetError
from amlexec.packages.pip_resolve import index_lines
from amlexec.packages.requirements import Requirements
from amlexec.packages.urls import Secret, is_loopback

if TYPE_CHECKING:
    from amlexec.environments.build_context import BuildContext
    from amlexec.environments.request import BuildRequest
    from amlexec.packages.network import Network
    from amlexec.packages.pip_pins import Pin
    from amlexec.prefixes.remote_prefix import RemotePrefix

__all__ = ["finish", "install"]

_LOGIN = re.compile(r"(?<!git\+http)(?<!git\+https)://([^/\s@:]+):([^/\s@]*)@([^/\s:?#]+)")
_PLAIN = re.compile(r"[^\s\"'\\#]+")
"""Characters that every Python reads from a .netrc without quotes."""
_OPTIONS = ("--no-cache-dir", "--disable-pip-version-check", "--progress-bar=off")


def install(
    remote: RemotePrefix, context: BuildContext
) -> tuple[list[tuple[str, str]], tuple[Pin, ...] | None]:
    """Install the pip section; name and version of every package that Python then finds, and the files that
    pip has installed, or None if they are not known.

    Raises:
        TargetError: pip failed; with the requirement line, pip's last lines and the log's path.
    """
    request, network, log = context.request, context.network, context.log
    sources = f"{remote.prefix}/src"
    section = pip_files.section_of(context, sources)
    paths = [str(link).removeprefix("file://") for link in network.find_links]
    links = [
        (path, f"{sources}/links/{number}")
        for number, path in enumerate(paths)
        if os.path.isdir(path)  # noqa: PTH112
    ]
    sent = (*section.sources, *links)
    if sent:
        with tempfile.TemporaryFile() as archive:
            _write(archive, [(path, at.removeprefix(f"{sources}/")) for path, at in sent], request)
            remote.send("put", sources, archive, "the files of the pip section")
    log.hide(*section.lines, *section.unhashed, *section.constraints, *network.addresses)
    moved = dict(links)
    places = tuple(moved.get(path, str(link)) for path, link in zip(paths, network.find_links, strict=True))
    reached = network._replace(find_links=cast("tuple[Secret, ...]", places))
    report = f"{remote.prefix}/pip-report.json" if pip_report.is_wanted(context) else ""
    options = [*_OPTIONS, *section.options, *pip_report.options(context, report)]
    for own in section.steps:
        private = _private(_in_order(own, reached), section.constraints, network)
        code = remote.pip(*options, given=private, told=log.write)
        if code != 0:
            raise log.failure(request, code)
    found, installed = _list(remote, report, sources, [at for _, at in sent if at not in section.kept])
    return found, pip_report.pins_of(context, installed, sent)


def _in_order(own: tuple[str, ...], network: Network) -> list[str]:
    """The lines of a pip section after those of the user's settings; the section's last index comes first."""
    last = [line for line in own if line.startswith("--index-url ")][-1:]
    settings = network._replace(index_url=Secret("")) if last else network
    first = [*last, *map(str, index_lines(Requirements(), settings))]
    first += [f"--trusted-host {host}" for host in network.trusted_hosts]
    return [*first, *(line for line in own if not line.startswith("--index-url ") and line not in first)]


def finish(remote: RemotePrefix) -> None:
    """Compile the modules of an environment without a pip section."""
    _list(remote, "", remote.prefix, [])


def _list(
    remote: RemotePrefix, report: str, sources: str, left: list[str]
) -> tuple[list[tuple[str, str]], list[Any]]:
    """What `pip_report.listed` returns; removes `left` first."""
    output = remote.run("list", pip_report.LIST, report, sources, *left)
    try:
        return pip_report.listed(output)
    except ValueError:
        raise TargetError(f"the installed packages can't be listed: {output}", where=remote.machine) from None


def _write(file: IO[bytes], sources: list[tuple[str, str]], request: BuildRequest) -> None:
    with (
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=4) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        pip_files.write_sources(archive, sources, request)
        archive.addfile(tarfile.TarInfo("~whole"))
    file.seek(0)


def _private(lines: list[str], constraints: tuple[str, ...], network: Network) -> bytes:
    """An archive of the files for pip; logins are in a `.netrc`, so that no process list shows them."""
    logins: dict[str, tuple[str, str]] = {}
    files = {
        "requirements.txt": "".join(f"{_without_login(line, logins)}\n" for line in lines),
        "constraints.txt": "".join(f"{_without_login(line, logins)}\n" for line in constraints),
        "variables.sh": _variables(network),
    }
    if logins:
        entries = (f"machine {host} login {user} password {word}\n" for host, (user, word) in logins.items())
        files[".netrc"] = "".join(entries)
    if network.ca_bundle:
        files["ca.pem"] = Path(network.ca_bundle).read_text("utf-8")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o600
            archive.addfile(entry, io.BytesIO(text.encode()))
    return file.getvalue()


def _without_login(line: str, logins: dict[str, tuple[str, str]]) -> str:
    def taken(match: re.Match[str]) -> str:
        login, host = (unquote(match[1]), unquote(match[2])), match[3]
        if not all(_PLAIN.fullmatch(word) for word in login) or logins.setdefault(host, login) != login:
            return match[0]
        return f"://{host}"

    return _LOGIN.sub(taken, line)


def _variables(network: Network) -> str:
    proxies = [(name, str(value)) for name, value in network.proxies if not is_loopback(value)]
    variables = [*proxies, *((name.upper(), value) for name, value in proxies)]
    variables += [(name, os.environ[name]) for name in pip_files.PIP_NETWORK_VARIABLES if name in os.environ]
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables)

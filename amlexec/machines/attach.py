"""Attach a machine: log in, store its secrets, write its files. A failure leaves no trace."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec import kinds
from amlexec.config.keys import COMPUTE_FIELDS
from amlexec.keystore import pending
from amlexec.keystore import store as keystore
from amlexec.machines import target_files
from amlexec.machines.first_login import Credentials, enter, install
from amlexec.ssh import host_keys
from amlexec.ssh.key_pair import new_key_pair
from amlexec.ssh.login import login_of
from amlexec.values import ComputeTarget, Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.keystore.pending import Pending
    from amlexec.machines.check_results import Finding
    from amlexec.machines.host_trust import Trust
    from amlexec.machines.target_text import Attachment
    from amlexec.ssh.login import Login
    from amlexec.values import Project

__all__ = ["Admitted", "AttachRequest", "admit", "must_be_free"]


class AttachRequest(NamedTuple):
    """What the user asked for."""

    attachment: Attachment
    """Without secrets."""
    credentials: Credentials
    new_key: bool = False
    """Create a key pair, and install it with `credentials` if there are any."""
    check: bool = True
    """Connect and check the machine; otherwise only write the files."""
    fingerprint: str = ""
    """The required fingerprint of the host key; "" for the known key, or else the key that it shows."""
    force: bool = False
    """Replace existing files."""


class Admitted(NamedTuple):
    """The result of `admit`. Paths are relative to the project's root."""

    files: tuple[str, ...]
    replaced: tuple[str, ...]
    findings: tuple[Finding, ...]
    """Of the first check; () if there was no login yet."""
    public_key: str
    """The line that the user still has to add to `authorized_keys`; "" for none."""


class _Met(NamedTuple):
    attachment: Attachment
    """With the handles of its secrets."""
    findings: tuple[Finding, ...] = ()
    public_key: str = ""


def must_be_free(project: Project, name: str, *, force: bool) -> None:
    """Raise UsageError if files of that name exist and `force` is not given."""
    existing = target_files.occupied(project, name)
    if existing and not force:
        raise target_files.taken(name, existing)


def admit(
    project: Project, request: AttachRequest, say: Callable[[str], None], ask_password: Callable[[], str]
) -> Admitted:
    """Attach a machine.

    `ask_password` returns a password, or "" without a terminal.

    Raises:
        UsageError: its files already exist.
        ConfigurationError: the address or the user name is invalid.
        HostKeyError, LoginError, UnreachableError: the machine is not trusted, refuses the login, or does not
            answer.
        TargetError: the key store or the project can't be written.
    """
    name = request.attachment.name
    must_be_free(project, name, force=request.force)
    replaced, old = target_files.occupied(project, name), target_files.handles(project, name)
    target = _target(request.attachment)
    login = login_of(target)
    with pending.naming(Path(project.configuration)) as secrets, contextlib.ExitStack() as undo:
        met = (
            _meet(request, target, login, secrets, undo, say, ask_password)
            if request.check
            else _keep(request, secrets)
        )
        secrets.add(old)
        files = target_files.write(project, met.attachment, force=request.force)
        undo.pop_all()
    return Admitted(files, replaced, met.findings, met.public_key)


def _target(wanted: Attachment) -> ComputeTarget:
    return ComputeTarget(
        name=wanted.name,
        kind=wanted.kind,
        place=Place(f"aml_config/{wanted.name}.compute"),
        address=wanted.address,
        username=wanted.username,
        user_managed_environment=kinds.of(wanted.kind).is_user_managed,
        python_location="python3",
        **{COMPUTE_FIELDS[key]: value for key, value in wanted.more},  # type: ignore[arg-type]
    )


def _meet(
    request: AttachRequest,
    target: ComputeTarget,
    login: Login,
    secrets: Pending,
    undo: contextlib.ExitStack,
    say: Callable[[str], None],
    ask_password: Callable[[], str],
) -> _Met:
    from amlexec.machines.host_trust import establish

    with establish(login, request.fingerprint) as trust:
        say(_introduced(trust, request.fingerprint))
        if not request.new_key:
            entered = enter(trust.login, target, request.credentials, ask_password)
            met = _Met(_with_secrets(request.attachment, entered.credentials, secrets), entered.findings)
        else:
            met = _keep(request, secrets)
            if request.credentials != Credentials():
                handle = met.attachment.private_key
                install(trust.login, request.credentials, handle, met.public_key)
                entered = enter(trust.login, target, Credentials(key_file=handle), ask_password)
                met = _Met(met.attachment, entered.findings)
        # A key that OpenSSH knows is not pinned: OpenSSH keeps renewed and signed keys up to date.
        if not trust.known:
            _pin(login, trust, undo)
            say(f"{login.alias}: this host key is pinned now")
    return met


def _introduced(trust: Trust, fingerprint: str) -> str:
    shown = f"its host key is {trust.key.fingerprint} ({trust.key.type})"
    why = {
        "pinned": "the pinned one",
        "OpenSSH": "known to OpenSSH",
        "": "as --fingerprint requires" if fingerprint else "seen for the first time",
    }
    return f"{trust.login.alias}: {shown}, {why[trust.known]}"


def _keep(request: AttachRequest, secrets: Pending) -> _Met:
    """Store the secrets without checking them."""
    if not request.new_key:
        return _Met(_with_secrets(request.attachment, request.credentials, secrets))
    pair = new_key_pair(f"amlexec {request.attachment.name}", secrets.handle())
    return _Met(request.attachment._replace(private_key=pair.handle), public_key=pair.public)


def _with_secrets(wanted: Attachment, credentials: Credentials, secrets: Pending) -> Attachment:
    if credentials.password:
        handle = keystore.put(credentials.password, f"amlexec {wanted.name}", secrets.handle())
        wanted = wanted._replace(password=handle)
    if path := credentials.key_file:
        # `~`, since a colleague with the same project has the key in another home folder.
        home = f"{Path.home()}/"
        wanted = wanted._replace(private_key=f"~/{path[len(home) :]}" if path.startswith(home) else path)
    return wanted


def _pin(login: Login, trust: Trust, undo: contextlib.ExitStack) -> None:
    file = keystore.pinned_hosts(login.address)
    before = file.read_bytes() if file.exists() else None
    host_keys.pin(login, [trust.key])
    if before is None:
        undo.callback(file.unlink, missing_ok=True)
    else:
        undo.callback(keystore.write, file, before)

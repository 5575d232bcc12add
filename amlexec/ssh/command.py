"""The command lines of `ssh`: options that amlexec sets. The user's configuration decides the others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from amlexec.ssh import program

if TYPE_CHECKING:
    from amlexec.ssh.login import Login

__all__ = ["ahead_command", "control", "probe_command", "ssh_command", "trust_command"]

_PERSIST = 60
"""Seconds that a connection stays open after its last use."""
_CONNECT = 6
"""Seconds until a machine that does not answer counts as unreachable."""
_ALIVE = 5
"""Seconds of silence until ssh sends a keepalive; after three without an answer it ends the connection."""
_CONTROL_TIMEOUT_S = 10.0
"""For the connection's own process, which is local, to answer; in seconds."""


_COMMON = {
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": str(_CONNECT),
    "ConnectionAttempts": "1",
    "ServerAliveInterval": str(_ALIVE),
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
    # Settings that a user may have for terminals, and that would break a script.
    "RequestTTY": "no",
    "RemoteCommand": "none",
    "PermitLocalCommand": "no",
    "ClearAllForwardings": "yes",
    "ForwardX11": "no",
    "SessionType": "default",
    "StdinNull": "no",
    "ForkAfterAuthentication": "no",
}


def ssh_command(login: Login, control_path: str, log: str, *, proven: bool = False) -> list[str]:
    """`ssh` with its options, without the host. Its messages go to the file `log`, apart from the script's.

    With `proven`, the log names the authentication method, and no agent may decrypt a key with a passphrase.
    """
    options = {
        **_COMMON,
        "BatchMode": "no" if login.secret else "yes",
        "ControlMaster": "auto",
        "ControlPath": control_path.replace("%", "%%"),
        "ControlPersist": str(_PERSIST),
    }
    if login.private_key:
        options |= {
            "IdentityFile": _quoted(login.private_key),
            "IdentitiesOnly": "yes",
            "PreferredAuthentications": "publickey",
        }
    elif login.secret:
        options |= {
            "NumberOfPasswordPrompts": "1",
            "PreferredAuthentications": "password,keyboard-interactive,publickey",
        }
    # Includes the machine's messages during the login, such as why an account is closed.
    options["LogLevel"] = "INFO"
    if proven:
        options |= {"IdentityAgent": "none"} if login.private_key else {"LogLevel": "VERBOSE"}
    if login.known_hosts:
        options |= {
            "UserKnownHostsFile": _quoted(login.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "KnownHostsCommand": "none",
            # The name under which the keys were pinned, whatever ~/.ssh/config changes the host to.
            "HostKeyAlias": login.address,
            "UpdateHostKeys": "no",
        }
    return _command(login, log, options)


def ahead_command(login: Login, control_path: str) -> list[str]:
    """`ssh` over a connection that is open; it fails where there is none."""
    options = {
        **_COMMON,
        "BatchMode": "yes",
        "ControlMaster": "no",
        "ControlPath": control_path.replace("%", "%%"),
        # Never a login of its own.
        "ProxyCommand": "false",
    }
    return _command(login, os.devnull, options)


def probe_command(login: Login, known_hosts: str, log: str, key_type: str = "") -> list[str]:
    """`ssh` that writes the machine's host key (of that type) to a file, without a login."""
    options = {
        **_of_type(key_type),
        **_COMMON,
        "BatchMode": "yes",
        # The file is empty: any key is written to it. Nothing trusts that file.
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": _quoted(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "KnownHostsCommand": "none",
        "HashKnownHosts": "no",
        "UpdateHostKeys": "no",
        "VerifyHostKeyDNS": "no",
        "PreferredAuthentications": "none",
        "ControlMaster": "no",
        "ControlPath": "none",
    }
    return _command(login, log, options)


def trust_command(login: Login, log: str, key_type: str = "") -> list[str]:
    """`ssh` that checks the host key against OpenSSH's own files and logs which it is, without a login."""
    options = {
        **_of_type(key_type),
        **_COMMON,
        "BatchMode": "yes",
        "PreferredAuthentications": "none",
        "ControlMaster": "no",
        "ControlPath": "none",
        "LogLevel": "DEBUG1",
        "FingerprintHash": "sha256",
    }
    return _command(login, log, options)


def _of_type(key_type: str) -> dict[str, str]:
    """The option that makes a machine show its key of this type."""
    if not key_type:
        return {}
    # The same RSA key has three signature algorithms.
    names = "rsa-sha2-512,rsa-sha2-256,ssh-rsa" if key_type == "ssh-rsa" else key_type
    return {"HostKeyAlgorithms": names}


def _command(login: Login, log: str, options: dict[str, str]) -> list[str]:
    command = ["ssh", "-E", log]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    if login.user:
        command += ["-l", login.user]
    if login.port:
        command += ["-p", str(login.port)]
    return command


def control(control_path: str, verb: str, *arguments: str) -> str:
    """Send a control command to a connection's own process; returns "" on success, else ssh's message.

    Raises:
        TargetError: `ssh` is not installed on this machine.
    """
    try:
        done = program.run(
            # Without the user's configuration: its forwards must not be applied here.
            ["ssh", "-F", "none", "-S", control_path, "-O", verb, *arguments, "--", "connection"],
            timeout=_CONTROL_TIMEOUT_S,
        )
    except program.TimedOutError:
        return "the connection's own process does not answer"
    return done.stderr.strip() or "ssh failed" if done.code else ""


def _quoted(path: str) -> str:
    """A path quoted for ssh's options, which split at blanks and expand `%` and `~`."""
    text = path.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

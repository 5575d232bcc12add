"""The command lines of `ssh`: what we ask of it, and what we leave to the user's own configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.ssh import program

if TYPE_CHECKING:
    from amlexec.ssh.login import Login

__all__ = ["control", "probe_command", "ssh_command", "trust_command"]

_PERSIST = 60
"""Seconds that a connection stays after its last use."""
_CONNECT = 6
"""Seconds until a machine that does not answer counts as unreachable."""
_ALIVE = 5
"""Seconds without a word after which ssh asks whether the machine is there; three in vain end it."""
_CONTROL_TIMEOUT_S = 10.0
"""Seconds that the connection's own process, which is here, may take to answer."""


_COMMON = {
    "StrictHostKeyChecking": "yes",
    "ConnectTimeout": str(_CONNECT),
    "ConnectionAttempts": "1",
    "ServerAliveInterval": str(_ALIVE),
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
    # What a configuration may have for a terminal's sake, and what would stand in a script's way.
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
    """`ssh` with its options, up to the host. Its own words go to `log`, apart from the script's.

    With `proven`, they say which way in was taken, and no agent has opened a key that has a passphrase.
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
    # With what the machine says during the login: why an account is closed, say.
    options["LogLevel"] = "INFO"
    if proven:
        options |= {"IdentityAgent": "none"} if login.private_key else {"LogLevel": "VERBOSE"}
    if login.known_hosts:
        options |= {
            "UserKnownHostsFile": _quoted(login.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "KnownHostsCommand": "none",
            # The name that the keys were pinned under, whatever ~/.ssh/config makes of the host.
            "HostKeyAlias": login.address,
            "UpdateHostKeys": "no",
        }
    return _command(login, log, options)


def probe_command(login: Login, known_hosts: str, log: str, key_type: str = "") -> list[str]:
    """`ssh` that writes the host key it is shown (of that type) to a file, and logs nobody in."""
    options = {
        **_of_type(key_type),
        **_COMMON,
        "BatchMode": "yes",
        # The file is empty: whatever key comes is written down, and trusted for nothing.
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
    """`ssh` that holds a host key against OpenSSH's own files, says which it is, and logs nobody in."""
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
    """The option that lets a machine show its key of one type only."""
    if not key_type:
        return {}
    # One and the same key signs in three ways.
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
    """Ask something of a connection's own process; "" where it did so, else what ssh said.

    Raises:
        TargetError: there is no `ssh` here.
    """
    try:
        done = program.run(
            # Without the user's configuration: its forwards are no business of ours.
            ["ssh", "-F", "none", "-S", control_path, "-O", verb, *arguments, "--", "connection"],
            timeout=_CONTROL_TIMEOUT_S,
        )
    except program.TimedOutError:
        return "the connection's own process does not answer"
    return done.stderr.strip() or "ssh failed" if done.code else ""


def _quoted(path: str) -> str:
    """A path as ssh's options take it: they split at blanks and expand `%` and `~`."""
    text = path.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'

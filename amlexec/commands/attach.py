"""`amlexec computetarget attach`: make a machine over SSH a compute target."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING

from amlexec import console, kinds
from amlexec.commands import attach_service
from amlexec.commands.options import add_project
from amlexec.errors import UsageError

if TYPE_CHECKING:
    from amlexec.machines.attach import Admitted
    from amlexec.machines.first_login import Credentials
    from amlexec.machines.target_text import Attachment
    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    verb = verbs.add_parser(
        "attach",
        help="make a machine over SSH a compute target",
        description="Make a machine over SSH a compute target: log in, check the machine, and write "
        "NAME.compute and NAME.runconfig. Without a password or a key, OpenSSH's own configuration, agent "
        "and keys are used. amlexec prompts for a password only on a terminal, and only if the machine asks "
        "for one.",
        allow_abbrev=False,
    )
    verb.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(kinds.ATTACHABLE)}")
    verb.add_argument("--type", dest="typed", metavar="KIND", help="older spelling of KIND")
    verb.add_argument("--cluster", action="store_true", help="oldest spelling of the kind cluster")
    verb.add_argument("-n", "--name", required=True, metavar="NAME", help="name of the target and its files")
    verb.add_argument("-a", "--address", metavar="ADDRESS", help="host name or IP address, or HOST:PORT")
    verb.add_argument("-u", "--username", metavar="USER", help="the user to log in as")
    verb.add_argument(
        "-w", "--password", metavar="PASSWORD", help="the user's password; stays in the shell's history, too"
    )
    verb.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input, one line"
    )
    verb.add_argument(
        "-k",
        "--use-amlexec-ssh-key",
        "--use-azureml-ssh-key",
        dest="new_key",
        action="store_true",
        help="create a key pair for the target; with a password or a key file, also install it there",
    )
    verb.add_argument("--private-key-file", metavar="FILE", help="private key to log in with")
    verb.add_argument(
        "--private-key-passphrase",
        metavar="TEXT",
        help="passphrase of that key; better: `ssh-add FILE`, and neither option",
    )
    verb.add_argument(
        "--base-docker-image", metavar="IMAGE", help="remotedocker: the image that environments are built on"
    )
    for option, (_, about) in _OF_SLURM.items():
        verb.add_argument(option, metavar="TEXT", help=f"slurm: {about}")
    verb.add_argument("--ssh-port", type=int, metavar="N", help="port of the machine's sshd (default: 22)")
    verb.add_argument(
        "--fingerprint",
        metavar="SHA256:…",
        help="required fingerprint of the host key (default: accept a new key and print it)",
    )
    verb.add_argument("--no-check", action="store_true", help="only write the files, without connecting")
    verb.add_argument("--force", action="store_true", help="replace existing files")
    # Workbench's prompt echoed the password without it; amlexec never shows a password.
    verb.add_argument("--hide-password", action="store_true", help=argparse.SUPPRESS)
    attach_service.add(verb)
    add_project(verb)


_OF_SLURM = {
    "--partition": ("partition", "the partition that runs are submitted to (default: the cluster's)"),
    "--account": ("account", "the account that the time is charged to"),
    "--time": ("time", "the time limit of a run, such as 2:00:00 or 1-12"),
    "--shared-directory": (
        "sharedDirectory",
        "a folder that all nodes share (default: the home folder)",
    ),
}
"""Options for a Slurm cluster, with the keys that they write."""


def run(project: Project, arguments: argparse.Namespace) -> int:
    """Log in, write the files, print what to type next; the exit code."""
    from amlexec.machines import attach

    kind = _kind(arguments)
    if kinds.of(kind).is_service:
        return attach_service.run(project, arguments, kind, _password)
    attach_service.must_not_apply(arguments, kind)
    if missing := [option for option, value in _REQUIRED if not getattr(arguments, value)]:
        raise UsageError(f"a target of type {kind} needs {' and '.join(missing)}")
    wanted = _attachment(arguments, kind)
    _must_fit_together(arguments)
    attach.must_be_free(project, wanted.name, force=arguments.force)
    request = attach.AttachRequest(
        wanted,
        _credentials(arguments),
        new_key=arguments.new_key,
        check=not arguments.no_check,
        fingerprint=_fingerprint(arguments),
        force=arguments.force,
    )
    question = f"Password of {wanted.username} on {wanted.address}: "
    admitted = attach.admit(project, request, console.say, lambda: _asked(question))
    console.data("Successfully created the following files:")
    for file in admitted.files:
        console.data(f"  {file}{' (replaced)' if file in admitted.replaced else ''}")
    _tell(project, wanted, admitted, arguments)
    return 0


def _fingerprint(arguments: argparse.Namespace) -> str:
    if arguments.fingerprint is None:
        return ""
    from amlexec.machines.host_trust import valid_fingerprint

    return valid_fingerprint(arguments.fingerprint)


_REQUIRED = (("-a ADDRESS", "address"), ("-u USER", "username"))


def _attachment(arguments: argparse.Namespace, kind: str) -> Attachment:
    from amlexec.machines.target_text import Attachment, address_of, valid_image, valid_name

    if arguments.base_docker_image is not None and not kinds.of(kind).in_container:
        raise UsageError(
            f"--base-docker-image does not apply to a target of type {kind}",
            hint="leave it out, or attach the machine as remotedocker",
        )
    return Attachment(
        name=valid_name(arguments.name),
        kind=kind,
        address=address_of(arguments.address, arguments.ssh_port, kind),
        username=arguments.username,
        base_docker_image=valid_image(arguments.base_docker_image or ""),
        more=_of_slurm(arguments, kind),
    )


def _of_slurm(arguments: argparse.Namespace, kind: str) -> tuple[tuple[str, str], ...]:
    """The keys of a Slurm cluster that were given, each checked as in a file."""
    found = []
    for option, (key, _) in _OF_SLURM.items():
        value = getattr(arguments, option[2:].replace("-", "_"))
        if value is None:
            continue
        if not kinds.of(kind).is_slurm_cluster:
            raise UsageError(f"{option} does not apply to a target of type {kind}", hint="leave it out")
        from amlexec.config.schemas import compute_pattern

        if not re.search(compute_pattern(key), value):
            raise UsageError(
                f"{option} is {value!r}, which is not valid",
                hint=f"`{key}` in the reference of compute targets has its form",
            )
        found.append((key, value.strip()))
    return tuple(found)


def _kind(arguments: argparse.Namespace) -> str:
    from amlexec.config.messages import close, either

    spelled = [arguments.kind, arguments.typed, kinds.CLUSTER.name if arguments.cluster else None]
    given = sorted({kinds.of(each).name for each in spelled if each is not None})
    if len(given) > 1:
        raise UsageError(f"two kinds are given, {given[0]} and {given[1]}", hint="give one")
    if not given:
        usual = kinds.REMOTEDOCKER.name
        console.say(f"no kind was given: using {usual}, as `attach` without a kind always has")
        return usual
    kind = kinds.of(given[0])
    if kind.is_here:
        raise UsageError(
            f"a target of type {kind.name} is on this machine: there is nothing to attach",
            hint="`amlexec init` makes one",
        )
    if not kind.is_attachable:
        guess = close(kind.name, kinds.ATTACHABLE)
        raise UsageError(
            f"{kind.name!r} can't be attached; expected {either(kinds.ATTACHABLE)}",
            hint=f"did you mean {guess}?" if guess else "",
        )
    return kind.name


def _must_fit_together(arguments: argparse.Namespace) -> None:
    ways = {
        "-w": arguments.password is not None,
        "--password-stdin": arguments.password_stdin,
        "--private-key-file": arguments.private_key_file is not None,
    }
    chosen = [name for name, is_given in ways.items() if is_given]
    if len(chosen) > 1:
        raise UsageError(f"{chosen[0]} and {chosen[1]} are two ways to log in", hint="give one of them")
    if arguments.private_key_passphrase is not None and arguments.private_key_file is None:
        raise UsageError("--private-key-passphrase is given without --private-key-file")
    if arguments.no_check and arguments.fingerprint is not None:
        raise UsageError("--no-check does not connect, so --fingerprint can't be compared")
    if arguments.no_check and arguments.new_key and chosen:
        raise UsageError(
            f"--no-check does not connect, so the key can't be installed with {chosen[0]}",
            hint="leave out one of the two",
        )


def _credentials(arguments: argparse.Namespace) -> Credentials:
    from amlexec.machines.first_login import Credentials

    if arguments.private_key_file is not None:
        from amlexec.machines.target_text import valid_key_file

        if arguments.private_key_passphrase is not None:
            console.say("warning: the passphrase is now in the shell's history and the process list")
            console.say("  hint: `ssh-add FILE` asks for it; then neither option is needed")
        return Credentials(arguments.private_key_passphrase or "", valid_key_file(arguments.private_key_file))
    password = _password(arguments)
    if password is None:
        return Credentials()
    return Credentials(password)


def _password(arguments: argparse.Namespace) -> str | None:
    """The password that was given; None if none was. Raises UsageError if it is empty."""
    password: str | None = arguments.password
    if password is not None:
        console.say("warning: the password of -w is now in the shell's history and the process list")
        console.say("  hint: leave out -w to be asked for it, or use --password-stdin")
    elif arguments.password_stdin:
        password = _asked() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    if password == "":
        raise UsageError("the password is empty", hint="leave the option out to log in without one")
    return password


def _asked(question: str = "Password: ") -> str:
    """A password that the user types without echo; "" without a terminal."""
    if not sys.stdin.isatty():
        return ""
    import getpass

    try:
        return getpass.getpass(question)
    except EOFError:
        return ""


def _tell(project: Project, wanted: Attachment, admitted: Admitted, arguments: argparse.Namespace) -> None:
    """Print the findings, and what to type next."""
    from amlexec.commands.output import findings
    from amlexec.machines.check_results import OK

    name = wanted.name
    if admitted.public_key:
        for line in _append(wanted, admitted.public_key):
            console.data(line)
    if problems := [finding for finding in admitted.findings if finding.status != OK]:
        console.say("")
        console.say("Fix these first:")
        for line in findings(problems):
            console.say(f"  {line}")
    if arguments.no_check and not admitted.public_key:
        console.say("the machine was not checked; to check it:")
        console.say(f"  amlexec computetarget check {_quoted(name)}")
    console.data("")
    if kinds.of(wanted.kind).is_user_managed:
        console.data(f"Runs on {name} use the packages that its Python has; install there what is missing.")
        console.data("Run a script there:")
    else:
        if not os.path.exists(f"{project.configuration}/conda_dependencies.yml"):  # noqa: PTH110
            console.data(
                "First write aml_config/conda_dependencies.yml; `amlexec init` creates one to start from."
            )
        console.data(f"Before running against {name}, you need to prepare it:")
        console.data(f"  amlexec experiment prepare -c {_quoted(name)}")
        console.data("Then run a script there:")
    console.data(f"  amlexec experiment submit -c {_quoted(name)} train.py")


def _append(wanted: Attachment, public: str) -> list[str]:
    command = (
        f"mkdir -p ~/.ssh && chmod 700 ~/.ssh && echo '{public}' >> ~/.ssh/authorized_keys"
        " && chmod 600 ~/.ssh/authorized_keys"
    )
    return [
        "",
        f"The key is not installed yet. On {wanted.address}, {wanted.username} has to run this command:",
        "",
        command,
        "",
        "Then check that it works:",
        f"  amlexec computetarget check {_quoted(wanted.name)}",
    ]


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)

"""`amlexec experiment prepare`: build an environment, check it, publish it, print its Dockerfile."""

from __future__ import annotations

import re

from amlexec import console
from amlexec.errors import UsageError
from amlexec.light_typing import TYPE_CHECKING
from amlexec.prepare.project import EnvironmentRef, ProjectEnvironments, yours

if TYPE_CHECKING:
    import argparse

    from amlexec.docker.client import Engine
    from amlexec.prepare.prepare import Readiness
    from amlexec.values import Project

__all__ = ["prepare", "status_line"]

MORE = re.compile(r" … and \d+ more$")
"""The end of a reason that stands for several."""


def prepare(project: Project, arguments: argparse.Namespace) -> int:
    """Run the command; the exit code. Raises what its parts raise."""
    environments = ProjectEnvironments(project)
    ref = environments.ref(
        arguments.run_configuration, arguments.target or "", keep=not arguments.print_digest
    )
    for note in ref.notes:
        for line in note.lines():
            console.say(line)
    for option in ("print_digest", "print_dockerfile", "context", "push"):
        if ref.is_yours and getattr(arguments, option):
            raise UsageError(
                f"--{option.replace('_', '-')} does not apply to {ref.name}: {yours(ref.kind)}",
                hint="name a docker target with -t",
            )
    if arguments.print_digest:
        console.data(ref.digest)
        return 0
    if arguments.print_dockerfile or arguments.context:
        return _dockerfile(environments, ref, arguments)
    reasons = environments.reasons(ref) if arguments.all_reasons else []
    found = environments.look(ref) if arguments.check else _prepare(environments, ref, arguments)
    pushed = _push(environments, ref, found, arguments.push) if arguments.push and found.ready else ""
    if arguments.output == "json":
        import json

        more: dict[str, object] = {"published": pushed} if pushed else {}
        more |= {"reasons": reasons} if arguments.all_reasons else {}
        console.data(json.dumps(_named(found) | more, indent=2))
    else:
        _say(ref, found, reasons)
        if pushed:
            console.data(pushed)
    return 0 if found.ready else 1


def _named(found: Readiness) -> dict[str, object]:
    values = found._asdict()
    key = values.pop("key")
    return values | ({"folder": key} if key.startswith("/") else {"image_id": key})


def status_line(ref: EnvironmentRef, found: Readiness) -> str:
    """The line about an environment that amlexec and doit print."""
    return f"{ref.name}: {'' if found.ready else 'not ready: '}{found.reason}"


def _say(ref: EnvironmentRef, found: Readiness, reasons: list[str]) -> None:
    """Print the line about an environment, or a line for each of the reasons."""
    if len(reasons) < 2:
        console.data(status_line(ref, found))
        if MORE.search(found.reason):
            console.say("  hint: --all-reasons shows every reason")
        return
    first = status_line(ref, found._replace(reason=MORE.sub("", found.reason)))
    console.data("\n".join([first, *(f"  {reason}" for reason in reasons[1:])]))


def _prepare(
    environments: ProjectEnvironments, ref: EnvironmentRef, arguments: argparse.Namespace
) -> Readiness:
    found = environments.look(ref)
    forced = "--force" if arguments.force else ""
    if found.ready and not arguments.refresh and not forced:
        return found
    from amlexec import progress
    from amlexec.images import registry

    where = registry.place(arguments.pull_from or "")
    with progress.for_terminal() as shown:
        return environments.prepare(ref, shown, refresh=arguments.refresh, pull_from=where, forced=forced)


def _engine(environments: ProjectEnvironments, ref: EnvironmentRef) -> Engine:
    from amlexec.images.store import ImageStore

    store = environments.store(ref)
    if isinstance(store, ImageStore):
        return store.engine
    raise UsageError(
        f"the environment of {ref.name} is not an image: {ref.target} stores it in a folder",
        hint="name a target of type docker or remotedocker with -t",
    )


def _push(environments: ProjectEnvironments, ref: EnvironmentRef, found: Readiness, where: str) -> str:
    from amlexec import progress
    from amlexec.images import registry

    with progress.for_terminal() as shown:
        return registry.push(_engine(environments, ref), found.digest, registry.place(where), shown)


def _dockerfile(environments: ProjectEnvironments, ref: EnvironmentRef, arguments: argparse.Namespace) -> int:
    from amlexec import progress
    from amlexec.images import dockerfile

    with progress.for_terminal() as shown:
        wanted = environments.wanted(ref)
        recipe = dockerfile.recipe(_engine(environments, ref), wanted.request, wanted.configuration, shown)
        if arguments.context:
            dockerfile.write(recipe, arguments.context, shown)
    if arguments.print_dockerfile:
        console.data(recipe.text.rstrip("\n"))
    return 0

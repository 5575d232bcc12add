"""`amlexec experiment prepare`: make an environment ready, say whether it is, publish it, show its recipe."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.errors import UsageError
from amlexec.prepare.project import EnvironmentRef, ProjectEnvironments, yours

if TYPE_CHECKING:
    import argparse

    from amlexec.docker.client import Engine
    from amlexec.model import Project
    from amlexec.prepare.prepare import Readiness

__all__ = ["prepare", "said"]

MORE = re.compile(r" … and \d+ more$")
"""The end of a sentence that stands for several."""


def prepare(project: Project, arguments: argparse.Namespace) -> int:
    """Do what the arguments say; the exit code. Raises what its parts raise."""
    environments = ProjectEnvironments(project)
    one = environments.ref(
        arguments.run_configuration, arguments.target or "", keep=not arguments.print_digest
    )
    for note in one.notes:
        for line in note.lines():
            console.say(line)
    for option in ("print_digest", "print_dockerfile", "context", "push"):
        if one.is_yours and getattr(arguments, option):
            raise UsageError(
                f"--{option.replace('_', '-')} makes no sense for {one.name}: {yours(one.kind)}",
                hint="name a docker target with -t",
            )
    if arguments.print_digest:
        console.data(one.digest)
        return 0
    if arguments.print_dockerfile or arguments.context:
        return _dockerfile(environments, one, arguments)
    reasons = environments.reasons(one) if arguments.all_reasons else []
    found = environments.look(one) if arguments.check else _prepare(environments, one, arguments)
    pushed = _push(environments, one, found, arguments.push) if arguments.push and found.ready else ""
    if arguments.output == "json":
        import json

        more: dict[str, object] = {"published": pushed} if pushed else {}
        more |= {"reasons": reasons} if arguments.all_reasons else {}
        console.data(json.dumps(_named(found) | more, indent=2))
    else:
        _say(one, found, reasons)
        if pushed:
            console.data(pushed)
    return 0 if found.ready else 1


def _named(found: Readiness) -> dict[str, object]:
    told = found._asdict()
    key = told.pop("key")
    return told | ({"folder": key} if key.startswith("/") else {"image_id": key})


def said(one: EnvironmentRef, found: Readiness) -> str:
    """The sentence about an environment that both doors print."""
    return f"{one.name}: {'' if found.ready else 'not ready: '}{found.reason}"


def _say(one: EnvironmentRef, found: Readiness, reasons: list[str]) -> None:
    """The sentence about an environment, or one for each of the reasons."""
    if len(reasons) < 2:
        console.data(said(one, found))
        if MORE.search(found.reason):
            console.say("  hint: --all-reasons says all of it")
        return
    first = said(one, found._replace(reason=MORE.sub("", found.reason)))
    console.data("\n".join([first, *(f"  {one}" for one in reasons[1:])]))


def _prepare(
    environments: ProjectEnvironments, one: EnvironmentRef, arguments: argparse.Namespace
) -> Readiness:
    found = environments.look(one)
    forced = "--force" if arguments.force else ""
    if found.ready and not arguments.refresh and not forced:
        return found
    from amlexec import progress
    from amlexec.images import registry

    where = registry.place(arguments.pull_from or "")
    with progress.for_terminal() as shown:
        return environments.prepare(one, shown, refresh=arguments.refresh, pull_from=where, forced=forced)


def _engine(environments: ProjectEnvironments, one: EnvironmentRef) -> Engine:
    from amlexec.images.store import ImageStore

    store = environments.store(one)
    if isinstance(store, ImageStore):
        return store.engine
    raise UsageError(
        f"the environment of {one.name} is no image: {one.target} has it in a folder",
        hint="name a target of type docker or remotedocker with -t",
    )


def _push(environments: ProjectEnvironments, one: EnvironmentRef, found: Readiness, where: str) -> str:
    from amlexec import progress
    from amlexec.images import registry

    with progress.for_terminal() as shown:
        return registry.push(_engine(environments, one), found.digest, registry.place(where), shown)


def _dockerfile(environments: ProjectEnvironments, one: EnvironmentRef, arguments: argparse.Namespace) -> int:
    from amlexec import progress
    from amlexec.images import dockerfile

    with progress.for_terminal() as shown:
        wanted = environments.wanted(one)
        recipe = dockerfile.recipe(_engine(environments, one), wanted.request, wanted.configuration, shown)
        if arguments.context:
            dockerfile.write(recipe, arguments.context, shown)
    if arguments.print_dockerfile:
        console.data(recipe.text.rstrip("\n"))
    return 0

"""`amlexec runconfiguration`: create, list, show and delete run configurations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from amlexec import console
from amlexec.commands.options import add_project, project_of
from amlexec.config import load as config
from amlexec.config import schemas
from amlexec.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Declaration, Project

__all__ = ["add", "run"]


def add(groups: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the arguments."""
    group = groups.add_parser(
        "runconfiguration",
        help="create, list, show and delete run configurations",
        allow_abbrev=False,
    )
    verbs = group.add_subparsers(metavar="VERB", dest="verb", required=True)
    about = {
        "create": "create a run configuration for an existing compute target",
        "list": "list the run configurations of the project",
        "show": "show a run configuration with all defaults filled in",
        "delete": "remove a run configuration's file",
    }
    verb = {
        name: verbs.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        for name, summary in about.items()
    }
    for name in ("create", "show", "delete"):
        verb[name].add_argument(
            "-n", "--name", required=True, metavar="NAME", help="name of the run configuration"
        )
    verb["create"].add_argument(
        "-t", "--target", required=True, metavar="TARGET", help="the compute target that it runs on"
    )
    for name in ("list", "show"):
        verb[name].add_argument(
            "-o", "--output", choices=["table", "json"], default="table", help="output format"
        )
    for each in verb.values():
        add_project(each)


def run(arguments: argparse.Namespace) -> int:
    """Do the verb; the exit code."""
    project = project_of(arguments)
    verbs = {"create": _create, "list": _list, "show": _show, "delete": _delete}
    return verbs[arguments.verb](project, arguments)


def _create(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.machines.target_text import runconfig_text, valid_name

    name = valid_name(arguments.name, "run configuration")
    # Raises if there is no such target, or its file is wrong.
    target = config.load_target(project, arguments.target.removesuffix(".compute"))
    path = Path(project.configuration, f"{name}.runconfig")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(runconfig_text(target.name, target.kind))
    except FileExistsError:
        raise UsageError(
            f"there is a run configuration {name!r} already",
            where=_shown(project, name),
            hint="give another name with -n, or edit that file",
        ) from None
    console.data(f"wrote {_shown(project, name)}")
    console.data(f"next: amlexec experiment submit -c {name} SCRIPT")
    return 0


def _list(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.commands import output

    rows: list[dict[str, Any]] = []
    for name in config.run_configurations(project):
        row: dict[str, Any] = {"name": name, "target": None, "framework": None}
        try:
            found = config.load(project, name).run_configuration
        except ConfigurationError as error:
            for line in error.lines():
                console.say(line)
        else:
            row |= {"target": found.target, "framework": found.framework}
        rows.append({**row, "file": _shown(project, name)})
    if not rows:
        console.say("there are no run configurations yet: `amlexec init` makes some")
    if rows or arguments.output == "json":
        console.data(output.render(rows, arguments.output, titled=True))
    return 0


def _show(project: Project, arguments: argparse.Namespace) -> int:
    from amlexec.commands import output

    shown = _keys(config.load(project, arguments.name))
    if arguments.output == "json":
        console.data(output.as_json(shown))
    else:
        console.data(output.fields({key: _text(value) for key, value in shown.items()}))
    return 0


def _keys(declaration: Declaration) -> dict[str, Any]:
    """The keys as the file spells them; values of variables whose names look secret are hidden."""
    from amlexec import redaction

    found, target = declaration.run_configuration, declaration.compute_target
    return {
        "name": found.name,
        "Target": target.name,
        "type": target.kind,
        "Framework": found.framework,
        "ArgumentVector": list(found.argument_vector),
        "EnvironmentVariables": redaction.redacted(dict(found.environment_variables)),
        "CondaDependenciesFile": found.conda_dependencies_file,
        "SparkDependenciesFile": found.spark_dependencies_file,
        "PrepareEnvironment": found.prepare_environment,
        "TrackedRun": found.tracked_run,
        "Models": [each.reference for each in found.models],
    }


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return " ".join(value) if isinstance(value, list) else value


def _delete(project: Project, arguments: argparse.Namespace) -> int:
    name = arguments.name.removesuffix(".runconfig")
    names = config.run_configurations(project)
    if name not in names:
        from amlexec.config.references import names_hint

        raise UsageError(f"there is no run configuration {name!r}", hint=names_hint(name, names))
    file = _shown(project, name)
    Path(project.root, file).unlink()
    console.data(f"removed {file}")
    return 0


def _shown(project: Project, name: str) -> str:
    file = schemas.run_configuration_files(project.configuration).get(name, f"{name}.runconfig")
    return f"{project.folder}/{file}"

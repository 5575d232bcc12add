"""`amlexec service test`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from amlexec import console
from amlexec.commands.service_options import add_data, add_models, body_of, script_of, show
from amlexec.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from amlexec.values import Project

__all__ = ["add", "run"]


def add(verb: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    verb.add_argument("script", metavar="SCRIPT", help="scoring script with init() and run(data)")
    add_models(verb)
    add_data(verb)
    verb.add_argument("--python", metavar="PYTHON", help="Python to run it with (default: the active one)")
    verb.add_argument("--serve", action="store_true", help="print the address, and serve until Ctrl-C")
    verb.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")


def run(project: Project | None, arguments: argparse.Namespace) -> int:
    """Start it, send the request, end it; the exit code is 1 if the answer is an error."""
    from amlexec.services import local, models, request

    script = script_of(arguments.script)
    if arguments.data is None and not arguments.serve:
        raise UsageError(
            "there is nothing to send", hint="-d '{…}' or -d @FILE; or --serve, to try it in a browser"
        )
    served = models.found(project, arguments.models, arguments.registry)
    body = body_of(arguments)
    with local.started(script, served, arguments.python or "", port=arguments.port) as service:
        if arguments.data is not None:
            answer = request.send("127.0.0.1", service.port, service.key, body, arguments.content_type)
            show(answer)
            if not arguments.serve:
                return 0 if answer.is_fine else 1
        console.data(f"http://127.0.0.1:{service.port}/  key: {service.key}")
        sys.stdout.flush()
        service.process.wait()
    return 0

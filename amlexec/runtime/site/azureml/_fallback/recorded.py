"""An installed azureml-core, in a run: its runs outside Azure print what they log. Here it is recorded."""

import functools
import os
import sys

from amlexec.run import log_image, record, tag, upload

__all__ = ["RecordedRuns"]

_MODULE = "azureml.core.run"
_KINDS = {"scalar": "", "residual": "residuals"}
_OWN = os.path.dirname(os.path.abspath(__file__))


def _named(run, name):
    """The name of a child's metric follows the child's: `fold1/accuracy`."""
    child = run.id.partition(".")[2]
    return "{}/{}".format(child, name) if child else str(name)


def _emit(run, type, name, value):  # noqa: A002 - as the SDK calls it
    name = _named(run, name)
    if type != "image":
        record(_KINDS.get(type, type), name, value)
    elif hasattr(value, "savefig"):
        log_image(name, plot=value)
    elif os.path.isfile(str(value)):
        log_image(name, path=value)


def _tag(run, name, value=None):
    tag(_named(run, name), "" if value is None else value)


def _set_tags(run, tags):
    for name, value in tags.items():
        _tag(run, name, value)


def _add_properties(run, properties):
    for name, value in properties.items():
        _tag(run, "properties.{}".format(name), value)


def _upload_file(run, name, path_or_stream, *_, **__):
    # The SDK does not open the file: a mistake that it lets pass must not end the script.
    try:
        if hasattr(path_or_stream, "read"):
            upload(_named(run, name), path_or_stream)
        else:
            with open(str(path_or_stream), "rb") as file:
                upload(_named(run, name), file)
    except (OSError, ValueError) as error:
        sys.stderr.write("amlexec: warning: {} could not be kept: {}\n".format(name, error))


def _upload_files(run, name, paths, *_, **__):
    for inner, path in zip(name, paths):  # noqa: B905 - new in Python 3.10
        _upload_file(run, inner, path)


def _upload_folder(run, name, path, *_, **__):
    for folder, _folders, files in os.walk(str(path)):
        for file in files:
            inner = os.path.relpath(os.path.join(folder, file), str(path))
            _upload_file(run, "{}/{}".format(name, inner), os.path.join(folder, file))


_ALSO = {
    "_emit": _emit,
    "tag": _tag,
    "set_tags": _set_tags,
    "add_properties": _add_properties,
    "upload_file": _upload_file,
    "upload_files": _upload_files,
    "upload_folder": _upload_folder,
}
"""What a method of the SDK does here after its own work."""


def _both(method, also):
    @functools.wraps(method)
    def both(run, *arguments, **named):
        result = method(run, *arguments, **named)
        also(run, *arguments, **named)
        return result

    return both


def _with_step(method):
    @functools.wraps(method)
    def log(run, name, value, description="", step=None):
        """As for a run in Azure, with a step: the SDK's run outside has none."""
        if step is None:
            method(run, name, value, description)
        else:
            print("Attempted to log scalar metric {}:\n{}".format(name, value))
            record("", _named(run, name), value, step)

    return log


class RecordedRuns:
    """Finds the installed `azureml.core.run` for the script, and lets its runs record."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """The module, as the other finders find it; None for others, and for ours."""
        if name != _MODULE:
            return None
        sys.meta_path.remove(cls)
        specs = (
            finder.find_spec(name, path, target) for finder in sys.meta_path if hasattr(finder, "find_spec")
        )
        spec = next((found for found in specs if found is not None), None)
        if spec is None or spec.loader is None or str(spec.origin).startswith(_OWN):
            return spec
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            offline = getattr(module, "_OfflineRun", None)
            for method, also in _ALSO.items() if offline else ():
                setattr(offline, method, _both(getattr(offline, method), also))
            if offline:
                offline.log = _with_step(offline.log)

        spec.loader.exec_module = exec_module
        return spec

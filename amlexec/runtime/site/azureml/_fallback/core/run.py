"""`azureml.core.Run` of 2018 to 2023, so that a script written for it logs into the run, unchanged.

    from azureml.core import Run

    run = Run.get_context()
    run.log("accuracy", 0.97)

Inside a run of amlexec it is that run. Outside, it is a run that prints what it would log, as the SDK has it.
Both accept the arguments of the SDK's online and offline runs. A child run logs into its parent's record, its
names prefixed with the child's: `fold1/accuracy`.
"""

import itertools
import os
import sys

from amlexec.run import tag
from azureml._fallback.absent import DATA, Absent, NotAvailableError
from azureml.core import _values
from azureml.core._files import RunFiles
from azureml.core._offline import OfflineLogger
from azureml.core._online import OnlineLogger
from azureml.core.model import Model
from azureml.exceptions import RunEnvironmentException, UserErrorException

__all__ = ["Run", "get_run"]

_FOLDER = "AMLEXEC_RUN_FOLDER"
_MOST_CHILDREN = 100
_PROPERTY = "properties."
_contexts = {}  # type: dict[str, Run]


class _Experiment:
    """The project that the run belongs to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = name
        self.workspace = Absent("run.experiment.workspace", DATA, name=name)

    def __repr__(self) -> str:
        return "Experiment(Name: {})".format(self.name)


class Run(OnlineLogger, RunFiles):
    """The run that the script is part of, or a child of it."""

    def __init__(self, run_id: str, name: str = "", parent: "Run | None" = None) -> None:
        self._id = run_id
        self._name = name
        self._children = []  # type: list[Run]
        self._numbers = itertools.count(1)
        self._status = "Running"
        self.parent = parent
        self.prefix = "" if parent is None else "{}{}/".format(parent.prefix, name)
        """Before the names of a child's metrics, tags and files."""
        self.number = int(run_id.rpartition("_")[2]) if run_id.rpartition("_")[2].isdigit() else 1
        self.experiment = _Experiment(run_id.rpartition("_")[0]) if parent is None else parent.experiment
        self.input_datasets = Absent("run.input_datasets", DATA)
        self.output_datasets = Absent("run.output_datasets", DATA)

    @staticmethod
    def get_context(allow_offline: bool = True, used_for_context_manager: bool = False, **_: object) -> "Run":
        """The run of this script; outside a run, one that only prints.

        Raises RunEnvironmentException outside a run with `allow_offline=False`.
        """
        del used_for_context_manager
        folder = os.environ.get(_FOLDER)
        if not folder and not allow_offline:
            raise RunEnvironmentException(
                "this script is not in a run: submit it with amlexec experiment submit -c NAME SCRIPT, "
                "or call Run.get_context() without allow_offline=False"
            )
        if not folder:
            return _OfflineRun(OfflineLogger.new_id())
        if folder not in _contexts:
            _contexts[folder] = Run(os.environ.get("AMLEXEC_RUN_ID") or os.path.basename(folder))
        return _contexts[folder]

    @staticmethod
    def get_submitted_run(**options: object) -> "Run":
        """The same as `get_context(allow_offline=False)`."""
        return Run.get_context(allow_offline=False, **options)

    # Tags and properties

    def tag(self, key: object = None, value: object = None, **other: object) -> None:
        """Set a tag; both spellings of its name, `key` and `name`, are accepted."""
        tag(self._named(other.get("name", key)), "" if value is None else value)

    def set_tags(self, tags: "dict[object, object]") -> None:
        """Set several tags."""
        for key, value in tags.items():
            self.tag(key, value)

    def get_tags(self) -> "dict[str, object]":
        """The tags of the run."""
        found = _values.tags(os.environ.get(_FOLDER, ""), self.prefix)
        return {key: value for key, value in found.items() if not key.startswith(_PROPERTY)}

    def add_properties(self, properties: "dict[object, object]") -> None:
        """Add properties, which can't be changed: they are tags named `properties.NAME`."""
        present = self.get_properties()
        for key, value in properties.items():
            if present.get(str(key), str(value)) != str(value):
                raise UserErrorException("the property {!r} has another value already".format(key))
            self.tag("{}{}".format(_PROPERTY, key), value)

    def get_properties(self) -> "dict[str, object]":
        """The properties of the run."""
        return _values.tags(os.environ.get(_FOLDER, ""), self.prefix + _PROPERTY)

    tags = property(get_tags)
    properties = property(get_properties)

    # The run itself

    @property
    def id(self) -> str:
        """The run id."""
        return self._id

    @property
    def name(self) -> str:
        """The child's name, or the run id."""
        return self._name or self._id

    display_name = name

    @property
    def status(self) -> str:
        """`Running`; for a child that was ended, how."""
        return self._status

    def get_status(self) -> str:
        """See `status`."""
        return self._status

    def get_details(self) -> "dict[str, object]":
        """What is known of the run within itself."""
        return {
            "runId": self.id,
            "target": os.environ.get("AMLEXEC_TARGET"),
            "status": self._status,
            "properties": self.get_properties(),
            "inputDatasets": [],
            "outputDatasets": [],
            "runDefinition": {},
            "logFiles": {},
        }

    def flush(self, timeout_seconds: object = None) -> None:
        """Nothing to do: what was logged is in the file already."""

    def complete(self, **_: object) -> None:
        """End a child. The run itself ends when the script does."""
        self._end("Completed")

    def fail(self, error_details: object = None, error_code: object = None, **_: object) -> None:
        """End a child as failed. The run itself ends when the script does; the error goes to stderr."""
        if error_details or error_code:
            sys.stderr.write("Run failed with error code {}:\n{}\n".format(error_code, error_details))
        self._end("Failed")

    def cancel(self) -> None:
        """End a child as canceled. The run itself is canceled with amlexec experiment cancel."""
        self._end("Canceled")

    def _end(self, status: str) -> None:
        if self.parent is not None:
            self._status = status

    def wait_for_completion(self, **_: object) -> "dict[str, object]":
        """The details: the script can't wait for itself."""
        return self.get_details()

    def child_run(self, name: object = None, run_id: object = None, outputs: object = None) -> "Run":
        """A part of this run: its metrics, tags and files are this run's, below the child's name."""
        del outputs
        number = next(self._numbers)
        named = str(name if name is not None else run_id if run_id is not None else number)
        own = "{}_{}".format(self.id, number) if run_id is None else str(run_id)
        child = type(self)(own, named, self)
        self._children.append(child)
        return child

    def create_children(
        self, count: object = None, tag_key: object = None, tag_values: "list[object] | None" = None
    ) -> "list[Run]":
        """Several children: `count` of them, or one for each value of a tag. At most 100."""
        if (count is None) == (tag_key is None):
            raise UserErrorException("create_children needs either count, or tag_key and tag_values")
        values = list(tag_values or ()) if count is None else [None] * int(count)  # type: ignore[call-overload]
        if len(values) > _MOST_CHILDREN:
            raise UserErrorException(
                "{} children at once; {} are the most".format(len(values), _MOST_CHILDREN)
            )
        children = [self.child_run() for _ in values]
        for child, value in zip(children, values):  # noqa: B905 - new in Python 3.10
            if tag_key is not None:
                child.tag(tag_key, value)
        return children

    def get_children(self, **_: object) -> "list[Run]":
        """The children that this script has made."""
        return iter(self._children)  # type: ignore[return-value]

    def __enter__(self) -> "Run":  # noqa: PYI034 - typing_extensions need not be there
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.complete()
        else:
            self.fail(error_details=error)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        raise AttributeError("Run.{} needs Azure, which amlexec runs scripts without".format(name))

    def get_secret(self, name: object) -> None:
        """Refused: there is no key vault."""
        raise NotAvailableError(
            "run.get_secret({!r}) needs a key vault of Azure; hand over the secret with "
            "EnvironmentVariables: NAME: ${{env:NAME}}".format(name)
        )

    def __repr__(self) -> str:
        return "Run(Experiment: {}, Id: {}, Status: {})".format(self.experiment.name, self.id, self._status)

    def _named(self, name: object) -> object:
        return self.prefix + str(name) if self.prefix else name


class _OfflineRun(OfflineLogger, Run):
    """A run outside a run."""

    def get_metrics(self, *_: object, **__: object) -> "dict[str, object]":
        """Nothing: nothing was kept."""
        return {}

    def register_model(self, model_name: object, model_path: object = None, **about: object) -> Model:
        """Print the model."""
        print("Attempted to register model {} at {}".format(model_name, model_path or model_name))
        return Model(name=str(model_name), **about)


def get_run(*_: object, **__: object) -> None:
    """Refused: runs are found with `amlexec history`."""
    raise NotAvailableError(
        "get_run needs Azure, which amlexec runs scripts without; look at: amlexec history"
    )

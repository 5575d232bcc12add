"""Files of a run for `azureml.core.Run`: what was uploaded, and `outputs/` of the working directory."""

import os
import shutil

from amlexec.run import upload
from azureml.core.model import Model
from azureml.exceptions import ModelPathNotFoundException, UserErrorException

__all__ = ["RunFiles", "find"]

_BLOCK = 1 << 20


def upload_one(prefix: str, name: str, source: object) -> None:
    """Keep a file or stream as `outputs/NAME`. Raises UserErrorException if that has other contents."""
    if hasattr(source, "read"):
        upload(_place(prefix, name), source)
        return
    path = str(source)
    if not os.path.isfile(path):
        raise UserErrorException("the file {!r} does not exist".format(path))
    present = find(prefix, name)
    if present and not os.path.samefile(present, path) and not _is_same(present, path):
        raise UserErrorException("the run has a file {!r} with other contents already".format(name))
    with open(path, "rb") as file:
        upload(_place(prefix, name), file)


def upload_tree(prefix: str, name: str, path: object) -> None:
    """Keep all files of a folder below `outputs/NAME`."""
    root = str(path)
    if not os.path.isdir(root):
        raise UserErrorException("the folder {!r} does not exist".format(root))
    for folder, _, files in os.walk(root):
        for file in sorted(files):
            inner = os.path.relpath(os.path.join(folder, file), root).replace(os.sep, "/")
            upload_one(prefix, "{}/{}".format(name.rstrip("/"), inner), os.path.join(folder, file))


def listed(prefix: str) -> "list[str]":
    """The names of the run's files, such as `outputs/model.pkl`."""
    found = set()
    for root in _roots(prefix):
        for folder, _, files in os.walk(root):
            for file in files:
                inner = os.path.relpath(os.path.join(folder, file), root).replace(os.sep, "/")
                found.add("outputs/" + inner)
    return sorted(found)


def find(prefix: str, name: str) -> str:
    """The path of a file or folder of the run; "" if there is none."""
    inner = _place("", name)
    for root in _roots(prefix):
        path = os.path.join(root, *inner.split("/"))
        if os.path.exists(path):
            return path
    return ""


def download(prefix: str, name: str, target: str) -> None:
    """Copy a file of the run. Raises UserErrorException if there is none of that name."""
    path = find(prefix, name)
    if not os.path.isfile(path):
        raise UserErrorException(
            "the run has no file {!r}; it has {}".format(name, ", ".join(listed(prefix)[:20]))
        )
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    if not os.path.exists(target) or not os.path.samefile(path, target):
        shutil.copyfile(path, target)


def _roots(prefix: str) -> "list[str]":
    """The folders that become the run's outputs: that of uploads, and the script's own."""
    roots = [os.path.join(os.environ.get("AMLEXEC_RUN_FOLDER", ""), "outputs"), "outputs"]
    return [os.path.join(root, *prefix.split("/")[:-1]) for root in roots]


def _place(prefix: str, name: str) -> str:
    inner = str(name).replace("\\", "/")
    while inner.startswith("./"):
        inner = inner[2:]
    return prefix + (inner[len("outputs/") :] if inner.startswith("outputs/") else inner)


def _is_same(one: str, other: str) -> bool:
    if not os.path.isfile(one) or os.path.getsize(one) != os.path.getsize(other):
        return False
    with open(one, "rb") as first, open(other, "rb") as second:
        return all(first.read(_BLOCK) == block for block in iter(lambda: second.read(_BLOCK), b""))


class RunFiles:
    """Files and models of a run. Mixed into `Run`."""

    def upload_file(self, name: str, path_or_stream: object, datastore_name: object = None) -> None:
        """Keep a file or stream in the run's outputs."""
        del datastore_name
        try:
            upload_one(self.prefix, name, path_or_stream)
        except ValueError as error:
            raise UserErrorException(str(error)) from error

    def upload_files(
        self, names: "list[str] | None" = None, paths: "list[str] | None" = None, **other: object
    ) -> None:
        """Keep several files; both spellings, `names` and `name`, are accepted."""
        found = list(other.get("name", names) or ())  # type: ignore[call-overload]
        if len(found) != len(paths or ()):
            raise UserErrorException("{} names for {} paths".format(len(found), len(paths or ())))
        for name, path in zip(found, paths or ()):  # noqa: B905 - new in Python 3.10
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: object, datastore_name: object = None) -> None:
        """Keep all files of a folder in the run's outputs."""
        del datastore_name
        upload_tree(self.prefix, name, path)

    def get_file_names(self) -> "list[str]":
        """The names of the run's files, such as `outputs/model.pkl`."""
        return listed(self.prefix)

    def download_file(self, name: str, output_file_path: object = None, **_: object) -> None:
        """Copy a file of the run, by default under its last name into the working directory."""
        target = str(output_file_path or os.path.basename(name))
        if os.path.isdir(target) or target.endswith("/"):
            target = os.path.join(target, os.path.basename(name))
        download(self.prefix, name, target)

    def download_files(self, prefix=None, output_directory=None, output_paths=None, append_prefix=True, **_):
        """Copy the files whose names begin with `prefix`."""
        start = str(prefix or "")
        names = [name for name in self.get_file_names() if name.startswith(start)]
        for at, name in enumerate(names):
            inner = name if append_prefix else name[len(start) :].lstrip("/")
            target = output_paths[at] if output_paths else os.path.join(str(output_directory or "."), inner)
            self.download_file(name, target)

    def register_model(self, model_name: object, model_path: object = None, **about: object) -> Model:
        """Register a file or folder of the run as a model, when the run has ended."""
        path = str(model_name if model_path is None else model_path)
        if not find(self.prefix, path) and not os.path.exists(path):
            raise ModelPathNotFoundException(
                "the run has no file {!r}; it has {}".format(path, ", ".join(self.get_file_names()[:20]))
            )
        return Model.register(None, find(self.prefix, path) or path, model_name, **about)

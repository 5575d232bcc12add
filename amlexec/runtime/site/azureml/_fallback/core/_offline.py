"""A run outside a run, as the SDK has it: it prints what it would log, and keeps nothing."""

import uuid

__all__ = ["OfflineLogger"]


class OfflineLogger:
    """The loggers of `Run`; each prints a line. Mixed into `Run` for the time outside a run."""

    @staticmethod
    def new_id() -> str:
        """A new id, such as `OfflineRun_1f0e…`."""
        return "OfflineRun_{}".format(uuid.uuid4())

    def log(self, name: object, value: object, description: str = "", step: object = None) -> None:
        """Print the value."""
        del description, step
        self._emit("scalar", name, value)

    def log_list(self, name: object, value: object, description: str = "") -> None:
        """Print the list."""
        del description
        self._emit("list", name, value)

    def log_row(self, name: object, description: object = None, **columns: object) -> None:
        """Print the row."""
        del description
        self._emit("row", name, columns)

    def log_table(self, name: object, value: object, description: str = "") -> None:
        """Print the table."""
        del description
        self._emit("table", name, value)

    def log_image(
        self, name: object, path: object = None, plot: object = None, description: str = ""
    ) -> None:
        """Print the path, or that there is a plot."""
        del description
        self._emit("image", name, path if plot is None else plot)

    def _record(self, kind: str, name: object, value: object) -> None:
        self._emit(kind, name, value)

    def _emit(self, kind: str, name: object, value: object) -> None:
        print("Attempted to log {} metric {}:\n{}".format(kind, name, value))

    def tag(self, key: object = None, value: object = None, **other: object) -> None:
        """Print the tag; both spellings of its name, `key` and `name`, are accepted."""
        print("Attempted to add tag {} with value {}".format(other.get("name", key), value))

    def set_tags(self, tags: object) -> None:
        """Print the tags."""
        print("Attempted to set tags {}".format(tags))

    def add_properties(self, properties: object) -> None:
        """Print the properties."""
        print("Attempted to add properties {}".format(properties))

    def upload_file(self, name: str, path_or_stream: object, datastore_name: object = None) -> None:
        """Print the name."""
        del datastore_name
        print("Attempted to track file {} at {}".format(name, path_or_stream))

    def upload_files(self, names: object = None, paths: object = None, **other: object) -> None:
        """Print the names; both spellings, `names` and `name`, are accepted."""
        print("Attempted to track files {} at {}".format(other.get("name", names), paths))

    def upload_folder(self, name: str, path: object, datastore_name: object = None) -> None:
        """Print the name."""
        del datastore_name
        print("Attempted to track folder {} at {}".format(name, path))

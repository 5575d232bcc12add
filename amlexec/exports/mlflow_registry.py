"""MLflow's model registry, through the client of a `Tracking`. Nothing of MLflow is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

__all__ = ["DIGEST", "Models", "Version"]

DIGEST = "amlexec.digest"
"""The tag by which a version is found again."""
_PAGE = 200


class Version(NamedTuple):
    """A version in MLflow, which numbers them itself."""

    number: int
    tags: dict[str, str]
    description: str


class Models:
    """The registered models of an MLflow server."""

    def __init__(self, client: Any, errors: Callable[[str], AbstractContextManager[None]]) -> None:
        self._client, self._errors = client, errors

    def ensure(self, name: str) -> None:
        """Make the registered model, unless it exists."""
        with self._errors(f"model {name!r}"):
            try:
                self._client.create_registered_model(name)
            except Exception as error:
                if getattr(error, "error_code", "") != "RESOURCE_ALREADY_EXISTS":
                    raise

    def versions(self, name: str) -> dict[str, Version]:
        """The versions that were exported, by their digests; of several with the same, the oldest."""
        found: dict[str, Version] = {}
        token = None
        with self._errors(f"model {name!r}"):
            while True:
                page = self._client.search_model_versions(
                    f"name='{name}'", max_results=_PAGE, page_token=token
                )
                for each in page:
                    digest = each.tags.get(DIGEST)
                    version = Version(int(each.version), dict(each.tags), each.description or "")
                    if digest and (digest not in found or version.number < found[digest].number):
                        found[digest] = version
                token = page.token
                if not token:
                    return found
        raise AssertionError

    def create(self, name: str, run: str, inside: str, tags: Mapping[str, str], description: str) -> Version:
        """A new version of the artifacts at `inside` of a run of MLflow; or the one with the same digest that
        another computer has just made.
        """
        with self._errors(f"model {name!r}"):
            root = self._client.get_run(run).info.artifact_uri
            made = self._client.create_model_version(
                name,
                f"{root}/{inside}",
                run_id=run,
                tags=dict(tags),
                description=description or None,
                await_creation_for=0,
            )
        number = int(made.version)
        first = self.versions(name).get(tags[DIGEST])
        if first is not None and first.number != number:
            with self._errors(f"model {name!r}"):
                self._client.delete_model_version(name, str(number))
            return first
        return Version(number, dict(tags), description)

    def change(self, name: str, version: Version, tags: Mapping[str, str], description: str) -> bool:
        """Set the tags and the description of a version; whether something was different."""
        added = {key: value for key, value in tags.items() if version.tags.get(key) != value}
        removed = [key for key in version.tags if key not in tags and not key.startswith("mlflow.")]
        with self._errors(f"model {name!r}"):
            for key, value in added.items():
                self._client.set_model_version_tag(name, str(version.number), key, value)
            for key in removed:
                self._client.delete_model_version_tag(name, str(version.number), key)
            if description != version.description:
                self._client.update_model_version(name, str(version.number), description)
        return bool(added or removed or description != version.description)

    def aliases(self, name: str, wanted: Mapping[str, int], ours: frozenset[int]) -> None:
        """Set the aliases, with MLflow's numbers. Others that mean one of `ours` are removed."""
        with self._errors(f"model {name!r}"):
            found = self._client.get_registered_model(name).aliases
            for alias, number in wanted.items():
                if int(found.get(alias, 0)) != number:
                    self._client.set_registered_model_alias(name, alias, str(number))
            for alias, number in found.items():
                if alias not in wanted and int(number) in ours:
                    self._client.delete_registered_model_alias(name, alias)

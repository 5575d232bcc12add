"""`amlexec lint` of many small files and of one, beside check-jsonschema with the same schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.config import schemas
from benchmarks.timing import Command, Figure, Peer, Row, Sizes, compared, installed, script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["rows"]

SMALL = """\
ArgumentVector:
  - train.py
  - --seed={}
Target: local
Framework: Python
EnvironmentVariables:
  LEVEL: "{}"
TrackedRun: true
"""


def rows(folder: Path, rounds: int, sizes: Sizes) -> Iterator[Row]:
    """The rows, measured one after the other."""
    configuration = folder / "aml_config"
    configuration.mkdir()
    (configuration / "local.compute").write_text("type: local\n", encoding="utf-8")
    names = [f"run{number}.runconfig" for number in range(sizes.files)]
    for number, name in enumerate(names):
        (configuration / name).write_text(SMALL.format(number, number), encoding="utf-8")
    for some, wanted in ((names, Figure("ratio", 0.5)), (names[:1], Figure("ms", 130))):
        files = tuple(f"aml_config/{name}" for name in some)
        yield compared(
            f"amlexec lint, {len(files):,} file{'s' * (len(files) > 1)}",
            Command((script("amlexec"), "lint", *files), folder),
            Peer("check-jsonschema", _check_jsonschema(folder, files)),
            wanted,
            rounds,
        )


def _check_jsonschema(folder: Path, files: tuple[str, ...]) -> Command | None:
    if not installed("check_jsonschema"):
        return None
    schema = schemas.path(schemas.RUNCONFIG)
    program = script("check-jsonschema")
    return Command((program, "--schemafile", schema, "--default-filetype", "yaml", *files), folder)

"""Scalars of event files: of real writers, while a file grows, damaged, and several in a folder."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.history import metrics, output_series
from amlexec.history.series import read_series
from amlexec.history.tensorboard import EventFile, Scalar, masked_crc
from tests.support.event_files import record, scalar, varint, write

DATA = Path(__file__).parents[1] / "data" / "tensorboard"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outputs").mkdir()
    return tmp_path


def read(path: Path) -> list[Scalar]:
    return [*EventFile(path).scalars()]


def test_the_checksum_is_crc_32c() -> None:
    # 0xE3069283 is the check value of CRC-32C, for "123456789".
    assert masked_crc(b"123456789") == (((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def test_a_file_of_tensorboardx() -> None:
    found = read(DATA / "tensorboardX.tfevents")  # has a text and a histogram, too
    assert found[1] == Scalar("train/loss", 1, 1500000001.0, 0.25)
    assert [each.step for each in found] == [0, 1, 2, 3, 4, 5, -3]
    assert math.isnan(found[5].value)


def test_a_file_of_tensorflow_2() -> None:
    found = read(DATA / "tensorflow2.tfevents")
    assert [each.value for each in found[:2]] == [1.0, 0.5]
    assert found[4] == Scalar("epoch_loss", 4, 1500000004.0, found[4].value)


@given(st.text(min_size=1, max_size=200), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(width=32))
def test_any_scalar(tag: str, step: int, value: float) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "x.tfevents")
        write(path, scalar(tag, step, value))
        (found,) = read(path)
        assert (found.tag, found.step, repr(found.value)) == (tag, step, repr(value))


@given(st.binary(max_size=200))
def test_messages_of_others_are_passed_over(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "x.tfevents")
        write(path, record(data), scalar("loss", 1, 1.0))
        assert read(path)[-1] == Scalar("loss", 1, 1.5e9, 1.0)
        path.write_bytes(data)
        read(path)


def test_large_records_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "x.tfevents"
    image = record(b"\x09" + bytes(8) + b"\x2a" + varint(2 << 20) + bytes(2 << 20))
    write(path, scalar("loss", 1, 1.0), image, scalar("loss", 2, 2.0))
    assert [each.step for each in read(path)] == [1, 2]


def test_a_growing_file_is_followed_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "x.tfevents"
    whole = b"".join(scalar("loss", step, step / 2) for step in range(3000))
    write(path)
    file = EventFile(path)
    steps = []
    at = 0
    for size in (1, 50, 7, 100_000, 3, 11, len(whole)):
        with path.open("ab") as growing:
            growing.write(whole[at : at + size])
        at = min(at + size, len(whole))
        steps += [each.step for each in file.scalars()]
    assert steps == [*range(3000)]
    assert (file.position, file.is_damaged, [*file.scalars()]) == (path.stat().st_size, False, [])


def test_the_rest_of_a_damaged_file_is_not_read(folder: Path) -> None:
    path = folder / "outputs/x.tfevents.1"
    write(path, scalar("loss", 1, 1.0), scalar("loss", 2, 2.0), scalar("loss", 3, 3.0))
    content = bytearray(path.read_bytes())
    position = content.rindex(b"loss") - len(scalar("loss", 1, 1.0))
    content[position] ^= 1
    path.write_bytes(content)
    (source,) = output_series.sources(folder)
    assert metrics.summary(folder / "metrics.jsonl", [source]).values == {"loss": 1.0}
    assert source.remarks()[0].startswith("x.tfevents.1 is damaged: its scalars were read up to byte ")


# ---------------------------------------------------------------- folders of a run


def names(folder: Path) -> dict[str, list[float]]:
    return {name: [*each.values] for name, each in read_series(folder / "metrics.jsonl").items()}


def test_one_folder_has_the_tags_as_names(folder: Path) -> None:
    write(folder / "outputs/logs/x.tfevents.1", scalar("loss", 3, 0.5, 1.6e9), scalar("loss", 5, 0.25))
    (loss,) = read_series(folder / "metrics.jsonl").values()
    assert (loss.kind, [*loss.steps], loss.times[0]) == ("scalar", [3, 5], 1.6e9)


def test_several_folders_are_in_the_names(folder: Path) -> None:
    for place in ("logs", "logs/train", "logs/validation/a"):
        write(folder / "outputs" / place / "x.tfevents.1", scalar("loss", 1, 1.0))
    assert list(names(folder)) == ["loss", "train/loss", "validation/a/loss"]


def test_the_loggers_own_names_come_first(folder: Path) -> None:
    (folder / "metrics.jsonl").write_text('{"name":"loss","value":7}\n')
    write(folder / "outputs/x.tfevents.1", scalar("loss", 1, 1.0), scalar("accuracy", 1, 2.0))
    assert names(folder) == {"loss": [7.0], "tensorboard/loss": [1.0], "accuracy": [2.0]}
    found = metrics.summary(folder / "metrics.jsonl", output_series.sources(folder))
    assert found.values == {"loss": 7, "tensorboard/loss": 1.0, "accuracy": 2.0}


def test_a_run_that_was_started_again_replaces_steps(folder: Path) -> None:
    first = folder / "outputs/x.tfevents.1"
    write(first, *(scalar("loss", step, step, 1e9 + step) for step in range(6)))
    write(folder / "outputs/x.tfevents.2", *(scalar("loss", at, at * 10, 2e9 + at) for at in range(4, 8)))
    os.utime(first)  # the order of times of change says nothing
    (loss,) = read_series(folder / "metrics.jsonl").values()
    assert [*loss.steps] == [*range(8)]
    assert [*loss.values] == [0, 1, 2, 3, 40, 50, 60, 70]


def test_links_and_strange_files_are_left_out(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere/x.tfevents.1", scalar("secret", 1, 1.0))
    outputs = folder / "outputs"
    (outputs / "link").symlink_to(tmp_path / "elsewhere")
    (outputs / "y.tfevents.2").symlink_to(tmp_path / "elsewhere/x.tfevents.1")
    os.mkfifo(outputs / "z.tfevents.3")
    (outputs / "folder.tfevents").mkdir()
    write(outputs / "a.tfevents.1", scalar("loss", 1, 1.0))
    assert names(folder) == {"loss": [1.0]}


def test_events_of_a_run_that_goes_on_here(folder: Path) -> None:
    write(folder / "project/outputs/logs/x.tfevents.1", scalar("loss", 1, 1.0))
    assert names(folder) == {"loss": [1.0]}

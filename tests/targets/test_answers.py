"""A machine's answers about runs: parsed completely, or an error that shows the answer."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable

import pytest

from amlexec.errors import TargetError
from amlexec.targets.answers import (
    LONGEST_LINE,
    failure,
    read_frame,
    read_look,
    read_records,
    read_state,
)
from amlexec.targets.target import State


@pytest.mark.parametrize(
    ("output", "state"),
    [
        ("new\n", State("new")),
        ("starting", State("starting")),
        ("running 1700000000.25", State("running", 1700000000.25)),
        ("running 1700000000.", State("running", 1700000000.0)),
        ("ended 0 1700000000 1700000001.5 0", State("ended", 1700000000.0, 1700000001.5, 0)),
        ("ended 143 - 1700000001 1", State("ended", None, 1700000001.0, 143, canceled=True)),
        ("lost - 1", State("lost", canceled=True)),
        ("lost 5 0 restarted", State("lost", 5.0, why="its machine was restarted before it ended")),
    ],
)
def test_valid_states(output: str, state: State) -> None:
    assert read_state(output, "", "there") == state


ODD_STATES = (
    *(
        "",
        " ",
        "\n",
        "ended",
        "ended 0",
        "ended 0 - - 0",
        "ended 0 1 1e30 0",
        "ended 0 1 nan 0",
        "ended 0 1 inf 0",
    ),
    *(
        "ended 256 1 2 0",
        "ended -1 1 2 0",
        "ended abc 1 2 0",
        "ended 0 1 -2 0",
        "ended 0 1 2",
        "ended 0 1 2 2",
    ),
    *(
        "ended 0 1 2 0 more",
        "ended 0 nan 1e30 0",
        "ended 0 1 99999999999 0",
        "ended 0x0 1 2 0",
        "ended 1_0 1 2 0",
    ),
    *(
        "running",
        "running -",
        "running nan",
        "running 1e30",
        "running 1 2 3",
        "lost",
        "lost 1",
        "lost x 0",
        "lost 1 7",
    ),
    *(
        "gone",
        "gone away",
        "new new",
        "ENDED 0 1 2 0",
        "\0",
        "ended 0 1 2 0\0",
        "ended ٣ 1 2 0",
        "{}",
        "9" * 10**6,
    ),
    *(
        "running " + "1" * 5000,
        "\ud800",
        "ended 0 1 2 0\nended 1 1 2 0",
        "<html>",
        "ended 0 1700000000,5 1 0",
    ),
)


@pytest.mark.parametrize("output", ODD_STATES, ids=lambda output: repr(output)[:30])
def test_an_odd_state_is_an_error(output: str) -> None:
    with pytest.raises(TargetError, match="can't be read") as raised:
        read_state(output, "", "there")
    assert raised.value.where == "there"
    assert len(raised.value.message) < 500


@pytest.mark.parametrize("output", ["-1", "256", "1e2", "", "nan", "0 0", "1" * 5000, "x"])
def test_an_odd_exit_code_is_an_error(output: str) -> None:
    with pytest.raises(TargetError):
        read_state(f"ended {output} 1700000000 1700000001 0", "", "there")
    assert read_state("ended 255 1700000000 1700000001 0\n", "", "there").exit_code == 255


@pytest.mark.parametrize(
    "line",
    *[
        [
            *(
                b"1 abc\n",
                b"1 -5\n",
                b"2 1e9\n",
                b"1 \n",
                b"1\n",
                b"\n",
                b"3 5\n",
                b"1 5 6\n",
                b"hello\n",
                b"s new\n",
            ),
            *(
                b"1 " + b"9" * 16 + b"\n",
                b"1 " + b"9" * 5000,
                b"\0" * LONGEST_LINE,
                b"\xff\xfe\n",
                b"1 5\r\n",
                b"S\n",
            ),
        ]
    ],
)
def test_an_odd_frame_is_an_error(line: bytes) -> None:
    with pytest.raises(TargetError, match="can't be read"):
        read_frame(line, "there")


def test_frames() -> None:
    assert read_frame(b"1 17\n", "there") == (b"1", b"17")
    assert read_frame(b"- 0\n", "there") == (b"-", b"0")
    assert read_frame(b"S running 5\n", "there") == (b"S", b"running 5")


LOOK = "home /home/ada\npath /usr/bin:/bin\nsystem Linux x86_64\n"


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("tree ../../x", "tree", "0" * 40),
        ("tree --output=/home/ada/x", "tree", "0" * 40),
        ("tree " + "a" * 64, "tree", "a" * 64),
        ("python -c", "python", None),
        ("version 3.11.2; rm", "version", None),
        ("version 3.11.2", "version", "3.11.2"),
        ("runtime elsewhere", "runtime", None),
        ("nothing known", "nothing", None),
        ("home /other", "home", "/home/ada"),
    ],
)
def test_look_by_key(line: str, key: str, value: str | None) -> None:
    assert read_look(f"{LOOK}{line}\n", "there").get(key) == value


@pytest.mark.parametrize(
    "output", ["", "home\n", "home relative\npath /bin\n", "home /home/ada\n", "\0", "home /a\0b\npath x"]
)
def test_a_machine_without_a_home_is_an_error(output: str) -> None:
    with pytest.raises(TargetError, match="the machine's answer"):
        read_look(output, "there")


def test_records_of_which_some_are_odd() -> None:
    lines = [
        b"demo_1",
        b"running 5",
        b'{"a": 1}',
        b"x" * 10_000,
        b"ended nan",
        b"",
        b"demo_3",
        b"",
        b"\xff" * 5,
    ]
    found = list(read_records(io.BytesIO(b"\n".join(lines) + b"\n"), "there"))
    assert found[0] == ("demo_1", State("running", 5.0), '{"a": 1}')
    assert found[1] == ("", None, "")
    assert found[2] == ("demo_3", None, "\udcff" * 5)
    assert list(read_records(io.BytesIO(b""), "there")) == []


@pytest.mark.parametrize("text", [b"demo_1\n", b"demo_1\nnew\n", b"demo_1\nnew\n{", b"x" * 10_000])
def test_records_that_end_in_the_middle(text: bytes) -> None:
    with pytest.raises(TargetError, match="list of runs on the machine"):
        list(read_records(io.BytesIO(text), "there"))


class Endless(io.RawIOBase):
    """A machine that never ends its line; counts the bytes that were read."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        assert self.taken < 1 << 26, "more is read than any answer has"
        self.taken += len(buffer)
        buffer[:] = b"x" * len(buffer)
        return len(buffer)


def test_an_endless_line_is_read_up_to_the_limit() -> None:
    source = io.BufferedReader(Endless())
    with pytest.raises(TargetError):
        read_frame(source.readline(LONGEST_LINE), "there")


def test_random_answers_are_values_or_errors() -> None:
    chance = random.Random(4)
    words = [
        "ended",
        "lost",
        "running",
        "new",
        "S",
        "1",
        "2",
        "-",
        "0",
        "256",
        "nan",
        "1e30",
        "gone",
        "\0",
        "\ud800",
        "9" * 40,
    ]
    readers: list[Callable[[str, bytes], object]] = [
        lambda output, _: read_state(output, "", "there"),
        lambda _, raw: read_frame(raw, "there"),
        lambda output, _: read_look(output, "there"),
        lambda _, raw: list(read_records(io.BytesIO(raw), "there")),
    ]
    for _ in range(3000):
        output = chance.choice([" ", "\n", ""]).join(chance.choices(words, k=chance.randrange(7)))
        for read in readers:
            with contextlib.suppress(TargetError):
                read(output, output.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("said", ["tar: x: No space left on device", "mkdir: Disk quota exceeded"])
def test_a_full_disk_and_a_full_quota(said: str) -> None:
    error = failure("the run could not be sent", f"{said}\ntar: Exiting with failure status", "lab")
    assert (error.message, error.hint.startswith("make room there")) == (
        f"the run could not be sent: {said}",
        True,
    )

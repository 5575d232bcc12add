"""`history show`: curves in the terminal."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

from amlexec.history import folders
from amlexec.report.terminal import Line, plot
from amlexec.values import Project
from tests.support.sample_runs import add_run, tuning

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

NAN = math.nan


def test_a_rising_line_in_ascii_and_in_braille() -> None:
    line = Line([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0])
    assert plot([line], 24, 4, ascii_only=True) == [
        "3 |                 ****",
        "  |           ******",
        "  |    *******",
        "0 |****",
        "   0                   3",
    ]
    rows = plot([line], 24, 4, ascii_only=False)
    assert rows[0].startswith("3 │")
    assert rows[-1].split() == ["0", "3"]
    assert all(sign in " │03" or "\u2800" <= sign <= "\u28ff" for row in rows for sign in row)


def test_a_gap_stays_open_and_nothing_finite_says_so() -> None:
    values = [1.0, 1.0, NAN, math.inf, 1.0, 1.0]
    rows = plot([Line(range(6), values)], 24, 2, ascii_only=True)
    (drawn,) = [row.partition("|")[2] for row in rows if "*" in row]
    assert re.fullmatch(r"\*+ +\*+ *", drawn), drawn
    assert plot([Line([0, 1], [NAN, math.inf])], 40, 4, ascii_only=True) == ["no finite values"]
    assert plot([], 40, 4, ascii_only=True) == ["no finite values"]
    assert plot([Line([5], [2.5])], 30, 3, ascii_only=True)[-1].strip() == "5"


def test_the_last_run_is_drawn(project: ProjectFolder) -> None:
    state = Project(str(project.root))
    tuning(state, 2, 2, 20)
    done = project.amlexec("history", "show", env={**os.environ, "COLUMNS": "60"})
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert re.fullmatch(r"digits_1700000060000  Completed  0:00:43  local", lines[0])
    assert lines[1].startswith("train.py --lr 0.")
    assert lines[3].startswith("train/loss: last 0.")
    assert all(len(line) <= 60 for line in lines)
    both = project.amlexec("history", "show", *project.run_ids(), "-m", "acc*")
    assert [line[:2] for line in both.out.splitlines() if "Completed" in line] == ["* ", "o "]
    assert "train/loss" not in both.out
    assert both.out.isascii()


def test_what_controls_a_terminal_is_escaped(project: ProjectFolder) -> None:
    evil = "\x1b]0;pwned\x07\u202e</script>\r\n"
    state = Project(str(project.root))
    lines = [{"name": f"{evil}{number}", "value": number, "time": 1.7e9} for number in (1, 1, 2)]
    paths = add_run(
        state,
        0,
        [*lines, {"name": "text", "value": evil, "time": 1.7e9}],
        script_name=evil,
        arguments=(evil,),
        reason=evil,
    )
    folders.write(paths, folders.read(paths)._replace(target="x"))
    for verb in (("show",), ("list",), ("info", "-r", "last"), ("list", "-o", "json")):
        done = project.amlexec("history", *verb)
        assert done.code == 0, done.err
        for text in (done.out, done.err):
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), verb
    assert "\\x1b]0;pwned\\x07\\u202e</script>\\r\\n1" in project.amlexec("history", "show").out


def test_a_run_without_curves_and_wrong_names(project: ProjectFolder) -> None:
    add_run(Project(str(project.root)), 0, [{"name": "once", "value": "NaN", "time": 1}])
    done = project.amlexec("history", "show")
    assert "once" in done.out
    assert "nan" in done.out
    done = project.amlexec("history", "show", "-m", "loss")
    assert (done.code, "no metric is named loss" in done.err, "there are once" in done.err) == (3, True, True)
    assert project.amlexec("history", "show", "--height", "1").code == 3
    add_run(Project(str(project.root)), 1)
    assert "no metrics were logged" in project.amlexec("history", "show").err

"""The page of `history report` in a real browser: sort, filter, choose, compare, open a run."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.environments import last_prepared
from amlexec.history import notes, tags
from amlexec.values import SweepPoint
from tests.support.sample_runs import add_run, png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from amlexec.history.paths import RunPaths
    from tests.report.conftest import Report
    from tests.support.browser import Browser, Page

HOSTILE = "</script><script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1>\x1b]0;x\x07\u202e"
COLUMN = """[...document.querySelectorAll('.runs tbody tr')].map((row) => row.cells[
    [...document.querySelectorAll('.runs thead th')].findIndex((head) => head.innerText.startsWith('%s'))
    ]?.innerText)"""
BOXES = "[...document.querySelectorAll('.runs [type=checkbox]')]"
COUNT = "document.querySelector('#count').innerText"


@pytest.fixture
def page(tuned: Report, browser: Browser) -> Iterator[Page]:
    """The page of twelve runs, on which nothing may go wrong."""
    with browser.page(tuned.address) as found:
        found.until("document.querySelectorAll('.runs tbody tr').length === 12")
        yield found
        assert found.problems() == []
        assert {address.partition("#")[0] for address in found.requests()} == {tuned.address}


def column(page: Page, name: str) -> list[Any]:
    found: list[Any] = page.run(COLUMN % name)
    return found


def sort_by(page: Page, name: str) -> str:
    """Click on the title of a column; the direction that it says."""
    page.click(f"[data-key='sort {name}']")
    found: str = page.run(f"document.querySelector(\"[data-key='sort {name}']\").parentNode.ariaSort")
    return found


def choose_rows(page: Page, count: int) -> None:
    page.run(f"{BOXES}.forEach((box) => box.checked && box.click())")
    page.run(f"{BOXES}.slice(0, {count}).forEach((box) => box.click())")


def write_filter(page: Page, text: str) -> None:
    page.run("document.querySelector('#filter').value = ''")
    page.click("#filter")
    page.write(text)


def test_a_click_on_a_title_sorts_numbers_as_numbers(report: Report, browser: Browser) -> None:
    for number, rate in enumerate(("1e-3", "10", "2e-3", "0.5")):
        add_run(report.state, number, arguments=("--lr", rate))
    report.write()
    with browser.page(report.address) as page:
        page.until("document.querySelectorAll('.runs tbody tr').length === 4")
        assert sort_by(page, "p:lr") == "descending"
        assert column(page, "lr") == ["10.000", "0.500", "0.002", "0.001"]
        assert sort_by(page, "p:lr") == "ascending"
        assert column(page, "lr") == ["0.001", "0.002", "0.500", "10.000"]
        # The keyboard stays where it was, although the table was drawn anew.
        assert page.run("document.activeElement.dataset.key") == "sort p:lr"
        assert page.problems() == []


def test_a_filter_takes_words_and_conditions(page: Page) -> None:
    write_filter(page, "lr<0.01 adam")
    shown = column(page, "lr")
    assert 0 < len(shown) < 12
    assert all(float(text) < 0.01 for text in shown)
    assert set(column(page, "optimiser")) == {"adam"}
    assert page.run(COUNT) == f"{len(shown)} of 12 runs"
    write_filter(page, "status=Failed")
    assert page.run(COUNT) == "0 of 12 runs"
    assert "No run matches" in page.run("document.querySelector('main').innerText")


def test_the_runs_of_a_sweep_are_one_group(report: Report, browser: Browser) -> None:
    states = ["Completed", "Failed", "Completed", "Completed", "Completed"]
    for number, state in enumerate(states):
        sweep = SweepPoint(f"sweep_{number // 3}", number % 3 + 1, {}) if number < 4 else None
        lines = [line("loss", 0.5 - number / 10)]
        add_run(
            report.state,
            number,
            lines,
            sweep=sweep,
            status=state,
            arguments=("--lr", str(number), "--same", "7"),
        )
    report.write()
    rows = "[...document.querySelectorAll('.runs tbody tr')].map((row) => row.cells[1].innerText)"
    with browser.page(report.address) as page:
        page.until("document.querySelectorAll('.runs tbody tr').length === 3")
        # A sweep of which there is one run is a run.
        assert [text[:2] for text in page.run(rows)] == ["#5", "#4", "\u25b8s"]
        assert page.run(rows)[2].split() == ["\u25b8sweep_0", "3", "runs"]
        assert column(page, "Status")[2] == "2 Completed, 1 Failed"
        assert column(page, "Started")[2]
        assert (column(page, "lr")[2], column(page, "loss")[2]) == ("0 \u2026 2", "0.3000 \u2026 0.5000")
        page.run("document.querySelector('.sweep .link').focus()")
        page.run("document.activeElement.click()")
        page.until("document.querySelectorAll('.runs tbody tr').length === 6")
        assert [text[:2] for text in page.run(rows)] == ["#5", "#4", "\u25bes", "#3", "#2", "#1"]
        assert page.run("document.activeElement.ariaExpanded") == "true"
        page.run(f"{BOXES}.forEach((box) => box.checked && box.click())")
        page.run("document.querySelector('.sweep input').click()")
        assert page.run("document.querySelector('.badge').innerText") == "3"
        assert page.run(f"{BOXES}.map((box) => box.checked)") == [False, False, True, True, True, True]
        page.run(f"{BOXES}[3].click()")
        assert page.run("document.querySelector('.sweep input').indeterminate")
        write_filter(page, "sweep=sweep_0 lr<2")
        assert page.run(COUNT) == "2 of 5 runs"
        assert column(page, "lr")[0] == "0 \u2026 1"
        page.click("#grouping label")
        page.until("document.querySelectorAll('.runs tbody tr').length === 2")
        assert page.problems() == []


def line(name: str, value: object) -> dict[str, object]:
    return {"name": name, "value": value, "time": 1.7e9}


def test_columns_and_the_statistic_of_metrics_are_chosen(page: Page) -> None:
    last = column(page, "train/loss")
    page.run("document.querySelector('.controls select').selectedIndex = 1")
    page.run("document.querySelector('.controls select').dispatchEvent(new Event('change'))")
    lowest = column(page, "train/loss")
    assert all(float(low) <= float(end) for low, end in zip(lowest, last, strict=True))
    assert lowest != last
    page.click(".picker summary")
    box = "[...document.querySelectorAll('.menu label')].find((label) => label.innerText === '%s').firstChild"
    page.until(box % "User")
    page.run(box % "User" + ".click()")
    page.run(box % "Script" + ".click()")
    assert set(column(page, "User")) == {"me"}
    assert column(page, "Script") == [None] * 12
    page.press("Escape")
    assert page.run("document.querySelector('.picker').open") is False


def test_curves_of_the_chosen_runs_are_drawn(page: Page) -> None:
    choose_rows(page, 3)
    page.click("#view-curves")
    page.until("document.querySelectorAll('.uplot canvas').length === 3")
    assert page.run("document.querySelectorAll('.chosen .mark').length") == 3
    names = page.run("[...document.querySelectorAll('figcaption')].map((title) => title.innerText)")
    assert names == ["train/loss", "accuracy", "layer 02/norm"]
    # The canvas has ink of the first run's colour.
    assert page.run(
        """(() => { const canvas = document.querySelector('.uplot canvas');
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let at = 0; at < data.length; at += 4)
            found += data[at] === 0x2f && data[at + 1] === 0x6f && data[at + 2] === 0xde;
        return found; })()"""
    )
    page.run("document.querySelector('.plot').focus()")
    page.press("Home")
    first = page.run("document.querySelector('.legend').innerText")
    page.press("ArrowRight")
    second = page.run("document.querySelector('.legend').innerText")
    assert first.startswith("step 0\n")
    assert second.startswith("step 10\n")
    assert page.until("document.querySelector('#news').innerText").split() == second.split()
    page.run("document.querySelector('.remove').click()")
    page.until("document.querySelectorAll('.chosen .mark').length === 2")


def test_smoothing_and_a_logarithmic_axis(page: Page) -> None:
    choose_rows(page, 1)
    page.click("#view-curves")
    page.until("document.querySelectorAll('.uplot canvas').length === 3")
    page.click(".controls .check")
    page.until("document.querySelectorAll('.uplot canvas').length === 3")
    page.run(
        """(() => { const range = document.querySelector('input[type=range]');
        range.value = '0.95'; range.dispatchEvent(new Event('input')); })()"""
    )
    assert page.run("document.querySelector('.amount').innerText") == "0.95"
    page.until("document.querySelectorAll('.uplot canvas').length === 3")


def test_gaps_and_series_without_numbers(report: Report, browser: Browser) -> None:
    def lines(name: str, values: list[object]) -> list[dict[str, object]]:
        return [{"name": name, "value": value, "time": 1.7e9 + at} for at, value in enumerate(values)]

    logged = lines("never", ["NaN"] * 5) + lines("gap", [1.0, 2.0, "NaN", "Infinity", 5.0, -6.0])
    add_run(report.state, 0, logged + lines("once", [3]) + lines("word", ["a", "b"]))
    add_run(report.state, 1)
    report.write()
    with browser.page(f"{report.address}#curves") as page:
        page.until("document.querySelectorAll('.uplot canvas').length === 2")
        assert page.run("document.querySelector('.no-values').innerText") == "no finite values"
        page.click(".controls .check")
        page.until("document.querySelectorAll('.uplot canvas').length === 2")
        assert page.run("document.querySelector('.no-values').innerText") == "no finite values"
        page.click("#view-runs")
        assert column(page, "never") == ["", "NaN"]
        assert column(page, "word") == ["", "b"]
        page.run("document.querySelector('.run').click()")  # the newest run has logged nothing
        page.until("document.querySelector('.sheet').innerText.includes('has logged no metrics')")
        assert page.problems() == []


def test_parallel_coordinates_keep_a_range(page: Page) -> None:
    page.click("#view-relations")
    page.until("document.querySelectorAll('path.line').length === 12")
    top, bottom, left = page.run(
        """(() => { const box = document.querySelector('.brush-area').getBoundingClientRect();
        return [box.top, box.bottom, box.left + box.width / 2]; })()"""
    )
    page.mouse("mousePressed", left, bottom - 6)
    page.mouse("mouseMoved", left, (top + bottom) / 2)
    page.mouse("mouseReleased", left, (top + bottom) / 2)
    out = page.run("document.querySelectorAll('path.line.is-out').length")
    assert 0 < out < 12
    assert page.run("document.querySelector('[role=status].quiet').innerText") == f"{12 - out} of 12 runs."


def test_a_scatter_plot_leads_to_a_run(page: Page) -> None:
    page.click("#view-relations")
    page.until("document.querySelectorAll('.scatter circle').length === 12")
    page.run("document.querySelector('.scatter').focus()")
    page.press("ArrowRight")
    said = page.until("document.querySelector('#news').innerText")
    assert re.match(r"#\d+ digits_\d+ lr: 0\.\d+ train/loss: 0\.\d+", said)
    page.press("Enter")
    title = page.until("document.querySelector('#sheet-title')?.innerText")
    assert title in said


def test_a_run_is_opened_and_closed_with_the_keyboard(report: Report, browser: Browser) -> None:
    matrix = {"class_labels": ["cat", "dog"], "matrix": [[31, 2], [3, 40]]}
    logged = [
        {"name": "loss", "value": 0.5, "time": 1.7e9},
        {"name": "matrix", "value": {"data": matrix}, "time": 1.7e9, "kind": "confusion_matrix"},
        {"name": "prices", "value": {"fruit": ["fig"], "price": [7.25]}, "time": 1.7e9, "kind": "table"},
        {"name": "rows", "value": {"n": 11}, "time": 1.7e9, "kind": "row"},
        {"name": "rows", "value": {"n": 12, "m": 13}, "time": 1.7e9, "kind": "row"},
    ]
    paths = add_run(report.state, 0, logged)
    paths.stdout.write_text("epoch 1\nbar 10%\rbar 100%\n\x1b[31mred\x1b[0m\n")
    paths.outputs.mkdir()
    (paths.outputs / "plot.png").write_bytes(png(60, 40, (40, 90, 160)))
    (paths.outputs / "scores.csv").write_text('class,score\n"a, b",0.25\n')
    (paths.outputs / "model.bin").write_bytes(b"\0\1")
    tags.change(paths, {"best": "yes"})
    notes.write(paths, "the first\nthat works")
    report.write()
    with browser.page(report.address) as page:
        page.run("document.querySelector('.run').focus()")
        page.press("Enter", code=13)
        page.run("document.activeElement.click()")
        page.until("document.querySelector('.sheet dl')")
        text = page.run("document.querySelector('.sheet').innerText")
        for piece in (
            "bar 100%\n\\x1b[31mred\\x1b[0m",
            "the first\nthat works",
            "best",
            "class",
            "0.25",
            "not a text",
        ):
            assert piece in page.run("document.querySelector('.sheet').textContent"), piece
        assert "bar 10%" not in text
        tables = page.run("[...document.querySelectorAll('.sheet tbody')].map((each) => each.innerText)")
        assert {"cat\t31\t2\ndog\t3\t40", "fig\t7.25", "11\t\n12\t13"} <= set(tables)
        assert page.until("document.querySelector('.sheet img').naturalWidth") == 60
        assert page.run("document.querySelector('.sheet').contains(document.activeElement)")
        page.press("Escape", code=27)
        page.until("!document.querySelector('.sheet').open")
        assert page.run("document.activeElement.className") == "link run"
        assert page.problems() == []


def test_differences_of_code_environment_and_results(report: Report, browser: Browser) -> None:
    folder = report.folder
    folder.write("train.py", "import sys\n\nfrom amlexec.run import log\n\nlog('loss', 2)\nprint('same')\n")
    first = folder.submit("train.py", "--lr", "0.1").run_id
    folder.write("train.py", "import sys\n\nfrom amlexec.run import log\n\nlog('loss', 1)\nprint('same')\n")
    folder.write("more.py", "more = True\n")
    second = folder.submit("train.py", "--lr", "0.2").run_id
    report.write(first, second)
    with browser.page(f"{report.address}#differences") as page:
        page.until("document.querySelectorAll('.file summary').length === 2")
        rows = page.run("[...document.querySelectorAll('.values tbody tr')].map((row) => row.innerText)")
        assert "lr\t0.1\t0.2" in rows
        assert "loss\t2\t1" in rows
        assert not any(row.startswith("Target") for row in rows)
        assert page.run("[...document.querySelectorAll('.file summary')].map((each) => each.innerText)") == [
            "removed more.py" if rows[0].endswith(first) else "added more.py",
            "changed train.py",
        ]
        page.click(".file:last-child summary")
        page.until("document.querySelector('.diff')")
        changes = page.run("document.querySelector('.diff').innerText").replace("\n\n", "\n").splitlines()
        assert [line for line in changes if line[:1] in "+-"] == ["- log('loss', 2)", "+ log('loss', 1)"]
        assert "  print('same')" in changes
        assert page.problems() == []


def test_differences_of_packages(report: Report, browser: Browser) -> None:
    stored = last_prepared.folder(report.state)
    stored.mkdir(parents=True)
    for number, (numpy, more) in enumerate((("1.26.4", []), ("2.0.1", [{"name": "rich", "version": "13"}]))):
        conda = [{"name": "numpy", "version": numpy, "build": "py311_0"}]
        conda.append({"name": "zlib", "version": "1.3", "build": f"h{number}"})
        conda.append({"name": "same", "version": "1", "build": "0"})
        (stored / f"{str(number) * 64}.packages.json").write_text(json.dumps({"conda": conda, "pip": more}))
        add_run(
            report.state, number, [{"name": "a", "value": 1, "time": 1}], environment_digest=str(number) * 64
        )
    report.write()
    with browser.page(f"{report.address}#differences") as page:
        page.until("document.querySelector('.values')")
        rows = page.run("[...document.querySelectorAll('.values tbody tr')].map((row) => row.innerText)")
        at = rows.index("Packages")
        assert rows[at + 1 : at + 4] == [
            "numpy\t2.0.1\t1.26.4",
            "pip.rich\t13\tabsent",
            "zlib\t1.3 h1\t1.3 h0",
        ]
        assert not any(row.startswith("same") for row in rows)
        assert page.problems() == []


def hostile_run(report: Report) -> RunPaths:
    """A run whose every text is an attack."""
    line = {"name": HOSTILE, "value": 1.5, "time": 1.7e9}
    paths = add_run(
        report.state,
        0,
        [line, {**line, "name": "text", "value": HOSTILE}, {**line, "name": "__proto__"}],
        script_name=HOSTILE,
        arguments=(f"--{'x'}={HOSTILE}", HOSTILE, "--constructor", HOSTILE),
        reason=HOSTILE,
        environment_variables={HOSTILE: HOSTILE},
        user_id=HOSTILE,
        host=HOSTILE,
        platform=HOSTILE,
    )
    paths.stdout.write_text(HOSTILE * 3)
    paths.outputs.mkdir()
    name = HOSTILE.replace("/", "")
    (paths.outputs / name[:200]).write_text(HOSTILE)
    picture = (
        "<svg xmlns='http://www.w3.org/2000/svg' onload='top.pwned=1'><script>top.pwned=1</script></svg>"
    )
    (paths.outputs / "picture.svg").write_text(picture)
    (paths.outputs / "page.html").write_text("<script>window.pwned=1</script>")
    (paths.outputs / "table.csv").write_text(f"{HOSTILE},b\n=1+1,2\n")
    tags.change(paths, {HOSTILE[:200]: HOSTILE})
    notes.write(paths, HOSTILE)
    return paths


def test_nothing_of_a_run_is_executed(report: Report, browser: Browser) -> None:
    hostile_run(report)
    add_run(report.state, 1, [{"name": HOSTILE, "value": 2, "time": 1.7e9}])
    report.write()
    content = report.path.read_bytes()
    assert b"<img" not in content
    assert content.count(b"<script") == content.count(b"</script>") == 5
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", content)
    content.decode("utf-8")
    with browser.page(report.address) as page:
        page.until("document.querySelectorAll('.runs tbody tr').length === 2")
        page.run("document.querySelectorAll('.run')[1].click()")
        page.until("document.querySelector('.sheet dl')")
        page.run("document.querySelectorAll('.sheet details').forEach((each) => { each.open = true; })")
        assert page.until("document.querySelector('.sheet img').complete")
        assert "\\u202e" in page.run("document.querySelector('.sheet').textContent")
        page.press("Escape", code=27)
        for view in ("curves", "relations", "differences"):
            page.click(f"#view-{view}")
            page.until(f"document.querySelector('#panel-{view}').childElementCount")
        page.until("document.querySelector('.values')")
        assert page.run("typeof window.pwned") == "undefined"
        assert page.run("document.querySelectorAll('main img, main script, .sheet script').length") == 0
        shown = page.run("document.documentElement.innerText + document.title")
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert page.run("({}).polluted === undefined && Object.keys(Object.prototype).length === 0")
        assert page.problems() == []
        assert all(address.startswith(("file:", "data:image/")) for address in page.requests())


def test_the_policy_stops_a_script_that_is_added(tuned: Report, browser: Browser) -> None:
    with browser.page(tuned.address) as page:
        page.run(
            """(() => { const script = document.createElement('script');
            script.textContent = 'window.pwned = 1'; document.body.append(script);
            const image = '<img src="https://example.org/x.png" onerror="window.pwned = 1">';
            document.body.insertAdjacentHTML('beforeend', image);
            return fetch('https://example.org').catch(() => 0); })()"""
        )
        assert page.run("typeof window.pwned") == "undefined"
        assert any("Content Security Policy" in problem for problem in page.problems())
        assert page.run("document.head.children[1].httpEquiv") == "Content-Security-Policy"


@pytest.mark.parametrize("view", ["runs", "curves", "relations", "differences"])
def test_a_phone_shows_every_view_without_scrolling_sideways(
    tuned: Report, browser: Browser, view: str
) -> None:
    with browser.page(f"{tuned.address}#{view}", width=390, height=844, dark=True) as page:
        page.until(f"document.querySelector('#panel-{view}').childElementCount")
        assert page.run("document.documentElement.scrollWidth") <= 390
        assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
        unnamed = page.run(
            """[...document.querySelectorAll('button, input, select, summary, [role=img], [tabindex="0"]')]
            .filter((each) => each.checkVisibility() && !(each.innerText?.trim() || each.ariaLabel
              || each.labels?.length || each.placeholder)).map((each) => each.outerHTML)"""
        )
        assert unnamed == []
        assert page.problems() == []


def test_a_project_without_runs_and_a_damaged_record(report: Report, browser: Browser) -> None:
    done = report.folder.amlexec("history", "report", "-o", str(report.path))
    assert done.code == 0
    assert "there are no runs yet" in done.err
    with browser.page(report.address) as page:
        for view in ("runs", "curves", "relations", "differences"):
            page.click(f"#view-{view}")
            assert page.until(f"document.querySelector('#panel-{view} .empty-title').innerText")
        assert page.problems() == []
    add_run(report.state, 0)
    add_run(report.state, 1).record.write_text("{")
    report.write()
    with browser.page(report.address) as page:
        page.until("document.querySelectorAll('.runs tbody tr').length === 2")
        assert "Unreadable this record can't be read" in page.run(
            "document.querySelector('.broken').innerText"
        )
        page.click(".broken .run")
        page.until("document.querySelector('.sheet').innerText.includes('this record')")
        assert page.problems() == []

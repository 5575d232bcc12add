"""`doit sweep:NAME`: a task for each point of a declared sweep."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.sweeps.test_sweep import Swept

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder

RUNCONFIG = """\
Target: local
Framework: Python
ArgumentVector: [train.py]
Sweep:
  Parameters:
    lr: [0.1, bad, 0.3]
    depth: 2..3
"""


@pytest.fixture
def swept(tmp_path: Path) -> Swept:
    project = Swept(tmp_path / "iris")
    project.write("aml_config/local.runconfig", RUNCONFIG)
    return project


def test_a_point_is_up_to_date_until_something_changes(swept: Swept) -> None:
    swept.write("aml_config/local.runconfig", RUNCONFIG.replace("bad", "0.2"))
    done = swept.doit("sweep:local")
    assert done.code == 0, done.err
    first = swept.calls()
    assert [number for number, _ in first] == [1, 2, 3, 4, 5, 6]
    assert first[0][1] == ["--lr", "0.1", "--depth", "2"]
    assert {swept.record(run)["sweep"]["id"] for run in swept.run_ids()} == {"doit-local"}
    assert swept.doit("sweep:local").code == 0
    assert swept.calls() == first
    # One more value is one more point for each depth.
    swept.write("aml_config/local.runconfig", RUNCONFIG.replace("bad, 0.3", "0.2, 0.3, 0.4"))
    assert swept.doit("-n", "2", "sweep").code == 0
    # The file is part of the snapshot, so all points are executed with it.
    assert len(swept.calls()) == 6 + 8
    swept.write("train.py", (swept.root / "train.py").read_text() + "\n")
    assert swept.doit("sweep:local:3").code == 0
    assert len(swept.calls()) == 6 + 8 + 1


def test_sweeps_of_doit_are_listed(swept: Swept) -> None:
    assert swept.amlexec("sweep", "list").out == ""
    done = swept.amlexec("sweep", "status", "doit-local")
    assert (done.code, "hint: execute it: doit sweep:local" in done.err) == (3, True), done
    assert swept.doit("sweep:local").code == 1
    listed = json.loads(swept.amlexec("sweep", "list", "-o", "json").out)
    assert [(one["sweep_id"], one["counts"]) for one in listed] == [
        ("doit-local", {"Completed": 4, "Failed": 2})
    ]
    done = swept.amlexec("sweep", "status", "doit-local")
    assert (done.code, "Points: 6: 4 Completed, 2 Failed" in done.out) == (0, True), done
    # Other values of the parameters: these points were not executed.
    swept.write("aml_config/local.runconfig", RUNCONFIG.replace("bad", "0.2"))
    found = json.loads(swept.amlexec("sweep", "status", "doit-local", "-o", "json").out)
    assert found["counts"] == {"Completed": 4, "Pending": 2}
    for verb in ("stop", "cancel"):
        done = swept.amlexec("sweep", verb, "doit-local")
        assert (done.code, "doit executes doit-local" in done.err) == (3, True), done


def test_failed_points_run_again(swept: Swept) -> None:
    done = swept.doit("sweep:local")
    assert done.code == 1
    assert len(swept.calls()) == 6
    done = swept.doit("sweep:local")
    assert done.code == 1
    assert [number for number, _ in swept.calls()] == [1, 2, 3, 3, 4, 4, 5, 6]


def test_the_points_are_listed(swept: Swept) -> None:
    listed = swept.doit("list", "--all", "--quiet").out.split("\n")
    assert [line.strip() for line in listed if line.startswith("sweep")] == [
        "sweep",
        "sweep:local",
        *(f"sweep:local:{number}" for number in range(1, 7)),
    ]
    assert "lr=bad depth=2" in swept.doit("list", "--all").out
    swept.write("aml_config/local.runconfig", "Target: local\nFramework: Python\n")
    assert "sweep" not in swept.doit("list", "--all").out
    swept.write("aml_config/local.runconfig", RUNCONFIG.replace("2..3", "3..2"))
    done = swept.doit("list", "--all")
    assert (done.code, "sweep" in done.out) == (0, False)


def test_a_sweep_with_many_points_loads_quickly(swept: Swept) -> None:
    swept.write("aml_config/local.runconfig", RUNCONFIG.replace("2..3", "1..1000"))
    done = swept.doit("list", "--all", "--quiet", "sweep")
    assert done.code == 0
    assert len(done.out.splitlines()) >= 3000


def test_without_sweeps_nothing_of_them_is_imported(project: ProjectFolder) -> None:
    code = (
        "import sys\nfrom doit.doit_cmd import DoitMain\nassert DoitMain().run(['list', '--all']) == 0\n"
        "parts = ('amlexec.sweeps', 'amlexec.search', 'amlexec.ssh', 'amlexec.targets', 'argparse')\n"
        "print([name for name in sys.modules if name.startswith(parts)], file=sys.stderr)"
    )
    done = project.call(sys.executable, "-c", code)
    assert "submit:local" in done.out
    assert done.err == "[]\n"

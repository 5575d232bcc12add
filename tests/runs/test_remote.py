"""Runs on a machine, used from another computer that only has the login."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ProjectFolder, eventually
from tests.engines.ssh_host import QUIET
from tests.support.places import PLACES, RemoteProject
from tests.support.readers import read

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Done
    from tests.support.hosts import Client, Host
    from tests.support.places import Shop
    from tests.support.wires import Wire

REMOTE = next(place for place in PLACES if place.kind == "remote")
GATED = (
    "import os, sys, time\nprint('begun', flush=True)\nprint('to err', file=sys.stderr)\n"
    "while not os.path.exists('go'):\n    time.sleep(0.05)\n"
    "from amlexec.run import log\nlog('Accuracy', 0.9)\n"
    "os.makedirs('outputs/deep')\nopen('outputs/deep/model', 'w').write('weights')\nprint('done')\n"
    "sys.exit(int(sys.argv[1]))\n"
)


class Pair:
    """A project on two computers, and the machine that both can log in to."""

    def __init__(self, host: Host, shop: Shop, folder: Path, name: str) -> None:
        self.host = host
        self.own = RemoteProject(folder / "own" / name, shop, REMOTE, host)
        self.own.write("train.py", GATED)
        # On the other computer, the target has another name, and the project is newer.
        self.other = ProjectFolder(folder / "other" / name)
        self.other.write("aml_config/box.compute", self.own.compute())

    def from_other(self, *arguments: str) -> Done:
        """Run a command for the machine on the other computer."""
        return self.other.amlexec(*arguments, "--from", "box")

    def submitted(self, code: int = 0) -> str:
        """Submit a run that waits for a signal to continue."""
        done = self.own.submit("--async", "train.py", str(code))
        assert done.code == 0, done.err
        run_id = re.search(r"RunId: (\S+) has", done.err)[1]  # type: ignore[index]
        self.own.begun(run_id)
        return run_id

    def ended(self, run_id: str) -> None:
        """Let a run continue, and wait for its end."""
        self.own.tell(run_id)
        there = f"/home/{QUIET}/.amlexec/runs/{run_id}/control"
        self.host.until(f"[ -e {there}/end ]")

    def listed(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """The runs that the other computer lists, by id."""
        done = self.from_other("history", "list", "-o", "json", *arguments)
        assert done.code == 0, done.err
        return {each["run_id"]: each for each in json.loads(done.out)}


@pytest.fixture
def pair(host: Host, client: Client, shop: Shop, tmp_path: Path, request: pytest.FixtureRequest) -> Pair:
    """A project with a unique name on the machine."""
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    return Pair(host, shop, tmp_path, re.sub(r"\W", "-", request.node.name))


def test_another_computer_lists_and_downloads_a_run(pair: Pair) -> None:
    assert pair.listed() == {}
    run_id = pair.submitted()
    seen = pair.listed()[run_id]
    assert (seen["status"], seen["script_name"], seen["target"]) == ("Running", "train.py", "box")
    assert seen["start_time_utc"] > seen["created_utc"]
    assert seen["host"] == pair.own.record(run_id)["host"]
    assert run_id in pair.from_other("history", "list").out
    status = pair.from_other("experiment", "status", "-r", "last")
    assert (status.code, status.out) == (0, f"{run_id}  Running\n")
    early = pair.from_other("experiment", "return", "-r", run_id)
    assert (early.code, early.out) == (2, "")
    assert f"the run {run_id} is Running" in early.err
    assert pair.other.run_ids() == [], "a refused download creates no run"

    pair.ended(run_id)
    assert pair.listed()[run_id]["status"] == "Completed"
    done = pair.from_other("experiment", "return", "-r", run_id[:-3])
    assert done.code == 0, done.err
    assert done.out == f"{run_id}  Completed\n{pair.other.run_folder(run_id)}\n"
    home = pair.other.run_folder(run_id)
    assert (home / "stdout.log").read_text() == "begun\ndone\n"
    assert (home / "stderr.log").read_text() == "to err\n"
    assert (home / "outputs/deep/model").read_text() == "weights"
    shown = json.loads(pair.other.amlexec("history", "info", "-r", "last", "-o", "json").out)
    assert (shown["metrics"], shown["exit_code"]) == ({"Accuracy": 0.9}, 0)
    assert shown["outputs"] == {"files": 1, "bytes": 7}

    # The submitting computer can collect it too, even after a cleanup by the other one.
    assert pair.other.amlexec("experiment", "clean", "--all").code == 0
    mine = pair.own.amlexec("experiment", "return", "-r", run_id)
    assert mine.code == 0, mine.err
    records = [project.record(run_id) for project in (pair.own, pair.other)]
    assert {record.pop("target") for record in records} == {"remote", "box"}
    assert records[0] == records[1]
    assert (pair.own.run_folder(run_id) / "outputs/deep/model").read_text() == "weights"


def test_following_from_another_computer_downloads_a_run(pair: Pair) -> None:
    run_id = pair.submitted(3)
    process = pair.other.start(
        *("amlexec", "experiment", "follow", "-r", run_id, "--from", "box"),
    )
    eventually(
        lambda: (pair.other.run_folder(run_id) / "stdout.log").exists(), "the other computer follows it"
    )
    pair.ended(run_id)
    out, err = process.communicate()
    assert process.returncode == 1, err
    assert out.startswith(b"begun\ndone\n")
    assert pair.other.record(run_id)["exit_code"] == 3
    assert pair.other.amlexec("history", "info", "-r", run_id, "-a", "deep/model").out == "weights"


def test_canceling_and_cleaning_from_another_computer(pair: Pair) -> None:
    run_id = pair.submitted()
    early = pair.from_other("experiment", "clean", "-r", run_id)
    assert early.code == 3
    assert f"experiment cancel -r {run_id} --from box" in early.err
    done = pair.from_other("experiment", "cancel", "-r", run_id, "-o", "json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["status"] == "Canceled"
    assert (
        pair.from_other("experiment", "cancel", "-r", run_id).err == "the run had already ended: Canceled\n"
    )
    assert pair.own.amlexec("experiment", "status", "-r", run_id).out.startswith(f"{run_id}  Canceled")
    done = pair.from_other("experiment", "clean", "-r", run_id)
    assert done.code == 0, done.err
    assert pair.listed() == {}
    gone = pair.from_other("experiment", "status", "-r", run_id)
    assert gone.code == 3
    assert f"there is no run '{run_id}'" in gone.err
    gone = pair.from_other("experiment", "status", "-r", "last")
    assert (gone.code, "no runs of this project on box" in gone.err) == (3, True)


def test_all_lists_runs_of_other_projects(pair: Pair, host: Host, shop: Shop, tmp_path: Path) -> None:
    # A name that begins with the other's, followed by the separator of name and number.
    other = Pair(host, shop, tmp_path / "more", f"{pair.own.root.name}_1")
    first, second = pair.submitted(), other.submitted()
    assert set(pair.listed()) == {first}
    everything = pair.listed("--all")
    assert {first, second} <= set(everything)
    assert everything[second]["experiment_id"] == other.own.root.name
    both = f"run_id in ({first}, {second})"
    for condition, found in (
        (("--where", f"{both} and status = running and duration < 1h", "--sort", "-run_id"), [second, first]),
        (("--where", f"{both} and not target = box"), []),
        (("--where", both, "--since", "1h", "--script", "train.py", "--limit", "1"), [second]),
        (("--until", "1h"), []),
        (("--sweep", "s1"), []),
    ):
        done = pair.from_other("history", "list", "--all", *condition, "--columns", "run_id", "-o", "csv")
        assert (done.code, done.out.split()) == (0, ["run_id", *found])
        assert ("no run meets the conditions" in done.err) is (not found)
    assert pair.from_other("experiment", "cancel", "-r", second).code == 0, "its whole id was given"
    assert pair.from_other("experiment", "cancel", "-r", "last").code == 0
    assert pair.listed()[first]["status"] == "Canceled"


def test_a_cluster_is_a_machine_too(pair: Pair) -> None:
    pair.other.write("aml_config/box.compute", pair.own.compute().replace("type: remote", "type: cluster"))
    run_id = pair.submitted()
    assert pair.listed()[run_id]["status"] == "Running"
    done = pair.from_other("experiment", "cancel", "-r", run_id, "--grace", "0")
    assert done.out.startswith(f"{run_id}  Canceled"), done.err
    assert pair.from_other("experiment", "return", "-r", run_id).code == 0
    assert (pair.other.run_folder(run_id) / "stdout.log").read_text() == "begun\n"


def test_a_run_that_the_submitting_computer_has_collected(pair: Pair) -> None:
    run_id = pair.submitted()
    follower = pair.other.start("amlexec", "experiment", "follow", "-r", run_id, "--from", "box")
    eventually((pair.other.run_folder(run_id) / "stdout.log").exists, "the other computer follows it")
    follower.kill()
    follower.communicate()
    pair.ended(run_id)
    assert pair.own.amlexec("experiment", "return", "-r", run_id).code == 0
    late = pair.other.amlexec("experiment", "status", "-r", run_id)
    assert late.code == 2
    assert "is no longer there" in late.err
    assert pair.other.record(run_id)["status"] == "Running", "this computer has read no end"


def test_remote_records_have_no_secrets_and_a_damaged_one_hides_no_other(pair: Pair) -> None:
    pair.own.configure("EnvironmentVariables:", "  MY_TOKEN: canary-5e1")
    first, second = pair.submitted(), pair.submitted()
    folder = f"/home/{QUIET}/.amlexec/runs"
    record = json.loads(pair.host.ssh(f"cat {folder}/{first}/run.json"))
    assert record == pair.own.record(first)
    assert record["environment_variables"] == {"MY_TOKEN": "***"}
    pair.host.ssh(f"echo '{{' >{folder}/{first}/run.json; rm -r {folder}/{first}/control/runtime")
    done = pair.from_other("history", "list", "-o", "json")
    assert [each["run_id"] for each in json.loads(done.out)] == [second]
    assert f"the record of the run {first} can't be read" in done.err
    for run_id in (first, second):
        leader = pair.host.ssh(f"cut -d' ' -f1 {folder}/{run_id}/control/script").strip()
        pair.host.ssh(f"kill -9 -{leader}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("experiment", "status", "-r", "last", "--from", "local"), "local is of type local"),
        (("experiment", "status", "-r", "last", "--from", "nowhere"), "nowhere"),
        (("experiment", "clean", "--all", "--from", "box"), "name it: -r RUN"),
        (("experiment", "status", "-r", "last", "--from", "box"), "no runs of this project on box"),
        (("history", "list", "--all"), "--from TARGET"),
    ],
    ids=["kind", "unknown", "clean", "none", "all"],
)
def test_targets_that_list_no_runs_and_unknown_runs(
    pair: Pair, arguments: tuple[str, ...], said: str
) -> None:
    done = pair.other.amlexec(*arguments)
    assert (done.code, done.out) == (3, "")
    assert said in done.err


def test_an_unreachable_machine(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host()
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    pair = Pair(host, shop, tmp_path, "demo")
    runs = [pair.submitted(), pair.submitted()]
    assert "Running" in pair.own.amlexec("experiment", "status", "-r", runs[0]).out
    host.pause()
    # The machine hangs: the last known status is shown, marked as unreachable.
    asked = pair.own.amlexec("experiment", "status", "-r", runs[0], "-o", "json")
    told = json.loads(asked.out)
    assert (asked.code, told["status"], told["unreachable"]) == (2, "Running", True)
    assert asked.err.count("error:") == 1
    host.unpause()
    assert pair.own.amlexec("experiment", "status", "-r", runs[0]).out == f"{runs[0]}  Running\n"

    # The same for a machine that is switched off.
    host.kill()
    listed = pair.own.amlexec("history", "list")
    assert listed.code == 0
    assert re.search(rf"{runs[0]} .* Running, unreachable ", listed.out)
    assert re.search(rf"{runs[1]} .* Starting, unreachable", listed.out)
    assert listed.err.count("remote: warning: ") == 1, "it is asked once"
    shown = pair.own.amlexec("history", "info", "-r", runs[0], "-o", "json", "--query", "unreachable")
    assert shown.out == "true\n"
    for place, asked in (
        ("box", pair.from_other("history", "list")),
        ("box", pair.from_other("experiment", "return", "-r", runs[0])),
        ("remote", pair.own.amlexec("experiment", "cancel", "-r", runs[0])),
        ("remote", pair.own.amlexec("experiment", "return", "-r", runs[0])),
        ("remote", pair.own.amlexec("experiment", "clean", "-r", runs[0])),
    ):
        assert (asked.code, asked.out) == (2, "")
        assert asked.err.startswith(f"{place}: error: no connection to port ")
    assert [pair.own.record(run_id)["status"] for run_id in runs] == ["Running", "Starting"]


def test_a_restart_is_distinguished_from_a_hang(
    new_host: Callable[..., Host], client: Client, shop: Shop, tmp_path: Path
) -> None:
    host = new_host()
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    pair = Pair(host, shop, tmp_path, "demo")
    run_id, killed = pair.submitted(), pair.submitted()
    control = f"/home/{QUIET}/.amlexec/runs/{killed}/control"
    host.ssh(f"kill -9 $(cut -d' ' -f1 {control}/supervisor); kill -9 -$(cut -d' ' -f1 {control}/script)")
    assert "Lost  (its supervisor ended first" in pair.own.amlexec("experiment", "status", "-r", killed).out
    host.kill()
    host.start()
    assert pair.listed()[run_id]["status"] == "Lost"
    done = pair.own.amlexec("experiment", "status", "-r", run_id)
    assert (done.code, done.out) == (0, f"{run_id}  Lost  (its machine was restarted before it ended)\n")
    assert pair.own.record(run_id)["status"] == "Lost"
    assert (pair.own.run_folder(run_id) / "stdout.log").read_text() == "begun\n", "its output was collected"


def test_an_own_run_is_downloaded_twice(pair: Pair) -> None:
    run_id = pair.submitted(1)
    assert pair.own.amlexec("experiment", "return", "-r", run_id).code == 2
    pair.ended(run_id)
    first = pair.own.amlexec("experiment", "return", "-r", run_id, "-o", "json")
    assert first.code == 0, first.err
    assert json.loads(first.out)["exit_code"] == 1
    home = pair.own.run_folder(run_id)
    assert (home / "outputs/deep/model").read_text() == "weights"
    shutil.rmtree(home / "outputs")
    (home / "stdout.log").unlink()
    assert "already downloaded" in pair.own.amlexec("experiment", "return", "-r", run_id).err
    again = pair.own.amlexec("experiment", "return", "-r", run_id, "--overwrite")
    assert again.code == 0, again.err
    assert (home / "outputs/deep/model").read_text() == "weights"
    assert (home / "stdout.log").read_text() == "begun\ndone\n"
    pair.own.amlexec("experiment", "clean", "-r", run_id)
    gone = pair.own.amlexec("experiment", "return", "-r", run_id, "--overwrite")
    assert gone.code == 2
    assert "no longer on remote" in gone.err
    assert (home / "outputs/deep/model").read_text() == "weights"


def test_the_how_to(
    client: Client, new_host: Callable[..., Host], new_wire: Callable[[Host], Wire], tmp_path: Path
) -> None:
    host = new_host()
    host.ssh("useradd --create-home --shell /bin/bash ada")
    wire = new_wire(host)
    client.configure("gpu.example.org", "HostName 127.0.0.1", f"Port {wire.port}")
    shutil.copy(host.key, client.home / ".ssh/id_ed25519")

    def enter(heading: str, folder: Path) -> Path:
        if heading == "Check the status":
            own = ProjectFolder(tmp_path / "own/demo")
            own.amlexec(
                "computetarget", "attach", "remote", "-n", "gpubox", "-a", "gpu.example.org", "-u", "ada"
            )
            return own.root
        if heading == "The machine can't be reached":
            wire.cut()
        if heading == "Your computer is lost":
            wire.mend()
            (tmp_path / "other").mkdir()
            return tmp_path / "other"
        return folder

    page = Path(__file__).parents[2] / "docs/how-to/what-to-do-when-a-run-seems-lost.md"
    read(page, tmp_path, enter)

"""Jobs of a cluster when something goes wrong: nothing is lost, nothing stays in the cluster."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import containers
from tests.conftest import PATIENCE, eventually, until_begun
from tests.engines.kubernetes_cluster import Fault
from tests.support.kubernetes_place import Fleet, KubernetesProject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.places import Shop

WAITING = (
    "import os, time\nopen('outputs/x', 'w').write('x')\nprint('begun', flush=True)\n"
    "while not os.path.exists('go'):\n    time.sleep(0.02)\n"
    "print('done')\n"
)
NO_NODE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
CURE = "runAsUser: 1000 in the .compute file runs it without root"
OF_RUN = "amlexec-demo"
"""The beginning of the name of a run's Job."""
NO_IMAGE = 'Failed to pull image "x": manifest unknown'


@pytest.fixture
def project(shop: Shop, fleet: Fleet, in_fleet: str, tmp_path: Path) -> Iterator[KubernetesProject]:
    """A project whose environment is in the registry; at the end, nothing of it is in the cluster."""
    assert in_fleet == fleet.registry
    before = fleet.cluster.runs()
    made = KubernetesProject(tmp_path / "demo", shop, fleet)
    made.write("train.py", "print('done')\n")
    fleet.cluster.node.only = OF_RUN
    yield made
    assert fleet.cluster.jobs() == []
    assert [name for resource, name in fleet.cluster.objects if resource == "secrets"] == []
    assert fleet.cluster.runs() == before


def statuses(fleet: Fleet, operation: str) -> list[int]:
    return [status for name, status in fleet.cluster.log if name == operation]


def test_secrets_are_only_where_the_cluster_keeps_them(project: KubernetesProject, fleet: Fleet) -> None:
    project.configure("EnvironmentVariables:", "  MY_TOKEN: hunter2-in-a-variable")
    project.write(
        "train.py",
        "import os\nassert 'AMLEXEC_STORAGE' not in os.environ\nprint(os.environ['MY_TOKEN'])\n",
    )
    done = project.submit("train.py", "hunter2-as-argument")
    assert done.code == 0, done.err
    by_kind: dict[str, list[str]] = {}
    for body in fleet.cluster.bodies:
        by_kind.setdefault(body["kind"], []).append(json.dumps(body))
    assert len(by_kind["Secret"]) == 1
    assert all("hunter2" not in text and "token-of-the-tests" not in text for text in by_kind["Job"])
    kept = b"".join(
        path.read_bytes() for path in project.run_folder(done.run_id).rglob("*") if path.is_file()
    )
    assert b"token-of-the-tests" not in kept
    assert "token-of-the-tests" not in done.err + done.out


def test_connections_that_are_cut_everywhere(project: KubernetesProject, fleet: Fleet) -> None:
    """Each kind of request fails once, in each way; what was created by then is created once."""
    fleet.cluster.faults += [
        Fault("create secrets", is_done=True),
        Fault("create jobs", 503, "ServiceUnavailable", "busy"),
        Fault("create jobs", is_done=True),
        Fault("get jobs"),
        Fault("list pods", 429, "TooManyRequests", "slow down"),
        Fault("list pods"),
        Fault("exec pods"),
        Fault("exec pods", 503, "ServiceUnavailable", "busy"),
        Fault("delete jobs"),
        Fault("delete secrets", 500, "InternalError", "etcd"),
    ]
    project.write("train.py", "print('x' * 100000)\nopen('outputs/x', 'w').write('x' * 9000000)\n")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert fleet.cluster.faults == []
    assert (project.run_folder(done.run_id) / "stdout.log").read_text() == "x" * 100000 + "\n"
    assert (project.run_folder(done.run_id) / "outputs/x").stat().st_size == 9000000
    created = [body for body in fleet.cluster.bodies if body["kind"] == "Secret"]
    assert len({body["metadata"]["name"] for body in created}) == 1


def test_a_refusal_is_said_and_not_repeated(project: KubernetesProject, fleet: Fleet) -> None:
    message = "jobs.batch is forbidden: exceeded quota: count/jobs.batch, used: 10, limited: 10"
    # The first Job that is asked for may be that of the Pod that reaches the claim.
    fleet.cluster.faults.append(Fault("create jobs", 403, "Forbidden", message, only=OF_RUN))
    done = project.submit("train.py")
    assert done.code == 2
    assert message in done.err
    assert statuses(fleet, "create jobs")[-1:] == [403]
    record = project.record(project.run_ids()[0])
    assert record["status"] == "Failed"
    assert message in record["reason"]


def test_a_pod_that_no_node_takes(project: KubernetesProject, fleet: Fleet) -> None:
    fleet.cluster.node.unschedulable = NO_NODE
    run_id = project.submit("--async", "train.py").run_id
    status = project.amlexec("experiment", "status", "-r", run_id)
    assert status.out.startswith(f"{run_id}  Starting")
    said = f"warning: no node takes it yet: {NO_NODE.rstrip('.')} (Unschedulable)"
    eventually(lambda: said in project.amlexec("experiment", "status", "-r", run_id).err, "the cause is said")
    done = project.amlexec("experiment", "cancel", "-r", run_id)
    assert done.code == 0, done.err
    assert project.record(run_id)["status"] == "Canceled"


@pytest.mark.parametrize(
    ("waiting", "events", "no_pod", "why"),
    [
        (
            ("ImagePullBackOff", 'Back-off pulling image "x"'),
            [("Failed", NO_IMAGE, 3)],
            False,
            f"{NO_IMAGE} (ImagePullBackOff)",
        ),
        (
            ("", ""),
            [("FailedCreate", 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', 3)],
            True,
            f'pods "x" is forbidden: violates PodSecurity "restricted:latest"; {CURE}',
        ),
    ],
    ids=["image", "pod"],
)
def test_a_run_that_does_not_begin(
    project: KubernetesProject,
    fleet: Fleet,
    waiting: tuple[str, str],
    events: list[tuple[str, str, int]],
    no_pod: bool,
    why: str,
) -> None:
    node = fleet.cluster.node
    node.waiting, node.events, node.no_pod = waiting, events, no_pod
    done = project.submit("train.py")
    assert done.code == 2, done.err
    record = project.record(project.run_ids()[0])
    assert (record["status"], record["exit_code"]) == ("Failed", None)
    assert record["reason"] == f"the script did not begin: {why}"
    assert why in done.err


NOT_ROOT = """\
import json, os
from amlexec.run import log
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
open(os.path.expanduser("~/in-my-home"), "w").write("x")
told = [os.getuid(), os.getgid(), status["CapEff"], status["NoNewPrivs"]]
open("outputs/of.json", "w").write(json.dumps(told))
log("loss", 0.5)
print("done", os.environ["USER"])
"""


def test_a_restricted_namespace(project: KubernetesProject, fleet: Fleet) -> None:
    """It refuses root, and takes a run without: whose files, home folder, metrics and outputs are as ever."""
    fleet.cluster.node.is_restricted = True
    fleet.cluster.node.only = ""
    folder = fleet.cluster.claim("apart")
    text = project.compute().replace("claim: runs", "claim: apart")
    project.write("train.py", NOT_ROOT)
    project.write("aml_config/kubernetes.compute", text)
    done = project.submit("train.py")
    assert done.code == 2
    assert 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation' in done.err
    assert CURE in done.err
    project.write("aml_config/kubernetes.compute", f"{text}runAsUser: 1000\n")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert "done amlexec" in done.out
    outputs = project.run_folder(done.run_id) / "outputs/of.json"
    assert json.loads(outputs.read_text()) == [1000, 1000, "0" * 16, "1"]
    assert project.record(done.run_id)["metrics"] == {"loss": 0.5}
    assert [*(folder / "amlexec").iterdir()] == []


def test_memory_that_is_used_up(project: KubernetesProject) -> None:
    project.write(
        "aml_config/kubernetes.compute", project.compute().replace("memoryGb: 0.5", "memoryGb: 0.06")
    )
    project.write("train.py", "print('begun', flush=True)\nx = bytearray(300_000_000)\nprint(len(x))\n")
    done = project.submit("train.py")
    assert done.code == 1, done.err
    record = project.record(project.run_ids()[0])
    assert (record["status"], record["exit_code"]) == ("Failed", 137)
    assert "it used more memory than memoryGb" in record["reason"]


def test_a_job_that_somebody_else_deletes(project: KubernetesProject, fleet: Fleet) -> None:
    """What the script has made by then comes home."""
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    process = project.start(sys.executable, "-m", "amlexec", "experiment", "follow", "-r", run_id)
    until_begun(process)
    (job,) = fleet.cluster.jobs()
    fleet.cluster.answer("delete jobs", job["metadata"]["name"], {}, {})
    _, err = process.communicate(timeout=PATIENCE)
    record = project.record(run_id)
    assert (record["status"], record["exit_code"]) == ("Failed", 143), err
    assert "the cluster has stopped its Pod" in record["reason"]
    assert (project.run_folder(run_id) / "outputs/x").read_text() == "x"
    again = project.amlexec("experiment", "cancel", "-r", run_id)
    assert again.code == 0, again.err


def test_an_eviction(project: KubernetesProject, fleet: Fleet) -> None:
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    fleet.cluster.evict(run_id)
    done = project.amlexec("experiment", "follow", "-r", run_id)
    assert done.code == 1, done.err
    record = project.record(run_id)
    assert (record["status"], record["exit_code"]) == ("Failed", 143)
    assert "the cluster has ended its Pod: The node was low on resource: memory" in record["reason"]
    assert (project.run_folder(run_id) / "outputs/x").read_text() == "x"


def test_a_run_that_loses_its_files(project: KubernetesProject, fleet: Fleet, shop: Shop) -> None:
    """Its folder in the claim was removed while it ran: the exit code is that of the container."""
    project.write("train.py", f"{WAITING}raise SystemExit(3)\n")
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    (job,) = fleet.cluster.jobs()
    folder = fleet.cluster.claim("runs") / "amlexec" / job["metadata"]["name"]
    shutil.rmtree(folder)
    # The engine's own copying into a container fails, too, if a mounted folder is gone.
    python = ["/opt/amlexec/env/bin/python", "-c", "open('/azureml-run/go', 'w')"]
    containers.execute(project.engine, fleet.cluster.container_of(run_id), python, bytes)
    done = project.amlexec("experiment", "follow", "-r", run_id)
    assert done.code == 1, done.err
    assert project.record(run_id)["exit_code"] == 3


def test_a_server_that_does_not_answer_says_nothing_about_the_run(
    project: KubernetesProject, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    with monkeypatch.context() as patch:
        patch.setenv("KUBECONFIG", str(fleet.configure(tmp_path / "away", "https://127.0.0.1:1")))
        done = project.amlexec("experiment", "status", "-r", run_id)
    assert (done.code, "connection refused" in done.err) == (2, True), done.err
    assert project.record(run_id)["end_time_utc"] is None
    project.tell(run_id)
    assert project.amlexec("experiment", "follow", "-r", run_id).code == 0


def test_what_is_not_this_projects_is_left_alone(project: KubernetesProject, fleet: Fleet) -> None:
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    (job,) = fleet.cluster.jobs()
    owner = job["metadata"]["annotations"]["amlexec/owner"]
    job["metadata"]["annotations"]["amlexec/owner"] = "another"
    done = project.amlexec("experiment", "cancel", "-r", run_id)
    assert (done.code, "is not this run's" in done.err) == (2, True), done.err
    assert len(fleet.cluster.jobs()) == 1
    job["metadata"]["annotations"]["amlexec/owner"] = owner
    # A record of a stranger starts no Pod of its image.
    file = project.run_folder(run_id) / "control/group"
    before = file.read_text()
    file.write_text(before.replace(owner, "stranger-1").replace(job["metadata"]["name"], "amlexec-x"))
    created = len(statuses(fleet, "create jobs"))
    done = project.amlexec("experiment", "status", "-r", run_id)
    assert (done.code, "was submitted from another computer" in done.err) == (2, True), done.err
    file.write_text(before.replace("@sha256:", ":latest-"))
    done = project.amlexec("experiment", "status", "-r", run_id)
    assert (done.code, "this file is damaged" in done.err) == (2, True), done.err
    assert len(statuses(fleet, "create jobs")) == created
    file.write_text(before)
    assert project.amlexec("experiment", "cancel", "-r", run_id).code == 0


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "there is no login for Kubernetes"),
        ("clusters: [\n", "there is no login for Kubernetes"),
    ],
    ids=["none", "broken"],
)
def test_without_a_login(
    project: KubernetesProject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: str,
    said: str,
) -> None:
    file = tmp_path / "config"
    if config:
        file.write_text(config)
    monkeypatch.setenv("KUBECONFIG", str(file))
    done = project.submit("train.py")
    assert (done.code, said in done.err) == (2, True), done.err
    assert "kubectl config get-contexts" in done.err
    assert project.run_ids() == []
    assert "Traceback" not in done.err


def test_a_login_that_is_refused(
    project: KubernetesProject, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(fleet.configure(tmp_path / "expired", token="expired")))
    done = project.submit("train.py")
    assert (done.code, "error: Unauthorized" in done.err) == (2, True), done.err
    assert project.run_ids() == []


def test_a_context_that_does_not_exist(project: KubernetesProject) -> None:
    project.write("aml_config/kubernetes.compute", project.compute("context: elsewhere"))
    done = project.submit("train.py")
    assert done.code == 2
    assert "elsewhere" in done.err
    assert project.run_ids() == []


def test_spark_is_refused(project: KubernetesProject) -> None:
    text = (project.root / "aml_config/kubernetes.runconfig").read_text()
    project.write("aml_config/kubernetes.runconfig", text.replace("Framework: Python", "Framework: PySpark"))
    project.write("aml_config/spark_dependencies.yml", "configuration: {}\n")
    done = project.submit("--prepare", "train.py")
    assert (done.code, "has no Spark" in done.err) == (3, True), done.err


def test_the_submitting_command_is_killed(project: KubernetesProject, fleet: Fleet) -> None:
    """Between the files and the Job: the next command removes what is there."""
    fleet.cluster.faults += [Fault("create jobs", only=OF_RUN)] * 40
    process = project.start(
        *(sys.executable, "-m", "amlexec", "experiment", "submit", "-c", "kubernetes", "train.py")
    )
    eventually(lambda: 0 in statuses(fleet, "create jobs"), "the Job is asked for")
    process.kill()
    process.communicate()
    fleet.cluster.faults.clear()
    (run_id,) = project.run_ids()
    with contextlib.suppress(AssertionError):
        assert project.amlexec("experiment", "status", "-r", run_id).code == 0
    done = project.amlexec("experiment", "cancel", "-r", run_id)
    assert done.code == 0, done.err
    assert project.record(run_id)["status"] in {"Canceled", "Lost"}


def test_other_commands_on_the_project(project: KubernetesProject, fleet: Fleet) -> None:
    """The images are on the engine here; a sweep's points are Jobs like any run's."""
    project.write("train.py", "import sys\nfrom amlexec.run import log\nlog('loss', float(sys.argv[2]))\n")
    done = project.amlexec(
        *("experiment", "sweep", "-c", "kubernetes", "--jobs", "2", "train.py", "--lr", "1,2")
    )
    assert done.code == 0, done.err
    assert [project.record(run_id)["status"] for run_id in project.run_ids()] == ["Completed"] * 2
    done = project.amlexec("gc", "--plan", "-t", "kubernetes")
    assert done.code == 0, done.err
    done = project.amlexec("experiment", "rerun", project.run_ids()[0])
    assert done.code == 0, done.err
    done = project.doit("submit:kubernetes", "script=train.py", "args=--lr 3")
    assert done.code == 0, done.err + done.out


def test_a_login_without_the_right_to_create_jobs(project: KubernetesProject, fleet: Fleet) -> None:
    fleet.cluster.denied.add("create jobs")
    done = project.submit("train.py")
    assert done.code == 2
    assert "the login may not create Jobs in the namespace experiments" in done.err
    assert "amlexec computetarget check kubernetes" in done.err
    assert project.run_ids() == []

"""Container groups of Azure when something goes wrong: nothing is lost, nothing that costs money stays."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from amlexec.images import published_store
from tests.conftest import PATIENCE, eventually, until_begun
from tests.engines import storage_front
from tests.engines.azure_manager import Fault
from tests.engines.azurite import Certificate
from tests.runs.test_release import KILLED
from tests.support.service_place import Service, ServiceProject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engines.storage_front import Front
    from tests.support.places import Shop

WAITING = (
    "import os, time\nopen('outputs/x', 'w').write('x')\nprint('begun', flush=True)\n"
    "while not os.path.exists('go'):\n    time.sleep(0.02)\n"
    "print('done')\n"
)
_CREATE, _GET, _DELETE = "ContainerGroups_CreateOrUpdate", "ContainerGroups_Get", "ContainerGroups_Delete"
_LOGS = "Containers_ListLogs"


@pytest.fixture
def project(shop: Shop, service: Service, published: str, tmp_path: Path) -> Iterator[ServiceProject]:
    """A project whose environment is in the registry; at the end, nothing of it is in the service."""
    assert published == service.registry
    before = service.storage_containers()
    made = ServiceProject(tmp_path / "demo", shop, service)
    made.write("train.py", "print('done')\n")
    yield made
    assert service.manager.groups == {}
    assert service.storage_containers() == before


@pytest.fixture
def front(service: Service, project: ServiceProject, tmp_path: Path) -> Iterator[Front]:
    """What makes requests to the storage fail; the project's target uses it."""
    secured = Certificate(service.certificate, service.certificate.with_name("key.pem"))
    with storage_front.serve(service.storage, secured) as made:
        text = project.compute().replace(service.storage, made.address)
        project.write("aml_config/containerinstance.compute", text)
        yield made
        made.faults.clear()


def statuses(service: Service, operation: str) -> list[int]:
    return [status for name, status in service.manager.log if name == operation]


def test_secrets_are_only_where_azure_keeps_them(project: ServiceProject, service: Service) -> None:
    project.configure("EnvironmentVariables:", "  MY_TOKEN: hunter2-in-a-variable")
    project.write(
        "train.py",
        "import os\nassert 'AMLEXEC_STORAGE' not in os.environ\nprint(os.environ['MY_TOKEN'])\n",
    )
    done = project.submit("train.py", "hunter2-as-argument")
    assert done.code == 0, done.err
    (group,) = service.manager.bodies
    container = group["properties"]["containers"][0]["properties"]
    variables = container.pop("environmentVariables")
    assert all(set(variable) == {"name", "secureValue"} for variable in variables)
    assert "hunter2-in-a-variable" in json.dumps(variables)
    assert "hunter2" not in json.dumps(group)
    address = next(variable["secureValue"] for variable in variables if variable["name"] == "AMLEXEC_STORAGE")
    signature = address.partition("sig=")[2][:20]
    kept = b"".join(
        path.read_bytes() for path in project.run_folder(done.run_id).rglob("*") if path.is_file()
    )
    assert signature.encode() not in kept
    assert signature not in done.err + done.out
    assert statuses(service, _CREATE) == [201]


def test_faults_that_pass(project: ServiceProject, service: Service) -> None:
    """All of them in one creation, and in what is asked later."""
    created = service.manager.created
    service.manager.faults += [
        # Azure says how long to wait.
        Fault(_CREATE, 429, "TooManyRequests", headers=(("Retry-After", "1"),)),
        *[Fault(_CREATE, 409, "ContainerGroupTransitioning", "still transitioning")] * 2,
        Fault(_CREATE, 503, "ServerBusy"),
        # The connection is lost before and after the group was created.
        Fault(_CREATE),
        Fault(_CREATE, is_done=True),
        Fault(_GET),
        Fault(_GET, 500, "InternalServerError"),
        Fault(_DELETE),
    ]
    begun = time.monotonic()
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert "done\n" in done.out
    assert statuses(service, _CREATE) == [429, 409, 409, 503, 0, 0, 200]
    assert service.manager.faults == []
    assert service.manager.created == created + 1
    assert time.monotonic() - begun > 1
    assert project.record(done.run_id)["status"] == "Completed"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "ContainerGroupQuotaReached",
            "container group quota 'StandardCores' exceeded in region 'westeurope'",
        ),
        (
            "ServiceUnavailable",
            "The requested resource is not available in the location 'westeurope'",
        ),
    ],
)
def test_a_quota_or_a_full_region_is_not_retried(
    project: ServiceProject, service: Service, code: str, message: str
) -> None:
    service.manager.faults.append(Fault(_CREATE, 409, code, message))
    done = project.submit("train.py")
    assert done.code == 2
    assert message in done.err
    assert statuses(service, _CREATE) == [409]
    record = project.record(project.run_ids()[0])
    assert record["status"] == "Failed"
    assert message in record["reason"]


def test_what_is_left_of_a_run_that_did_not_start_is_said(
    project: ServiceProject, service: Service, front: Front
) -> None:
    service.manager.faults.append(Fault(_CREATE, 409, "ContainerGroupQuotaReached", "quota exceeded"))
    front.faults.append(lambda method, _: 403 if method == "DELETE" else None)
    done = project.submit("train.py")
    assert done.code == 2
    assert "quota exceeded" in done.err
    (run_id,) = project.run_ids()
    assert "warning: what the service has of the run could not be deleted: " in done.err
    assert f"  hint: amlexec experiment clean -r {run_id} deletes it\n" in done.err
    front.faults.clear()
    assert project.amlexec("experiment", "clean", "-r", run_id).code == 0


def test_a_group_that_azure_cannot_start(project: ServiceProject, service: Service) -> None:
    """A creation that failed keeps trying, and costs: it is deleted."""
    service.manager.stays = "Failed"
    service.manager.events = [
        ("Pulling", "pulling image"),
        ("Failed", "Failed to pull image: unauthorized"),
    ]
    service.manager.deletes_slowly = True
    done = project.submit("train.py")
    assert done.code == 2, done.err
    record = project.record(project.run_ids()[0])
    assert (record["status"], record["exit_code"]) == ("Failed", None)
    assert record["reason"] == "the script did not begin: Failed to pull image: unauthorized (Failed)"
    assert 202 in statuses(service, _DELETE) or 200 in statuses(service, _DELETE)


def test_a_cancel_while_azure_gets_the_image(project: ServiceProject, service: Service) -> None:
    service.manager.stays = "Creating"
    run_id = project.submit("--async", "train.py").run_id
    assert project.amlexec("experiment", "status", "-r", run_id).out.startswith(f"{run_id}  Starting")
    done = project.amlexec("experiment", "cancel", "-r", run_id)
    assert done.code == 0, done.err
    assert project.record(run_id)["status"] == "Canceled"
    assert statuses(service, _DELETE) == [200]


def test_a_group_that_somebody_else_deletes(project: ServiceProject, service: Service) -> None:
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    process = project.start(sys.executable, "-m", "amlexec", "experiment", "follow", "-r", run_id)
    until_begun(process)
    for name in [*service.manager.groups]:
        service.manager.drop(name)
    _, err = process.communicate(timeout=PATIENCE)
    record = project.record(run_id)
    assert record["status"] == "Lost", err
    assert "its container group is no longer in Azure" in record["reason"]
    assert (project.run_folder(run_id) / "stdout.log").read_bytes() == b"begun\n"
    again = project.amlexec("experiment", "cancel", "-r", run_id)
    assert again.code == 0, again.err


def test_azure_stops_a_container(project: ServiceProject, service: Service) -> None:
    """What the script has made by then comes home."""
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    for name in [*service.manager.groups]:
        service.manager.drop(name, grace=60)
    done = project.amlexec("experiment", "follow", "-r", run_id)
    assert done.code == 1, done.err
    record = project.record(run_id)
    assert (record["status"], record["exit_code"]) == ("Failed", 143)
    assert "Azure stopped its container" in record["reason"]
    assert (project.run_folder(run_id) / "outputs/x").read_text() == "x"


def test_a_storage_that_refuses_the_run(project: ServiceProject, service: Service, front: Front) -> None:
    """Its key was revoked while the script ran: the exit code is that of the container."""
    service.manager.faults += [Fault(_LOGS, 500, "InternalServerError")]
    project.write("train.py", f"{WAITING}raise SystemExit(3)\n")
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    front.faults.append(lambda _, path: 403 if "sig=" in path else None)
    project.tell(run_id)
    done = project.amlexec("experiment", "follow", "-r", run_id)
    assert done.code == 1, done.err
    record = project.record(run_id)
    assert (record["status"], record["exit_code"]) == ("Failed", 3)
    assert "the storage says 403 AuthenticationFailed" in record["reason"]
    assert record["not_collected"] == [
        {"path": "outputs", "reason": "the container ended before it had sent them", "kept": False}
    ]


def test_a_run_that_cannot_get_its_files(project: ServiceProject, service: Service, front: Front) -> None:
    front.faults.append(lambda _, path: 403 if "sig=" in path and "run.tar.gz" in path else None)
    service.manager.has_logs = False
    service.manager.faults.append(Fault(_LOGS, 400, "ContainerGroupDeploymentNotReady", "not yet"))
    done = project.submit("train.py")
    assert done.code == 2, done.err
    record = project.record(project.run_ids()[0])
    assert record["reason"] == "the script did not begin: its container ended at once"
    service.manager.has_logs = True
    done = project.submit("train.py")
    record = project.record(project.run_ids()[1])
    assert "the files of the run can't be read: the storage says 403 AuthenticationFailed" in record["reason"]


def test_a_connection_to_the_storage_that_is_cut_everywhere(project: ServiceProject, front: Front) -> None:
    """Each kind of request fails once, the run's own too."""
    project.write("train.py", "import os\nprint('x' * 100000)\nopen('outputs/x', 'w').write('x')\n")
    seen: set[tuple[str, str]] = set()

    def cut(method: str, path: str) -> int | None:
        name = path.partition("?")[0].rpartition("/")[2]
        kind = (method, f"{name} {'comp' in path} {'sig=' in path}")
        is_new = kind not in seen
        seen.add(kind)
        return 0 if is_new else None

    front.faults.append(cut)
    done = project.submit("train.py")
    assert done.code == 0, done.err
    run_id = done.run_id
    assert (project.run_folder(run_id) / "stdout.log").read_text() == "x" * 100000 + "\n"
    assert (project.run_folder(run_id) / "outputs/x").read_text() == "x"
    names = {name.split()[0] for _, name in seen}
    assert {"run.tar.gz", "stdout.log", "outputs.tar", "state", "cancel"} <= names


def test_a_manager_that_does_not_answer_says_nothing_about_the_run(
    project: ServiceProject, service: Service
) -> None:
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    service.manager.faults += [Fault(_GET)] * 20
    done = project.amlexec("experiment", "status", "-r", run_id)
    assert (done.code, "could not be asked" in done.err or "error" in done.err) == (2, True), done.err
    assert project.record(run_id)["end_time_utc"] is None
    service.manager.faults.clear()
    project.tell(run_id)
    assert project.amlexec("experiment", "follow", "-r", run_id).code == 0


def test_another_group_of_the_same_name_is_left_alone(project: ServiceProject, service: Service) -> None:
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    (group,) = service.manager.groups.values()
    group.body["tags"]["amlexec-owner"] = "another"
    done = project.amlexec("experiment", "cancel", "-r", run_id)
    assert (done.code, "is not this run's" in done.err) == (2, True), done.err
    assert len(service.manager.groups) == 1
    group.body["tags"]["amlexec-owner"] = json.loads(
        (project.run_folder(run_id) / "control/group").read_text()
    )["owner"]
    assert project.amlexec("experiment", "cancel", "-r", run_id).code == 0


def test_a_record_of_a_stranger_sends_no_token(project: ServiceProject, service: Service) -> None:
    project.write("train.py", WAITING)
    run_id = project.submit("--async", "train.py").run_id
    project.begun(run_id)
    file = project.run_folder(run_id) / "control/group"
    before = file.read_text()
    file.write_text(before.replace(service.manager.address, "https://example.org"))
    done = project.amlexec("experiment", "status", "-r", run_id)
    assert (done.code, "this file is damaged" in done.err) == (2, True), done.err
    file.write_text(before)
    assert project.amlexec("experiment", "cancel", "-r", run_id).code == 0


def test_without_a_login(project: ServiceProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    done = project.submit("train.py")
    assert done.code == 2
    assert "there is no login for Azure" in done.err
    assert "az login" in done.err
    assert project.run_ids() == []
    assert "Traceback" not in done.err


def test_an_image_that_left_the_registry(project: ServiceProject) -> None:
    text = project.compute().replace("/team/", "/another/")
    project.write("aml_config/containerinstance.compute", text)
    done = project.submit("train.py")
    assert done.code == 2
    assert "is not ready" in done.err
    assert "amlexec experiment prepare -c containerinstance" in done.err
    assert project.run_ids() == []


def test_a_registry_that_refuses_the_push(project: ServiceProject) -> None:
    text = project.compute().replace(project.service.registry, "127.0.0.1:1/team/images")
    project.write("aml_config/containerinstance.compute", text)
    done = project.prepare()
    assert done.code == 2
    assert "127.0.0.1:1" in done.err
    assert "Traceback" not in done.err


def test_spark_is_refused(project: ServiceProject) -> None:
    project.configure("Framework: PySpark")
    text = (project.root / "aml_config/containerinstance.runconfig").read_text()
    project.write("aml_config/containerinstance.runconfig", text.replace("Framework: Python\n", "", 1))
    project.write("aml_config/spark_dependencies.yml", "configuration: {}\n")
    done = project.submit("--prepare", "train.py")
    assert done.code == 3
    assert "has no Spark" in done.err


def test_a_large_image_is_said_to_be_large(
    shop: Shop, project: ServiceProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Shown:
        def step(self, line: str) -> None:
            said.append(line)

    digest = project.prepare("--print-digest").out.strip()
    published_store.warn_if_large(shop.engine, digest, Shown())  # type: ignore[arg-type]
    assert said == []
    monkeypatch.setattr(published_store, "_MOST_GB", 0)
    published_store.warn_if_large(shop.engine, digest, Shown())  # type: ignore[arg-type]
    assert "Azure Container Instances takes 0 GB at most" in said[0]


def test_the_submitting_command_is_killed(project: ServiceProject, service: Service) -> None:
    """Between the storage and the group: the next command removes what is there."""
    service.manager.faults += [Fault(_CREATE)] * 40
    process = project.start(
        *("python", "-m", "amlexec", "experiment", "submit", "-c", "containerinstance", "train.py")
    )
    eventually(lambda: 0 in statuses(service, _CREATE), "the group is asked for")
    process.kill()
    process.communicate()
    service.manager.faults.clear()
    (run_id,) = project.run_ids()
    with contextlib.suppress(AssertionError):
        assert project.amlexec("experiment", "status", "-r", run_id).code == 0
    done = project.amlexec("experiment", "cancel", "-r", run_id)
    assert done.code == 0, done.err
    assert project.record(run_id)["status"] in {"Canceled", "Lost"}


def test_a_clean_up_after_a_client_was_killed(project: ServiceProject, front: Front) -> None:
    """Only the run's folder tells where in the service it is: it stays until nothing is there."""
    process = project.start(sys.executable, "-c", KILLED, "containerinstance")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL, err
    (run_id,) = project.run_ids()
    assert project.record(run_id)["status"] == "Completed"
    front.faults.append(lambda method, _: 403 if method == "DELETE" else None)
    done = project.amlexec("gc", "--keep-last", "0")
    assert f"keeps the run {run_id}: what containerinstance has of it could not be removed" in done.err
    front.faults.clear()
    done = project.amlexec("gc", "--keep-last", "0")
    assert done.code == 0, done.err
    assert project.run_ids() == []


def test_other_commands_on_the_project(project: ServiceProject, service: Service) -> None:
    """The images are on the engine here; a sweep's points are groups like any run's."""
    project.write("train.py", "import sys\nfrom amlexec.run import log\nlog('loss', float(sys.argv[2]))\n")
    done = project.amlexec(
        *("experiment", "sweep", "-c", "containerinstance", "--jobs", "2", "train.py", "--lr", "1,2")
    )
    assert done.code == 0, done.err
    assert [project.record(run_id)["status"] for run_id in project.run_ids()] == ["Completed"] * 2
    assert len(service.manager.bodies) == 2
    done = project.amlexec("gc", "--plan", "-t", "containerinstance")
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    done = project.amlexec("experiment", "rerun", project.run_ids()[0])
    assert done.code == 0, done.err
    done = project.doit("submit:containerinstance", "script=train.py", "args=--lr 3")
    assert done.code == 0, done.err + done.out

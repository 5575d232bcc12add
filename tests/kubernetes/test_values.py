"""What is asked of a cluster, and what its objects mean: values only, held to the published description."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import yaml

from amlexec.errors import TargetError, UnreachableError, UsageError
from amlexec.kubernetes import jobs
from amlexec.kubernetes.cluster import _code_of
from amlexec.kubernetes.phase import phase_of, waits
from amlexec.kubernetes.place import Place, needs_of, of_texts
from amlexec.kubernetes.sdk import ClusterAnswerError, answer_error, module
from amlexec.owner import resource_name
from tests.engines import kubernetes as described
from tests.engines import kubernetes_api, kubernetes_security

NEEDS = {
    "nodeSelector": {"disktype": "ssd"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "serviceAccountName": "trainer",
    "imagePullSecrets": [{"name": "login"}],
}
IMAGE = f"registry.example.org/team/images@sha256:{'a' * 64}"
PLACE = Place("", "experiments", resource_name("demo_1", "o"), "runs", IMAGE, json.dumps(NEEDS), "demo-12")
PLAIN = PLACE._replace(needs="{}")
RESTRICTED = PLACE._replace(needs=json.dumps({**NEEDS, "runAsUser": 1000}))
REFUSED = 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'
RESOURCES = jobs.Resources(1.5, 0.25, "nvidia.com/gpu", 2)


def documents(place: Place) -> list[dict[str, Any]]:
    """All that is asked for."""
    return [
        jobs.secret(place, [("AMLEXEC_STORAGE", "/x"), ("AMLEXEC_RUN_0", "ü")], "1-2-3"),
        jobs.job(place, "demo_1", ["python", "-c", "x"], RESOURCES, ["/azureml-run", "/amlexec/out"]),
        jobs.files_job(place, ["python"]),
    ]


@pytest.mark.parametrize("version", described.VERSIONS)
@pytest.mark.parametrize("place", [PLACE, PLAIN, RESTRICTED], ids=["full", "plain", "restricted"])
def test_the_published_description_accepts_what_is_asked_for(
    kubernetes: None, place: Place, version: str
) -> None:
    for document in documents(place):
        assert described.problems(document, version) == []


def test_kubectl_accepts_what_is_asked_for(kubernetes: None) -> None:
    with kubernetes_api.serve() as (address, changes):
        words = ["apply", "--dry-run=client", "--validate=false", "-f", "-"]
        done = described.call(
            address, *words, given=yaml.safe_dump_all(documents(PLACE) + documents(RESTRICTED))
        )
    assert (done.returncode, done.stderr) == (0, "")
    kinds = ["secret", "job.batch", "job.batch"]
    assert [line.partition("/")[0] for line in done.stdout.splitlines()] == 2 * kinds
    assert changes == []


def test_a_script_runs_once_and_gets_what_the_target_says() -> None:
    secret, job, files = documents(PLACE)
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["ttlSecondsAfterFinished"] == 7 * 24 * 3600
    assert files["spec"]["ttlSecondsAfterFinished"] == 0
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert NEEDS.items() <= pod.items()
    assert NEEDS.items() <= files["spec"]["template"]["spec"].items()
    (container,) = pod["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "1500m", "memory": "250M"},
        "limits": {"cpu": "1500m", "memory": "250M", "nvidia.com/gpu": "2"},
    }
    # A run sees its own folder of the claim, and no token of the cluster unless that is asked for.
    assert container["volumeMounts"][0]["subPath"] == f"amlexec/{PLACE.name}"
    assert pod["automountServiceAccountToken"] is True
    assert documents(PLAIN)[1]["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "1-2-3"
    assert base64.b64decode(secret["data"]["AMLEXEC_RUN_0"]).decode() == "ü"
    assert "env" not in container
    assert "nvidia" not in json.dumps(files["spec"]["template"]["spec"]["containers"])
    assert jobs.files_name(PLACE) != jobs.files_name(PLAIN)
    assert len(jobs.files_name(PLACE)) <= 63


def test_a_namespace_that_is_restricted_takes_who_is_not_root() -> None:
    for document in documents(RESTRICTED)[1:]:
        pod = document["spec"]["template"]["spec"]
        assert kubernetes_security.refusal(pod) == ""
        assert {pod["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {1000}
        assert "runAsUser" not in pod
    mounts = documents(RESTRICTED)[1]["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert [each["mountPath"] for each in mounts] == [jobs.MOUNT, "/azureml-run", "/amlexec/out"]
    assert jobs.files_name(RESTRICTED) != jobs.files_name(PLACE)
    refused = kubernetes_security.refusal(documents(PLACE)[1]["spec"]["template"]["spec"])
    for each in ("allowPrivilegeEscalation", "capabilities", "runAsNonRoot", "seccompProfile"):
        assert each in refused


def test_a_place_is_read_as_it_was_kept() -> None:
    assert of_texts(PLACE._asdict()) == PLACE
    assert of_texts(RESTRICTED._asdict()) == RESTRICTED
    assert needs_of(PLACE) == NEEDS


@pytest.mark.parametrize(
    "changed",
    [
        {"namespace": "a/b"},
        {"name": "../x"},
        {"claim": "-"},
        {"image": "registry.example.org/team/images:latest"},
        {"owner": "new\nline"},
        {"needs": "[]"},
        {"needs": '{"hostNetwork": true}'},
        {"needs": '{"tolerations": {}}'},
        {"needs": '{"runAsUser": 0}'},
        {"needs": '{"runAsUser": true}'},
        {"needs": '{"securityContext": {"runAsUser": 0}}'},
        {"needs": "{"},
        {"context": "\x1b[31m"},
    ],
)
def test_a_place_that_amlexec_has_not_written(changed: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        of_texts({**PLACE._asdict(), **changed})


def pod(state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """A Pod whose container has that state."""
    rows = {"containerStatuses": [{"name": "run", "state": state}]} if state else {}
    return {"metadata": {"name": "p"}, "status": {"phase": "Pending", **rows, **status}}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return pod({"waiting": {"reason": reason, "message": message}})


def ended(code: int, reason: str, message: str = "", **status: Any) -> dict[str, Any]:
    found = {"exitCode": code, "reason": reason, "message": message, "startedAt": "2026-11-30T10:00:00Z"}
    return pod({"terminated": {**found, "finishedAt": "2026-11-30T10:01:00Z"}}, phase="Failed", **status)


def event(reason: str, message: str, count: int = 1) -> dict[str, Any]:
    return {"reason": reason, "message": message, "count": count}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}
PREEMPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "PreemptionByScheduler",
    "message": "default-scheduler: preempting to accommodate a higher priority pod",
}
NO_IMAGE = 'Failed to pull image "x": not found'
BACK_OFF = 'Back-off pulling image "x"'
FAILED = {"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}}


@pytest.mark.parametrize(
    ("job", "found", "events", "age", "phase", "why"),
    [
        ({}, None, [], 1, "starting", ""),
        ({}, pod(), [], 1, "starting", ""),
        (
            {},
            pod(conditions=[UNSCHEDULABLE]),
            [],
            1e6,
            "starting",
            "no node takes it yet: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu (Unschedulable)",
        ),
        ({}, waiting("ContainerCreating"), [], 1, "starting", ""),
        (
            {},
            waiting("ContainerCreating"),
            [event("FailedMount", "MountVolume.SetUp failed")],
            1,
            "starting",
            "MountVolume.SetUp failed",
        ),
        (
            {},
            waiting("ErrImagePull", "not found"),
            [event("Failed", NO_IMAGE), event("Failed", "Error: ErrImagePull")],
            1,
            "starting",
            f"{NO_IMAGE} (ErrImagePull)",
        ),
        (
            {},
            waiting("ImagePullBackOff", BACK_OFF),
            [event("Failed", NO_IMAGE, 3), event("Failed", "Error: ImagePullBackOff", 5)],
            60,
            "failed",
            f"{NO_IMAGE} (ImagePullBackOff)",
        ),
        # Its events can't be read.
        ({}, waiting("ImagePullBackOff", BACK_OFF), [], 60, "starting", f"{BACK_OFF} (ImagePullBackOff)"),
        ({}, waiting("ImagePullBackOff", BACK_OFF), [], 1000, "failed", f"{BACK_OFF} (ImagePullBackOff)"),
        ({}, waiting("InvalidImageName", "bad"), [], 1, "failed", "bad (InvalidImageName)"),
        ({}, waiting("CreateContainerConfigError", "no secret"), [], 1, "starting", ""),
        (
            {},
            waiting("CreateContainerConfigError", "no secret"),
            [],
            200,
            "failed",
            "no secret (CreateContainerConfigError)",
        ),
        ({}, waiting("CreateContainerError", "busy"), [], 1, "starting", "busy (CreateContainerError)"),
        (
            {},
            None,
            [event("FailedCreate", "exceeded quota: gpus", 9)],
            1,
            "starting",
            "exceeded quota: gpus",
        ),
        (
            {},
            None,
            [event("FailedCreate", REFUSED, 3)],
            1,
            "failed",
            f"{REFUSED}; runAsUser: 1000 in the .compute file runs it without root",
        ),
        (documents(RESTRICTED)[1], None, [event("FailedCreate", REFUSED, 3)], 1, "failed", REFUSED),
        ({}, pod({"running": {"startedAt": "2026-11-30T10:00:00Z"}}, phase="Running"), [], 1, "running", ""),
        ({}, ended(0, "Completed"), [], 1, "ended", ""),
        ({}, ended(3, "Error"), [], 1, "ended", ""),
        ({}, ended(137, "OOMKilled"), [], 1, "ended", "it used more memory than memoryGb"),
        (
            {},
            ended(128, "StartError", "exec: python: not found"),
            [],
            1,
            "failed",
            "its container could not be started: exec: python: not found",
        ),
        (
            {},
            ended(143, "Error", conditions=[PREEMPTED]),
            [],
            1,
            "ended",
            f"the cluster has ended its Pod: {PREEMPTED['message']}",
        ),
        (
            {},
            pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
            [],
            1,
            "failed",
            "the cluster has ended its Pod: The node was low on resource: memory",
        ),
        (FAILED, None, [], 1, "ended", "its Pod is gone: somebody has deleted it, or its node"),
    ],
)
def test_what_the_objects_of_a_cluster_mean(
    job: dict[str, Any],
    found: dict[str, Any] | None,
    events: list[dict[str, Any]],
    age: float,
    phase: str,
    why: str,
) -> None:
    view = phase_of(job, found, events, age)
    assert (view.phase, view.why) == (phase, why)
    assert waits(found) is (found is None or not {"running", "terminated"} & {*_state(found)})


def _state(found: dict[str, Any]) -> dict[str, Any]:
    (container,) = found["status"].get("containerStatuses") or [{"state": {}}]
    return dict(container["state"])


def test_the_end_of_a_container() -> None:
    view = phase_of({}, ended(3, "Error", '{"phase": "ended"}'), [], 1)
    assert (view.exit_code, view.message) == (3, b'{"phase": "ended"}')
    assert view.began is not None
    assert view.ended == view.began + 60
    assert phase_of({}, ended(True, "Error"), [], 1).exit_code == 1
    assert phase_of({}, ended(1 << 20, "Error"), [], 1).exit_code == 255
    lost = pod({"running": {"startedAt": "?"}}, phase="Unknown")
    assert phase_of({}, lost, [], 1)[:3] == ("running", "", "its node does not answer")


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({"status": "Success"}, 0),
        (
            {
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
            },
            7,
        ),
    ],
)
def test_how_a_command_in_a_container_has_ended(ended: dict[str, Any], code: int) -> None:
    assert _code_of(json.dumps(ended).encode(), "where") == code


@pytest.mark.parametrize("ended", [b"", b"[]", b'{"status": "Failure", "reason": "InternalError"}'])
def test_a_command_whose_end_is_unknown(ended: bytes) -> None:
    with pytest.raises(UnreachableError):
        _code_of(ended, "where")


def test_refusals() -> None:
    denied = answer_error(403, {"message": "pods is\n forbidden.", "reason": "Forbidden"}, "team/experiments")
    assert isinstance(denied, ClusterAnswerError)
    assert denied.lines() == [
        "team/experiments: error: pods is forbidden",
        "  hint: ask for the rights that `amlexec computetarget check` lists as missing",
    ]
    for code in (429, 500, 503):
        assert isinstance(answer_error(code, None, ""), UnreachableError)
    assert isinstance(answer_error(409, [], ""), TargetError)


def test_without_the_extra() -> None:
    with pytest.raises(UsageError) as caught:
        module("kubernetes.absent")
    assert "pip install 'amlexec[kubernetes]'" in caught.value.hint

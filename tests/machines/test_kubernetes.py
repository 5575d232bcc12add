"""Attach, show, check and lint a target in a Kubernetes cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from amlexec.machines.check_kubernetes import RIGHTS

if TYPE_CHECKING:
    from tests.conftest import Done, ProjectFolder
    from tests.support.kubernetes_place import Fleet

NEEDED = {"--registry": "registry.example.org/team", "--claim": "runs", "--namespace": "experiments"}


def attach(project: ProjectFolder, *more: str, **changed: str | None) -> Done:
    options = {**NEEDED, **{f"--{name.replace('_', '-')}": value for name, value in changed.items()}}
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    return project.amlexec("computetarget", "attach", "kubernetes", "-n", "fleet", *words, *more)


def findings(project: ProjectFolder) -> dict[str, tuple[str, str]]:
    done = project.amlexec("computetarget", "check", "fleet", "-o", "json")
    assert "Traceback" not in done.err
    return {one["check"]: (one["status"], one["message"]) for one in json.loads(done.out)["checks"]}


def test_attach_writes_both_files(project: ProjectFolder) -> None:
    done = attach(
        project,
        "--no-check",
        "--cores",
        "2",
        "--gpu-resource",
        "nvidia.com/gpu",
        "--context",
        "team",
        "--run-as-user",
        "1000",
    )
    assert done.code == 0, done.err
    assert "aml_config/fleet.compute\n  aml_config/fleet.runconfig" in done.out
    assert (project.root / "aml_config/fleet.compute").read_text() == (
        "baseDockerImage: debian:bookworm-slim\nclaim: runs\ncontext: team\ncpuCores: 2.0\n"
        "gpuResource: nvidia.com/gpu\nnamespace: experiments\nregistry: registry.example.org/team\n"
        "runAsUser: 1000\ntype: kubernetes\n"
    )
    project.write("aml_config/conda_dependencies.yml", "dependencies:\n  - python\n")
    assert project.amlexec("lint").code == 0
    shown = json.loads(project.amlexec("computetarget", "show", "fleet", "-o", "json").out)
    assert (shown["claim"], shown["gpu"], shown["context"]) == ("runs", "1 x nvidia.com/gpu", "team")


@pytest.mark.parametrize(
    ("more", "changed", "said"),
    [
        ((), {"claim": None}, "needs --claim"),
        ((), {"namespace": "Team"}, "--namespace is 'Team', which is not valid"),
        ((), {"gpu_resource": "V100"}, "--gpu-resource is 'V100', which is not valid"),
        ((), {"registry": "registry.example.org/team:1"}, "is not a repository for images"),
        ((), {"region": "westeurope"}, "--region does not apply to a target of type kubernetes"),
        ((), {"cores": "0"}, "--cores is 0"),
        ((), {"run_as_user": "0"}, "--run-as-user is 0"),
        (("-a", "box"), {}, "-a does not apply"),
        (("-u", "ada", "-w", "x"), {}, "a cluster has a login of its own"),
    ],
)
def test_options_that_do_not_fit(
    project: ProjectFolder, more: tuple[str, ...], changed: dict[str, str | None], said: str
) -> None:
    done = attach(project, "--no-check", *more, **changed)
    assert (done.code, said in done.err) == (3, True), done.err
    assert not (project.root / "aml_config/fleet.compute").exists()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("registry: example.org/team\n", "claim"),
        ("claim: runs\n", "registry"),
        ("claim: Runs\nregistry: example.org/team\n", "claim is 'Runs'"),
        ("claim: runs\nregistry: example.org/team\nnodeSelector: ssd\n", "nodeSelector"),
        ("claim: runs\nregistry: example.org/team\ntolerations:\n  - effect: Never\n", "Never"),
        ("claim: runs\nregistry: example.org/team\ntolerations:\n  - kee: x\n", "kee"),
        ("claim: runs\nregistry: example.org/team\nrunAsUser: 0\n", "runAsUser"),
        ("claim: runs\nregistry: example.org/team\nrunAsUser: ada\n", "runAsUser"),
    ],
)
def test_files_with_errors(project: ProjectFolder, lines: str, said: str) -> None:
    project.write("aml_config/fleet.compute", f"type: kubernetes\n{lines}")
    done = project.amlexec("lint", "aml_config/fleet.compute")
    assert (done.code, said in done.err + done.out) == (3, True), done.err + done.out


def test_a_complete_file(project: ProjectFolder) -> None:
    project.write(
        "aml_config/fleet.compute",
        "type: kubernetes\nclaim: runs\nregistry: example.org/team\nnodeSelector:\n  disktype: ssd\n"
        "  on: yes\ntolerations:\n  - {key: gpu, operator: Exists, tolerationSeconds: 60}\n"
        "serviceAccount: trainer\nrunAsUser: 1000\n",
    )
    done = project.amlexec("lint", "aml_config/fleet.compute")
    assert done.code == 0, done.err + done.out
    shown = json.loads(project.amlexec("computetarget", "show", "fleet", "-o", "json").out)
    assert (shown["nodeSelector"], shown["tolerations"]) == ("disktype=ssd, on=yes", 1)
    assert shown["runAsUser"] == 1000


def test_check(project: ProjectFolder, fleet: Fleet) -> None:
    cluster = fleet.cluster
    done = attach(project, registry=fleet.registry)
    assert done.code == 0, done.err
    assert "Fix these first" not in done.err
    found = findings(project)
    assert {name: status for name, (status, _) in found.items()} == dict.fromkeys(
        ["Docker", "login", "rights", "claim", "registry"], "ok"
    )
    assert found["login"][1] == "Kubernetes/experiments: Kubernetes v1.37.0"
    assert found["claim"][1] == "runs, ReadWriteMany, 1Gi"
    assert [name for name, _ in cluster.log if name.startswith(("create", "delete"))] == []
    cluster.denied |= {"create jobs", "get pods/exec", "list events"}
    assert findings(project)["rights"] == ("failed", "the login may not: create jobs, list events")
    cluster.denied = {"list events"}
    assert findings(project)["rights"] == ("warning", "the login may not: list events")
    cluster.claim("runs", mode="ReadWriteOnce")
    try:
        assert findings(project)["claim"] == (
            "warning",
            "runs is ReadWriteOnce: all its Pods have to be on one node",
        )
    finally:
        cluster.claim("runs")


def test_check_of_what_is_missing(
    project: ProjectFolder, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = attach(project, registry="127.0.0.1:1/team", claim="absent")
    assert done.code == 0, done.err
    assert "Fix these first" in done.err
    found = findings(project)
    assert found["claim"] == ("failed", "there is no PersistentVolumeClaim absent in experiments")
    assert found["registry"][0] == "failed"
    monkeypatch.setenv("KUBECONFIG", str(fleet.configure(tmp_path / "away", "https://127.0.0.1:1")))
    found = findings(project)
    assert found["login"] == ("failed", "connection refused")
    assert "claim" not in found


def test_the_role_of_the_how_to_has_the_rights_that_are_checked() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/use-a-kubernetes-cluster.md").read_text("utf-8")
    text = page.partition("```yaml\napiVersion: rbac")[2].partition("```")[0]
    (role, *_) = yaml.safe_load_all(f"apiVersion: rbac{text}")
    given = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == set(RIGHTS)

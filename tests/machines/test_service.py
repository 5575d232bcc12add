"""Attach, show, check and detach a target in a cloud service."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from amlexec.azure import prices
from amlexec.errors import TargetError
from tests.engines.azure_manager import SUBSCRIPTION

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Done, ProjectFolder
    from tests.support.service_place import Service

NEEDED = {
    "--subscription": SUBSCRIPTION,
    "--resource-group": "experiments",
    "--region": "westeurope",
    "--registry": "registry.example.org/team",
    "--storage-account": "teamexperiments",
}


_ROW = {"skuName": "Standard", "meterName": "Standard vCPU Duration", "unitOfMeasure": "1 Hour"}
PRICES_THAT_SAY_NOTHING = (
    ((503, {}), "Azure says to come back later: 503"),
    ((200, ["x"]), "the list of prices can't be read"),
    ((200, {"Items": []}), "the list has no price of 'Standard vCPU Duration' in westeurope"),
    ((200, {"Items": [_ROW | {"retailPrice": True}, 1]}), "the list has no price of 'Standard vCPU"),
    ((200, {"Items": [_ROW | {"retailPrice": -1}]}), "the list has no price of 'Standard vCPU"),
    ((200, {"Items": [_ROW | {"retailPrice": 1, "unitOfMeasure": "1 Day"}]}), "the list has no price of"),
)


def attach(project: ProjectFolder, *more: str, stdin: str = "", **changed: str | None) -> Done:
    options = {**NEEDED, **{f"--{name.replace('_', '-')}": value for name, value in changed.items()}}
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    return project.amlexec("computetarget", "attach", "containerinstance", "-n", "cloud", *words, *more)


def findings(project: ProjectFolder) -> dict[str, tuple[str, str]]:
    done = project.amlexec("computetarget", "check", "cloud", "-o", "json")
    assert "Traceback" not in done.err
    return {one["check"]: (one["status"], one["message"]) for one in json.loads(done.out)["checks"]}


def test_attach_writes_both_files(project: ProjectFolder) -> None:
    done = attach(project, "--no-check", "--cores", "2", "--memory-gb", "8.5")
    assert done.code == 0, done.err
    assert "aml_config/cloud.compute\n  aml_config/cloud.runconfig" in done.out
    assert (project.root / "aml_config/cloud.compute").read_text() == (
        "baseDockerImage: debian:bookworm-slim\ncpuCores: 2.0\nmemoryGb: 8.5\nregion: westeurope\n"
        "registry: registry.example.org/team\nresourceGroup: experiments\nstorageAccount: teamexperiments\n"
        f"subscriptionId: {SUBSCRIPTION}\ntype: containerinstance\n"
    )
    project.write("aml_config/conda_dependencies.yml", "dependencies:\n  - python\n")
    assert project.amlexec("lint").code == 0
    shown = project.amlexec("computetarget", "show", "cloud")
    assert "that of `docker login`" in shown.out
    again = attach(project, "--no-check")
    assert (again.code, "is taken" in again.err) == (3, True)


def test_a_password_of_the_registry_goes_to_the_key_store(project: ProjectFolder) -> None:
    done = attach(project, "--no-check", "-u", "ada", "-w", "hunter2-of-the-registry")
    assert done.code == 0, done.err
    text = (project.root / "aml_config/cloud.compute").read_text()
    assert "hunter2" not in text
    assert "password: amlexec:" in text
    assert "username: ada" in text
    assert "ada, with a password" in project.amlexec("computetarget", "show", "cloud").out
    gone = project.amlexec("computetarget", "detach", "cloud")
    assert (gone.code, "removed its secret from the key store" in gone.out) == (0, True), gone.err


@pytest.mark.parametrize(
    ("more", "changed", "said"),
    [
        ((), {"region": None}, "needs --region"),
        ((), {"storage_account": "https://example.org"}, "not the name of a storage account"),
        ((), {"resource_manager": "https://example.org"}, "no address of Azure's"),
        ((), {"registry": "registry.example.org/team:1"}, "is not a repository for images"),
        ((), {"cores": "0"}, "--cores is 0"),
        (("-a", "box"), {}, "-a does not apply"),
        (("-u", "ada"), {}, "needs a user and a password"),
        (("-k",), {}, "-k does not apply"),
    ],
)
def test_options_that_do_not_fit(
    project: ProjectFolder, more: tuple[str, ...], changed: dict[str, str | None], said: str
) -> None:
    done = attach(project, "--no-check", *more, **changed)
    assert (done.code, said in done.err) == (3, True), done.err
    assert not (project.root / "aml_config/cloud.compute").exists()


def test_options_of_a_service_for_a_machine(project: ProjectFolder) -> None:
    words = ("computetarget", "attach", "remote", "-n", "box", "-a", "box", "-u", "ada", "--no-check")
    done = project.amlexec(*words, "--region", "westeurope")
    assert (done.code, "--region does not apply to a target of type remote" in done.err) == (3, True)
    done = project.amlexec("computetarget", "attach", "remote", "-n", "box", "--no-check")
    assert (done.code, "needs -a ADDRESS and -u USER" in done.err) == (3, True), done.err


def test_keys_that_are_missing(project: ProjectFolder) -> None:
    project.write("aml_config/cloud.compute", "type: containerinstance\nregion: westeurope\n")
    done = project.amlexec("lint", "aml_config/cloud.compute")
    assert done.code == 3
    for key in ("subscriptionId", "resourceGroup", "registry", "storageAccount"):
        assert key in done.err + done.out


def test_check(project: ProjectFolder, service: Service) -> None:
    manager = service.manager
    created = manager.created
    done = attach(
        project,
        registry=service.registry,
        storage_account=service.storage,
        resource_manager=manager.address,
    )
    assert done.code == 0, done.err
    assert "Fix these first" not in done.err
    found = findings(project)
    assert {name: status for name, (status, _) in found.items()} == dict.fromkeys(
        ["Docker", "login", "resource group", "region", "quota", "storage", "registry", "price"], "ok"
    )
    assert found["quota"][1] == "Container Groups: 0 of 100; Standard Cores: 10 of 100"
    usual = "by the second: {} USD an hour in Azure's list, without discounts"
    assert found["price"][1] == f"1 core and 4 GB, {usual.format('0.0583')}"
    assert manager.created == created, "a check creates nothing"

    manager.cores = (100, 100)
    assert findings(project)["quota"] == ("warning", "Standard Cores: 100 of 100 are in use")
    text = (project.root / "aml_config/cloud.compute").read_text()

    def with_lines(*lines: str, **replaced: str) -> dict[str, tuple[str, str]]:
        new = text
        for old, value in replaced.items():
            new = new.replace(f"{old}: westeurope", f"{old}: {value}")
        project.write("aml_config/cloud.compute", "\n".join([new, *lines]))
        return findings(project)

    assert with_lines("gpu: V100")["region"] == ("failed", "westeurope has no 1 x V100; its GPUs: none")
    manager.gpus = ["K80"]
    found = with_lines("gpu: V100", "gpuCount: 2")
    assert found["region"] == ("failed", "westeurope has no 2 x V100; its GPUs: 4 x K80")
    found = with_lines("gpu: K80", "gpuCount: 2")
    assert found["region"] == ("ok", "westeurope")
    assert found["price"][1] == f"1 core and 4 GB with 2 x K80, {usual.format('0.9436')}"
    for answer, why in PRICES_THAT_SAY_NOTHING:
        manager.prices = answer
        with pytest.raises(TargetError, match=why):
            prices.per_hour(manager.address, "westeurope", prices.Size(1, 4))
    status, said = with_lines()["price"]
    assert (status, "by the second; not known (the list has no price of" in said) == ("ok", True)
    found = with_lines("cpuCores: 8")
    assert found["region"] == ("failed", "a container in westeurope has at most 4 cores and 16 GB")
    status, message = with_lines(region="nowhere")["region"]
    assert status == "failed"
    assert "is not available" in message


def test_check_without_a_login(
    project: ProjectFolder, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    attach(project, "--no-check", registry=service.registry, storage_account=service.storage)
    found = findings(project)
    assert found["login"][0] == "failed"
    assert "there is no login for Azure" in found["login"][1]
    assert "region" not in found


def test_lint_knows_the_addresses_of_azure(project: ProjectFolder) -> None:
    attach(project, "--no-check")
    project.write("aml_config/conda_dependencies.yml", "dependencies:\n  - python\n")
    text = (project.root / "aml_config/cloud.compute").read_text()
    text = text.replace("teamexperiments", "https://example.org")
    project.write("aml_config/cloud.compute", f"{text}resourceManager: https://example.org\n")
    done = project.amlexec("lint")
    assert done.code == 3
    assert "cloud.compute:5:17: error: storageAccount is 'https://example.org', which is not" in done.out
    assert "cloud.compute:8:18: error: resourceManager is 'https://example.org', which is no" in done.out


def test_the_extra_is_not_installed(project: ProjectFolder) -> None:
    attach(project, "--no-check")
    project.write("azure.py", "raise ImportError('no', name='azure')\n")
    done = project.call(
        *(sys.executable, "-m", "amlexec", "computetarget", "check", "cloud"),
        env={**os.environ, "PYTHONPATH": str(project.root)},
    )
    assert done.code == 3, done.err
    assert "need Azure's SDK, and azure is missing" in done.err
    assert "pip install 'amlexec[azure]'" in done.err

"""What container groups are called, where they are, and what their states mean: values only."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from amlexec.azure.clouds import PUBLIC, blob_endpoint, manager_address, prices_address, scope_of
from amlexec.azure.groups import Event, GroupView
from amlexec.azure.phase import PROVISIONING_TIMEOUT_S, phase_of
from amlexec.azure.request import GroupRequest, RegistryLogin, body
from amlexec.errors import ConfigurationError
from amlexec.owner import plain, resource_name
from tests.engines import azure_facts

PUT = next(one for one in azure_facts.OPERATIONS if one.method == "PUT")
QUERY = {"api-version": [azure_facts.API_VERSION]}


@pytest.mark.parametrize(
    "run_id", ["demo_1", "Demo Project_2", "ü_3", "-x_4", "new\nline_5", "a" * 300 + "_6"]
)
def test_names_are_valid_readable_and_unique(run_id: str) -> None:
    name = resource_name(run_id, "owner")
    path = f"/subscriptions/{'0' * 36}/resourceGroups/r/providers/Microsoft.ContainerInstance"
    assert azure_facts.find("GET", f"{path}/containerGroups/{name}") is not None
    assert 3 <= len(name) <= 63
    assert "--" not in name, "names of storage containers have single hyphens"
    assert name != resource_name(run_id, "another")
    assert resource_name("demo_1796", "x").startswith("amlexec-demo-1796-")


def test_tags_take_every_name() -> None:
    assert plain("new\nline ü_1-a.b") == "new-line-_1-a.b"
    assert len(plain("a" * 300)) == 100


def test_the_list_of_prices_of_a_cloud() -> None:
    assert prices_address(PUBLIC) == "https://prices.azure.com"
    assert prices_address("https://127.0.0.1:7") == "https://127.0.0.1:7", "the tests' own"
    assert prices_address("https://management.chinacloudapi.cn") == ""


@pytest.mark.parametrize("text", ["", PUBLIC, f"{PUBLIC}/", "https://management.usgovcloudapi.net"])
def test_addresses_of_clouds(text: str) -> None:
    assert manager_address(text) == (text.rstrip("/") or PUBLIC)
    assert scope_of(manager_address(text)).endswith("/.default")


@pytest.mark.parametrize(
    "text",
    [
        "https://management.azure.com.example.org",
        "https://example.org",
        "http://management.azure.com",
        "https://user@management.azure.com",
        "https://example.org/?management.azure.com",
        "management.azure.com",
        "https://[",
    ],
)
def test_no_token_is_sent_to_others(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no address of Azure"):
        manager_address(text)
    with pytest.raises(ConfigurationError, match="not the name of a storage account"):
        blob_endpoint(text, PUBLIC)


def test_addresses_of_storage() -> None:
    assert blob_endpoint("team", PUBLIC) == "https://team.blob.core.windows.net"
    china = manager_address("https://management.chinacloudapi.cn")
    assert blob_endpoint("team", china) == "https://team.blob.core.chinacloudapi.cn"
    assert (
        blob_endpoint("https://team.blob.core.windows.net/", PUBLIC) == "https://team.blob.core.windows.net"
    )
    for wrong in ("Team", "a", "https://blob.core.windows.net.example.org", "team.blob.core.windows.net"):
        with pytest.raises(ConfigurationError):
            blob_endpoint(wrong, PUBLIC)


FAILED_MOUNT = Event("FailedMount", "Failed to mount\nAzure File Volume.")
PULLED = Event("Pulled", "Successfully pulled image")


@pytest.mark.parametrize(
    ("view", "age", "phase", "why"),
    [
        (GroupView("Creating"), 0, "starting", ""),
        (GroupView("Pending", events=(PULLED,)), 0, "starting", ""),
        (GroupView("Succeeded", "Waiting"), 0, "starting", ""),
        (GroupView("Succeeded", "Running", began=1.0), 0, "running", ""),
        (GroupView("Succeeded", "Terminated", exit_code=3, detail="Error"), 0, "ended", ""),
        (
            GroupView("Succeeded", "Terminated", exit_code=137, detail="OOMKilled"),
            0,
            "ended",
            "it used more memory than memoryGb",
        ),
        # Events are judged by their names: their type is Normal.
        (
            GroupView("Failed", events=(PULLED, FAILED_MOUNT)),
            0,
            "failed",
            "Failed to mount Azure File Volume (FailedMount)",
        ),
        (GroupView("Failed"), 0, "failed", "Azure could not start the container group, and does not say why"),
        # A creation that failed may run all the same.
        (GroupView("Failed", "Running"), 0, "running", ""),
        (GroupView("Unhealthy"), 0, "starting", ""),
        (GroupView("Repairing", "Waiting"), 0, "starting", ""),
        (
            GroupView("Unhealthy"),
            PROVISIONING_TIMEOUT_S + 60,
            "failed",
            "it has not begun in 46 min: the group is Unhealthy",
        ),
        (GroupView("Unhealthy", "Running"), PROVISIONING_TIMEOUT_S + 60, "running", ""),
        (GroupView("SomethingNew"), 0, "starting", ""),
        (GroupView(""), 1e9, "failed", "it has not begun in 16666667 min: the group is in an unknown state"),
    ],
)
def test_states_of_groups(view: GroupView, age: float, phase: str, why: str) -> None:
    found = phase_of(view, age)
    assert (found.name, found.why) == (phase, why)
    assert bool(found.warning) is (
        view.provisioning in {"Unhealthy", "Repairing"} and phase in {"starting", "running"}
    )


REQUEST = GroupRequest(
    "westeurope",
    "registry.example.org/team@sha256:0",
    ("python", "-c", "pass"),
    2,
    8,
    variables=(("AMLEXEC_STORAGE", "https://secret"),),
    gpu="V100",
    gpu_count=2,
    tags=(("amlexec-run", "demo_1"),),
)
LOGINS = [
    None,
    RegistryLogin("registry.example.org", "ada", "hunter2"),
    RegistryLogin("team.azurecr.io", identity="/subscriptions/x/userAssignedIdentities/puller"),
]


def sent(request: GroupRequest) -> dict[str, Any]:
    """The group as the SDK serialises it."""
    found: dict[str, Any] = body(request).serialize()
    return found


@pytest.mark.parametrize("login", LOGINS)
def test_what_is_asked_for_is_as_described(login: RegistryLogin | None) -> None:
    group = sent(REQUEST._replace(registry=login, subnet="/subscriptions/x/subnets/runs"))
    assert azure_facts.check(PUT, QUERY, group) == []
    properties = group["properties"]
    # Azure's default would run the script again and again.
    assert properties["restartPolicy"] == "Never"
    assert properties["subnetIds"] == [{"id": "/subscriptions/x/subnets/runs"}]
    assert "networkProfile" not in properties
    (container,) = properties["containers"]
    assert container["properties"]["environmentVariables"] == [
        {"name": "AMLEXEC_STORAGE", "secureValue": "https://secret"}
    ]
    assert container["properties"]["resources"]["requests"] == {
        "cpu": 2.0,
        "memoryInGB": 8.0,
        "gpu": {"count": 2, "sku": "V100"},
    }
    if login is None:
        assert "imageRegistryCredentials" not in properties
    elif login.identity:
        assert properties["imageRegistryCredentials"] == [
            {"server": login.server, "identity": login.identity}
        ]
        assert group["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {login.identity: {}}}
    else:
        assert properties["imageRegistryCredentials"] == [
            {"server": login.server, "username": "ada", "password": "hunter2"}
        ]


def test_the_facts_find_what_is_wrong() -> None:
    good = sent(REQUEST)

    def wrong(change: Any) -> list[str]:
        group = copy.deepcopy(good)
        change(group)
        return azure_facts.check(PUT, QUERY, group)

    first = ["properties", "containers", 0]

    def at(group: Any, *path: Any) -> Any:
        for key in path:
            group = group[key]
        return group

    assert wrong(lambda g: g["properties"].pop("osType")) == ["body.properties.osType is missing"]
    assert wrong(lambda g: at(g, *first, "properties").pop("resources")) == [
        "body.properties.containers[0].properties.resources is missing"
    ]
    assert wrong(lambda g: g["properties"].update(restartPolicy="never")) == [
        "body.properties.restartPolicy is 'never'"
    ]
    assert wrong(lambda g: g["properties"].update(provisioningState="Succeeded")) == [
        "body.properties.provisioningState is read-only"
    ]
    assert wrong(lambda g: g["properties"].update(networkProfile={})) == [
        "body.properties.networkProfile is unknown"
    ]
    scheme = [{"server": "https://registry.example.org"}]
    assert wrong(lambda g: g["properties"].update(imageRegistryCredentials=scheme)) == [
        "body.properties.imageRegistryCredentials[0].server is 'https://registry.example.org'"
    ]
    assert azure_facts.check(PUT, {"api-version": ["2018-10-01"]}, good) == ["api-version is ['2018-10-01']"]
    assert azure_facts.check(PUT, {**QUERY, "x": ["1"]}, good) == ["query parameter x is unknown"]

"""The manifests of a service for Kubernetes: held to its published description, and given to kubectl."""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from amlexec.docker import containers, images
from amlexec.errors import UsageError
from amlexec.services.containers import KEYS
from amlexec.services.image import PORT, USER
from amlexec.services.manifest import EXPOSURES, Manifest, as_yaml, documents
from tests.engines import kubernetes as described
from tests.engines import kubernetes_api, kubernetes_pods
from tests.serving.test_services import serving  # noqa: F401 - a fixture, asked for by name
from tests.support.places import LABEL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ProjectFolder
    from tests.serving.test_services import Serving

IMAGE = f"registry.example.org/team/prices@sha256:{'a' * 64}"
PLAIN = Manifest("prices", IMAGE)
FULL = Manifest(
    "prices",
    IMAGE,
    namespace="team",
    replicas=3,
    memory=3 << 29,
    cpus=1.5,
    gpus=2,
    expose="LoadBalancer",
    port=8443,
    key_secret="keys.of.prices",
    certificate_secret="prices-tls",
    pull_secret="registry-login",
    node_selector={"node.kubernetes.io/instance-type": "g5.xlarge"},
)
OPEN = PLAIN._replace(insecure=True, expose="NodePort")


def pod(wanted: Manifest) -> Any:
    """The Pods' specification, with its one container."""
    found = documents(wanted)[1]["spec"]["template"]["spec"]
    assert len(found["containers"]) == 1
    return found


@pytest.mark.parametrize("version", described.VERSIONS)
@pytest.mark.parametrize("wanted", [PLAIN, FULL, OPEN], ids=["plain", "full", "open"])
def test_the_published_description_accepts_them(kubernetes: None, wanted: Manifest, version: str) -> None:
    for document in yaml.safe_load_all(as_yaml(documents(wanted))):
        assert described.problems(document, version) == []


def test_the_check_finds_what_is_wrong(kubernetes: None) -> None:
    (_, deployment) = documents(FULL)
    deployment["spec"]["template"]["spec"]["containers"][0]["image_"] = "x"
    deployment["spec"]["replicas"] = "three"
    found = "\n".join(described.problems(deployment, "1.37"))
    assert "image_" in found
    assert "three" in found


@pytest.mark.parametrize("wanted", [PLAIN, FULL, OPEN], ids=["plain", "full", "open"])
def test_kubectl_accepts_them(kubernetes: None, wanted: Manifest) -> None:
    with kubernetes_api.serve() as (address, changes):
        # With validation, this kubectl asks for the description in a form that the stand-in does not have.
        words = ["apply", "--dry-run=client", "--validate=false", "-f", "-"]
        done = described.call(address, *words, given=as_yaml(documents(wanted)))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "service/prices created (dry run)",
        "deployment.apps/prices created (dry run)",
    ]
    assert changes == []


def test_kubectl_makes_the_secret_as_it_is_told(kubernetes: None) -> None:
    words = ["create", "secret", "generic", "prices-key", "--from-file=key=/dev/stdin"]
    with kubernetes_api.serve() as (address, _):
        done = described.call(address, *words, "--dry-run=client", "-o", "json", given="abc\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"] == {"key": "YWJjCg=="}


def test_the_key_is_a_file_that_only_the_server_reads() -> None:
    found = pod(FULL)
    (container,) = found["containers"]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert variables == {
        "AMLEXEC_SERVICE_KEY_FILE": f"{KEYS}/key",
        "AMLEXEC_SERVICE_CERTIFICATE": f"{KEYS}-tls/certificate.pem",
    }
    secrets = {each["name"]: each["secret"] for each in found["volumes"]}
    assert secrets["key"] == {"secretName": "keys.of.prices", "defaultMode": 0o440}
    assert secrets["certificate"] == {"secretName": "prices-tls", "defaultMode": 0o440}
    security = found["securityContext"]
    assert (security["fsGroup"], security["runAsUser"], security["runAsNonRoot"]) == (USER, USER, True)
    assert found["automountServiceAccountToken"] is False
    # A Service called `amlexec-service` would set AMLEXEC_SERVICE_PORT.
    assert found["enableServiceLinks"] is False


def test_an_open_service_has_no_key() -> None:
    (container,) = pod(OPEN)["containers"]
    assert container["env"] == [{"name": "AMLEXEC_SERVICE_INSECURE", "value": "1"}]
    assert "volumes" not in pod(OPEN)


def test_an_update_fails_no_request() -> None:
    service, deployment = documents(FULL)
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    found = pod(FULL)
    (container,) = found["containers"]
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "https", "scheme": "HTTPS"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    # It answers what still comes while the cluster takes it out, and then what it has begun.
    assert "time.sleep(5)" in container["lifecycle"]["preStop"]["exec"]["command"][-1]
    assert found["terminationGracePeriodSeconds"] > 5 + 30
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert container["ports"][0]["name"] == service["spec"]["ports"][0]["targetPort"]
    assert container["ports"][0]["containerPort"] == PORT


def test_limits() -> None:
    (container,) = pod(FULL)["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "1500m", "memory": "1536Mi"},
        "limits": {"cpu": "1500m", "memory": "1536Mi", "nvidia.com/gpu": "2"},
    }
    (plain,) = pod(PLAIN)["containers"]
    assert "resources" not in plain


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "1prices"}, "'1prices' is not a name for a Kubernetes Service"),
        ({"name": "my_prices"}, "'my_prices' is not a name"),
        ({"name": "p" * 64}, "is not a name"),
        ({"name": "prices\n"}, "is not a name"),
        ({"image": "prices"}, "prices is an image of this engine"),
        ({"image": "amlexec-service/prices:latest"}, "is an image of this engine"),
        ({"image": "Registry/prices: latest"}, "is not the name of an image in a registry"),
        ({"namespace": "Team"}, "'Team' is not a namespace"),
        ({"key_secret": "a/b"}, "'a/b' is not a name of a Secret"),
        ({"node_selector": {"a b": "c"}}, "a b=c is not a label of a node"),
        ({"port": 65536}, "65536 is not a port"),
        ({"cpus": -1.0}, "-1 is not a number of processors"),
        ({"cpus": float("nan")}, "nan is not a number of processors"),
        ({"gpus": -1}, "-1 is not a number of GPUs"),
        ({"insecure": True, "key_secret": "keys"}, "a service without a key has no Secret for it"),
    ],
)
def test_what_the_api_server_would_refuse(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        documents(PLAIN._replace(**changed))
    assert message in caught.value.message


def test_the_command(project: ProjectFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # it needs no project
    words = ["service", "manifest", "prices", "--image", IMAGE, "--memory", "512m", "--replicas", "2"]
    done = project.amlexec(*words)
    assert done.code == 0, done.err
    service, deployment = yaml.safe_load_all(done.out)
    assert (service["kind"], deployment["spec"]["replicas"]) == ("Service", 2)
    assert "it needs the Secret prices-key" in done.err
    assert "warning" not in done.err
    listed = json.loads(project.amlexec(*words, "-o", "json").out)
    assert [each["kind"] for each in listed["items"]] == ["Service", "Deployment"]
    assert listed["items"][1] == deployment
    tagged = project.amlexec("service", "manifest", "prices", "--image", "example.org/prices:1", "--insecure")
    assert "does not notice another image under the same tag" in tagged.err
    assert "without --memory, a replica can use all memory of its node" in tagged.err
    assert "Secret" not in tagged.err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--replicas", "0"], "0 is not a number of replicas from 1 to 100"),
        (["--memory", "much"], "'much' is not a size such as 512m or 2g"),
        (["--node-selector", "ssd"], "'ssd' is not a label of a node"),
        (["--expose", "Ingress"], "unknown expose 'Ingress'"),
        (["--cpus", "many"], "many"),
    ],
)
def test_bad_options(project: ProjectFolder, more: list[str], message: str) -> None:
    done = project.amlexec("service", "manifest", "prices", "--image", IMAGE, *more)
    assert (done.code, done.out) == (3, "")
    assert message in done.err


def test_the_options_of_the_command_are_those_of_the_manifest() -> None:
    from amlexec.commands import service_manifest

    assert service_manifest._EXPOSURES == EXPOSURES


def test_its_pod_serves(serving: Serving, registry: str, tmp_path: Path) -> None:  # noqa: F811
    serving.register(3)
    assert serving.image().code == 0
    pushed = serving.amlexec("image", "push", serving.unique, f"{registry}/team/pods").out.strip()
    done = serving.amlexec("service", "manifest", serving.unique, "--image", pushed, "--memory", "512m")
    assert done.code == 0, done.err
    found = list(yaml.safe_load_all(done.out))[1]["spec"]["template"]["spec"]
    assert found["containers"][0]["image"] == pushed
    folder = tmp_path / "key"
    folder.mkdir(mode=0o755)
    (folder / "key").write_text("of-the-pod\n")
    (folder / "key").chmod(0o444)  # for want of fsGroup, which Docker does not have
    engine = serving.shop.engine
    container = kubernetes_pods.create(engine, found, {"key": str(folder)}, {LABEL: serving.shop.session})
    try:
        containers.start(engine, container)
        with containers.logs(engine, container, follow=True) as output:
            for frame in output:
                if b" ready after " in frame.data:
                    break
        told = containers.inspect(engine, container)
        assert told is not None
        address = told["NetworkSettings"]["IPAddress"] or next(
            each["IPAddress"] for each in told["NetworkSettings"]["Networks"].values()
        )
        for probe in ("startupProbe", "livenessProbe"):
            assert asked(address, found["containers"][0][probe]["httpGet"]["path"])[0] == 200
        assert asked(address, "/score", b'{"x": 2}')[0] == 401
        status, body = asked(address, "/score", b'{"x": 2}', "of-the-pod")
        assert (status, json.loads(body)["y"]) == (200, 6.0)
        code = containers.execute(
            engine, container, found["containers"][0]["lifecycle"]["preStop"]["exec"]["command"], bytes
        )
        assert code == 0
        assert containers.stop(engine, container, found["terminationGracePeriodSeconds"])
        ended = containers.inspect(engine, container)
        assert ended is not None
        assert ended["State"]["ExitCode"] == 0
    finally:
        containers.remove(engine, container, force=True)
        images.remove(engine, pushed)


def asked(address: str, path: str, body: bytes | None = None, key: str = "") -> tuple[int, bytes]:
    """The status and the body of an answer."""
    connection = http.client.HTTPConnection(address, PORT, timeout=120)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

"""Images and services on a Docker engine: made, updated, broken and repaired."""

from __future__ import annotations

import json
import pickle
import ssl
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from amlexec.docker import containers, images
from tests.conftest import eventually
from tests.support.places import DockerProject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Done
    from tests.support.places import Shop

SCRIPT = """
import os, pickle
import rules

def init():
    global factor
    with open(os.path.join(os.environ["AZUREML_MODEL_DIR"], "model.pkl"), "rb") as file:
        factor = pickle.load(file)

def run(x: float, shift: float = 0) -> dict:
    return {"y": rules.scored(factor, x) + shift, "pid": os.uname().nodename}
"""


class Serving(DockerProject):
    """A project with models and a scoring script, whose services and images are removed in the end."""

    def __init__(self, root: Path, shop: Shop) -> None:
        super().__init__(root, shop)
        self.write("score.py", SCRIPT)
        self.write("rules.py", "def scored(factor, x):\n    return factor * x\n")
        self.unique = f"t{time.time_ns() % 10**10}"

    def register(self, factor: object) -> None:
        """Register another version of the model `iris`."""
        self.write("model.pkl", pickle.dumps(factor))
        done = self.amlexec("model", "register", "-n", "iris", "model.pkl")
        assert done.code == 0, done.err

    def image(self, *more: str, model: str = "iris", script: str = "score.py") -> Done:
        """`image create`."""
        return self.amlexec("image", "create", "-n", self.unique, "--model", model, "-f", script, *more)

    def service(self, verb: str, *more: str) -> Done:
        """`service VERB NAME`."""
        name = ["-n", self.unique] if verb == "create" else [self.unique]
        return self.amlexec("service", verb, *name, *more)

    def score(self, x: float) -> Any:
        """The answer of the service."""
        done = self.service("run", "-d", json.dumps({"x": x}))
        assert done.code == 0, done.err
        return json.loads(done.out)["y"]

    def replicas(self, **labels: str) -> list[dict[str, Any]]:
        """The containers of its replicas."""
        return self.shop.containers(
            **{"amlexec.service": self.unique, "amlexec.service.role": "replica", **labels}
        )

    def close(self) -> None:
        """Remove what there is."""
        self.service("delete")


@pytest.fixture
def serving(
    shop: Shop, server_wheels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Serving]:
    monkeypatch.setenv("PIP_FIND_LINKS", server_wheels)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = Serving(tmp_path / "demo", shop)
    try:
        yield found
    finally:
        found.close()


def test_an_image_works_by_itself(serving: Serving, registry: str) -> None:
    serving.register(3)
    done = serving.image("--sample", '{"x": 1}')
    assert done.code == 0, done.err
    name = done.out.strip()
    assert name.startswith(f"amlexec-service/{serving.unique}:")
    again = serving.image("--sample", '{"x": 1}')
    assert (again.code, again.out.strip()) == (0, name)
    assert "nothing to do" in again.err
    engine = serving.shop.engine
    found = images.inspect(engine, name)
    assert found is not None
    below = images.inspect(engine, f"amlexec:{found['Config']['Labels']['amlexec.service.environment'][:20]}")
    assert below is not None
    # Nothing was solved or installed: one layer has the server, the models and the script.
    assert found["RootFS"]["Layers"][: len(below["RootFS"]["Layers"])] == below["RootFS"]["Layers"]
    assert len(found["RootFS"]["Layers"]) == len(below["RootFS"]["Layers"]) + 1
    settings = {"Image": name, "Env": ["AMLEXEC_SERVICE_KEY=k"]}
    container = containers.create(engine, settings)
    try:
        containers.start(engine, container)
        with containers.logs(engine, container, follow=True) as output:
            for frame in output:
                if b" ready after " in frame.data:
                    break
        answer: list[bytes] = []
        python = ["/opt/amlexec/env/bin/python", "/opt/amlexec/server/serve.py", "--ask", "/score"]
        code = containers.execute(
            engine, container, [*python, "application/json"], answer.append, given=b'{"x": 2}'
        )
        assert (code, b"".join(answer).startswith(b'200\n{"y": 6.0')) == (0, True)
        assert containers.stop(engine, container, 30)
        told = containers.inspect(engine, container)
        assert told is not None
        assert told["State"]["ExitCode"] == 0
    finally:
        containers.remove(engine, container, force=True)
    pushed = serving.amlexec("image", "push", serving.unique, f"{registry}/team/served")
    assert pushed.code == 0, pushed.err
    assert pushed.out.startswith(f"{registry}/team/served@sha256:")
    listed = json.loads(serving.amlexec("image", "list", "-o", "json").out)
    assert {row["image"]: row["models"] for row in listed}[name] == "iris:1"
    images.remove(engine, name, force=True)
    images.remove(engine, f"amlexec-service/{serving.unique}:latest", force=True)
    second = serving.image("--sample", '{"x": 1}')
    made = images.inspect(engine, second.out.strip())
    assert made is not None
    assert (second.out.strip(), made["RootFS"]["Layers"]) == (name, found["RootFS"]["Layers"])


def test_the_life_of_a_service(serving: Serving) -> None:
    serving.register(3)
    done = serving.service("create", "--model", "iris", "-f", "score.py", "--sample", '{"x": 1}')
    assert done.code == 0, done.err
    address = done.out.strip()
    assert serving.score(2) == 6.0
    key = serving.service("show", "--key").out.strip()
    assert len(key) == 32
    request = urllib.request.Request(
        f"{address}/score",
        b'{"x": 1, "shift": 1}',
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert json.load(answer)["y"] == 4.0
        assert answer.headers["x-amlexec-model"] == "iris:1"

    # Another version, while requests go on.
    serving.register(5)
    updated = serving.service("update", "--model", "iris", "-f", "score.py", "--sample", '{"x": 1}')
    assert updated.code == 0, updated.err
    assert updated.out.endswith(" with iris:2\n")
    assert serving.score(2) == 10.0
    same = serving.service("update", "--model", "iris", "-f", "score.py", "--sample", '{"x": 1}')
    assert (same.code, "nothing to do" in same.err) == (0, True)

    # A version that fails its sample, and one that never becomes ready: the old one goes on.
    serving.register("a")
    bad = serving.service("update", "--model", "iris", "-f", "score.py", "--sample", '{"x": 1}')
    assert (bad.code, bad.out) == (1, "")
    assert "goes on as before" in bad.err
    assert "answers the sample with 500" in bad.err
    serving.write("broken.py", "def init(): raise ValueError('no such model')\ndef run(data): pass\n")
    bad = serving.service("update", "--model", "iris", "-f", "broken.py")
    assert (bad.code, bad.out) == (1, "")
    assert "ValueError: no such model" in bad.err
    assert serving.score(2) == 10.0
    assert len(serving.replicas()) == 1

    scaled = serving.service("scale", "2")
    assert scaled.code == 0, scaled.err
    shown = json.loads(serving.service("show", "-o", "json").out)
    assert (shown["state"], shown["replicas"], len(shown["containers"])) == ("running", "2/2", 2)
    assert serving.service("show", "--key").out.strip() == key

    back = serving.service("rollback")
    assert back.code == 0, back.err
    assert serving.score(2) == 6.0
    listed = json.loads(serving.amlexec("service", "list", "-o", "json").out)
    assert {row["name"]: row["models"] for row in listed}[serving.unique] == "iris:1"
    assert "POST /score 200" in serving.service("logs").out
    # The image that it had before was removed by somebody: it goes on, and says so.
    before = json.loads(serving.service("show", "-o", "json").out)["previous"]
    assert images.remove(serving.shop.engine, before, force=True)
    gone = serving.service("rollback")
    assert (gone.code, gone.out) == (2, "")
    assert f"the image that {serving.unique} had before is gone: {before}" in gone.err
    assert serving.score(2) == 6.0
    usage = json.loads(serving.service("usage", "-o", "json").out)
    assert [row["container"] for row in usage][-1] == "listener"

    deleted = serving.service("delete")
    assert (deleted.code, deleted.out) == (0, f"{serving.unique} is deleted\n")
    assert serving.shop.containers(**{"amlexec.service": serving.unique}) == []
    planned = json.loads(serving.amlexec("gc", "--plan", "-o", "json").out)["removed"]
    own = [row for row in planned if row["kind"] == "service image" and serving.unique in row["name"]]
    assert [row["bytes"] > 0 for row in own] == [True, True]  # of two versions: another one was removed
    gone = serving.service("run", "-d", "{}")
    assert (gone.code, "there is no service" in gone.err) == (3, True)


def test_a_killed_replica_comes_back(serving: Serving) -> None:
    serving.register(3)
    done = serving.service(
        "create", "--model", "iris", "-f", "score.py", "--log-requests", "1", "--redact", "x"
    )
    assert done.code == 0, done.err
    (replica,) = serving.replicas()
    found = containers.inspect(serving.shop.engine, replica["Id"])
    assert found is not None
    # It also starts with the engine: after a reboot.
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    began = found["State"]["StartedAt"]
    # From inside, as a crash: a container that `docker kill` ended stays down.
    python = "/opt/amlexec/env/bin/python"
    kill = (
        "import os, signal\nfor name in os.listdir('/proc'):\n"
        "    if name.isdigit() and int(name) not in (1, os.getpid()): os.kill(int(name), 9)"
    )
    containers.execute(serving.shop.engine, replica["Id"], [python, "-c", kill], lambda _: None)

    def again() -> bool:
        told = containers.inspect(serving.shop.engine, replica["Id"])
        return told is not None and told["State"]["StartedAt"] != began and told["State"]["Running"]

    eventually(again, "the engine starts it again")
    assert serving.score(2) == 6.0  # waits until it has joined
    logged = [json.loads(line) for line in serving.service("logs", "--requests").out.splitlines()]
    assert [line["input"] for line in logged] == [{"x": "[redacted]"}]
    assert logged[0]["output"]["y"] == 6.0


def test_tls(serving: Serving, tmp_path: Path) -> None:
    import subprocess

    pem = tmp_path / "one.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    more = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "30"]
    parts = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    subprocess.run([*command, *more, *parts], check=True, capture_output=True)
    pem.write_text((tmp_path / "cert.pem").read_text() + (tmp_path / "key.pem").read_text())
    serving.register(3)
    words = ["--model", "iris", "-f", "score.py", "--certificate", str(pem), "--sample", '{"x": 1}']
    done = serving.service("create", *words)
    assert done.code == 0, done.err
    assert done.out.startswith("https://")
    assert serving.score(2) == 6.0
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    with urllib.request.urlopen(f"{done.out.strip()}/readyz", context=context, timeout=120) as answer:
        assert answer.status == 200


def test_tasks_are_up_to_date_until_a_model_or_a_file_changes(serving: Serving) -> None:
    serving.register(3)
    assert serving.amlexec("model", "promote", "iris:1", "champion").code == 0
    declared = (
        f'service({serving.unique!r}, script="score.py", models=["iris:champion"], sample=\'{{"x": 1}}\')\n'
    )
    serving.write("dodo.py", f"from amlexec.tasks import *\n\n{declared}")
    deploy = f"deploy:{serving.unique}"

    def marks() -> list[str]:
        done = serving.doit("run", deploy)
        assert done.code == 0, done.out + done.err
        return [
            line[:2] for line in done.out.splitlines() if f":{serving.unique}" in line and line[0] in ".-"
        ]

    assert marks() == [". ", ". "]
    assert serving.score(2) == 6.0
    assert marks() == ["--", "--"]
    serving.register(5)
    assert marks() == ["--", "--"]  # the alias means the same version
    assert serving.amlexec("model", "promote", "iris:2", "champion").code == 0
    assert marks() == [". ", ". "]
    assert serving.score(2) == 10.0
    serving.write("rules.py", "def scored(factor, x):\n    return -factor * x\n")
    assert marks() == [". ", ". "]
    assert serving.score(2) == -10.0
    assert serving.service("delete").code == 0
    assert marks() == ["--", ". "]


def test_mistakes(serving: Serving) -> None:
    serving.register(3)
    for words, told in (
        (("image", "create", "-n", "Iris", "-f", "score.py"), "is not a name for an image"),
        (("image", "create", "-n", "a;b", "-f", "score.py"), "is not a name for an image"),
        (("image", "create", "-n", "iris", "-f", "absent.py"), "there is no scoring script absent.py"),
        (("image", "create", "-n", "iris", "-f", "score.py", "-t", "local"), "which has no Docker engine"),
        (("image", "create", "-n", "iris", "-f", "score.py", "--include", "../x"), "is not in the folder"),
        (
            ("image", "create", "-n", "iris", "-f", "score.py", "--include", "x"),
            "there is no file or folder x",
        ),
        (("service", "create", "-n", "iris", "--image", "no-such"), "there is no image no-such"),
        (("service", "create", "-n", "iris"), "no image"),
        (("service", "create", "-n", "iris", "--image", "a", "--memory", "much"), "is not a size"),
        (("service", "show", "no-such"), "there is no service 'no-such'"),
        (("service", "scale", "no-such", "0"), "0 is not a number of replicas"),
    ):
        done = serving.amlexec(*words)
        assert (done.code, done.out) == (3, ""), words
        assert told in done.err, words
    serving.write("broken.py", "def init(): raise ValueError('no such model')\ndef run(data): pass\n")
    done = serving.service("create", "-f", "broken.py")
    assert (done.code, done.out) == (2, ""), done.err
    assert "ValueError: no such model" in done.err
    serving.write("taken.py", "def init(): pass\ndef run(data): return data\n")
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = serving.service("create", "-f", "taken.py", "--port", port)
    assert (done.code, f"the port {port} is taken" in done.err) == (2, True), done.err
    assert serving.shop.containers(**{"amlexec.service": serving.unique}) == []

"""Push environments to a registry, pull them by digest instead of building, and refuse wrong ones."""

from __future__ import annotations

import http.server
import json
import os
import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from amlexec.docker import images
from amlexec.errors import UsageError
from amlexec.images import registry as publishing
from tests.engines.registry import free_port
from tests.support.places import LABEL, DockerProject, Shop, new_base

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Done

WHEEL = "colorama-0.4.6-py2.py3-none-any.whl"


@pytest.fixture
def demo(shop: Shop, tmp_path: Path) -> DockerProject:
    """A project with a unique name and a unique environment, on the base image of the session."""
    name = f"demo-{uuid.uuid4().hex[:8]}"
    base = f"amlexec-test/{name}:1"
    images.tag(shop.engine, shop.base, base)
    project = DockerProject(tmp_path / name, shop, conda=shop.conda("six", pip=(f"{shop.wheels}/{WHEEL}",)))
    project.write("aml_config/docker.compute", project.compute(base=base))
    project.write("train.py", "import colorama, six\nprint('imported')\n")
    return project


@pytest.fixture
def alone(demo: DockerProject) -> DockerProject:
    """The same, with layers that no other test has."""
    shop, base = demo.shop, f"amlexec-test/{demo.root.name}:1"
    new_base(shop.engine, shop.base, base, f"{LABEL}={shop.session}")
    return demo


@pytest.fixture
def where(registry: str) -> str:
    """A unique repository in the registry."""
    return f"{registry}/team/{uuid.uuid4().hex[:8]}"


def names(project: DockerProject) -> tuple[str, str]:
    """The digest of the environment, and its image name on the engine."""
    digest = project.prepare("--print-digest").out.strip()
    return digest, f"amlexec:{digest[:20]}"


def forget(project: DockerProject) -> None:
    """Remove the environment, its layer and its state, as on another machine."""
    done = project.amlexec("experiment", "clean", "--environments")
    assert done.code == 0, done.err
    assert " removed" in done.err
    assert images.inspect(project.shop.engine, names(project)[1]) is None


def lose(project: DockerProject) -> None:
    """Remove the image of the environment alone: its conda layers make the next build short."""
    images.remove(project.shop.engine, names(project)[1], force=True)


def published(project: DockerProject, where: str) -> Done:
    """Push it, and remove it here."""
    done: Done = project.prepare("--push", where)
    assert done.code == 0, done.err
    forget(project)
    return done


def test_push_and_pull(alone: DockerProject, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an option says, and where a variable says, which applies to every command."""
    engine = alone.shop.engine
    built = alone.prepare()
    assert built.code == 0, built.err
    digest, image = names(alone)
    kept = alone.root / f".amlexec/environments/{digest}.packages.json"
    packages = json.loads(kept.read_text())
    reference = published(alone, where).out.splitlines()[-1]
    assert reference.startswith(f"{where}@sha256:")
    assert images.inspect(engine, f"{where}:{digest[:20]}") is None, (
        "the temporary name for the push is removed"
    )
    kept.unlink()

    done = alone.prepare("--pull-from", where)
    assert done.code == 0, done.err
    assert "docker: pulled: its image is no longer on the engine" in done.out
    assert "solving" not in done.err
    found = images.inspect(engine, image)
    assert found is not None
    assert found["Config"]["Labels"]["amlexec.digest"] == digest
    assert [name for name in found["RepoTags"] if name.startswith(where)] == []
    assert json.loads(kept.read_text()) == packages
    assert "imported" in alone.submit("train.py").out
    assert "up to date" in alone.prepare().out
    # The printed reference can be pulled, too.
    images.pull(engine, reference)
    images.remove(engine, reference)

    forget(alone)
    monkeypatch.setenv("AMLEXEC_IMAGES", where)
    done = alone.doit("prepare:docker")
    assert "docker: pulled: " in done.out, done.err
    forget(alone)
    done = alone.submit("--prepare", "train.py")
    assert done.code == 0, done.err
    assert "solving" not in done.err
    assert f"looking for {where}" in done.err


def test_an_unpublished_environment_is_built(demo: DockerProject, where: str, tmp_path: Path) -> None:
    done = demo.prepare("--pull-from", where)
    assert done.code == 0, done.err
    assert "docker: prepared for the first time" in done.out
    assert "not pulled, so it is built: " in done.err
    lose(demo)
    done = demo.prepare("--pull-from", "127.0.0.1:1/nobody/here")
    assert done.code == 0, done.err
    assert "not pulled, so it is built: " in done.err

    # A registry that needs a login, from Docker's settings under any of the keys that `docker` accepts.
    lose(demo)
    seen: list[str] = []

    class Guard(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(404 if seen[-1] == "Basic bWU6aHVzaC1odXNo" else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Guard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    (tmp_path / "docker").mkdir()
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "docker")}
    try:
        done = demo.prepare("--pull-from", f"{host}/team/images", env=environment)
        assert done.code == 0, done.err
        assert f"warning: {host} needs a login: `docker login {host}`" in done.err
        lose(demo)
        auths = {"auths": {f"http://{host}/v1/": {"auth": "bWU6aHVzaC1odXNo"}}}
        (tmp_path / "docker/config.json").write_text(json.dumps(auths))
        done = demo.prepare("--pull-from", f"{host}/team/images", env=environment)
        assert done.code == 0, done.err
        assert "Basic bWU6aHVzaC1odXNo" in seen
        assert "needs a login" not in done.err
        assert "hush" not in done.err
    finally:
        server.shutdown()
        server.server_close()


def test_another_environment_under_its_tag_is_refused(demo: DockerProject, where: str) -> None:
    engine = demo.shop.engine
    digest, image = names(demo)
    for label in (f"amlexec.digest={'0' * 64}", "amlexec.nothing=1"):
        lie = f"{where}:{digest[:20]}"
        new_base(engine, demo.shop.base, lie, label)
        images.push(engine, lie)
        images.remove(engine, lie)
        done = demo.prepare("--pull-from", where)
        assert done.code == 2, done.out
        assert f"{lie}: error: another environment is published under this tag" in done.err
        assert images.inspect(engine, lie) is None
        assert images.inspect(engine, image) is None
        assert "Traceback" not in done.err
    assert demo.prepare("--check").code == 1


def test_a_pulled_environment_that_does_not_run_is_refused(demo: DockerProject, where: str) -> None:
    engine = demo.shop.engine
    digest, image = names(demo)
    broken = f"{where}:{digest[:20]}"
    new_base(engine, demo.shop.base, broken, f"amlexec.digest={digest}")
    images.push(engine, broken)
    images.remove(engine, broken)
    done = demo.prepare("--pull-from", where)
    assert done.code == 2
    assert "Python does not start" in done.err
    assert images.inspect(engine, image) is None


def test_what_pushes_print_and_leave(demo: DockerProject, where: str) -> None:
    engine = demo.shop.engine
    assert demo.prepare().code == 0
    digest, image = names(demo)
    # To a registry that refuses it
    done = demo.prepare("--push", "127.0.0.1:1/nobody/here")
    assert done.code == 2
    assert "the environment can't be pushed: " in done.err
    assert images.inspect(engine, image) is not None
    assert images.inspect(engine, f"127.0.0.1:1/nobody/here:{digest[:20]}") is None
    # With the published reference as JSON
    told = json.loads(demo.prepare("--push", where, "-o", "json").out)
    assert told["published"].startswith(f"{where}@sha256:")
    assert told["ready"] is True
    assert images.inspect(engine, f"{where}:{digest[:20]}") is None
    # A name that the user has given stays.
    images.tag(engine, image, f"{where}:{digest[:20]}")
    assert demo.prepare("--push", where).code == 0
    assert images.inspect(engine, f"{where}:{digest[:20]}") is not None
    images.remove(engine, f"{where}:{digest[:20]}")


@pytest.mark.parametrize("place", ["x.invalid/team:1", "x.invalid/Team", "x.invalid/team/", "a b"])
def test_invalid_repositories(place: str) -> None:
    with pytest.raises(UsageError) as caught:
        publishing.place(place)
    assert "is not a repository for images" in caught.value.message
    with pytest.raises(UsageError) as caught:
        publishing.place("", {"AMLEXEC_IMAGES": place})
    assert caught.value.where == "AMLEXEC_IMAGES"


@pytest.mark.parametrize(
    "place", ["127.0.0.1:5000/a", "registry.example.com/a/b-c_d.e", "team/images", "localhost:1/x"]
)
def test_valid_repositories(place: str) -> None:
    assert publishing.place(place, {}) == place
    assert publishing.place("", {"AMLEXEC_IMAGES": place}) == place
    assert publishing.place("", {}) == ""
    assert publishing.published(place, "abcdef" * 8) == f"{place}:{'abcdef' * 8:.20}"


def test_projects_with_the_same_name_keep_each_others_environments(shop: Shop, tmp_path: Path) -> None:
    one, other = (DockerProject(tmp_path / folder / "same", shop) for folder in ("one", "other"))
    # None that another project has built: nobody else excludes that version.
    one.write("aml_config/conda_dependencies.yml", shop.conda("tabulate !=0.0.1", "idna"))
    assert one.prepare().code == 0
    other.write("aml_config/conda_dependencies.yml", shop.conda("tabulate !=0.0.1", "idna", "six"))
    assert other.prepare().code == 0
    assert other.amlexec("experiment", "clean", "--environments").code == 0
    assert other.prepare("--check").code == 1
    assert one.prepare("--check").code == 0
    assert one.amlexec("experiment", "clean", "--environments").code == 0

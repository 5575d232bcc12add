"""The places at which commands crash: this machine, and one of each kind of compute target."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from amlexec.docker import containers, images
from tests.conftest import eventually
from tests.engines.ssh_host import QUIET
from tests.support.engine_hosts import EngineHost
from tests.support.places import LABEL

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from amlexec.docker.client import Engine
    from tests.crash.harness import Scene
    from tests.support.hosts import Client, Host
    from tests.support.places import DockerProject, Shop

__all__ = ["EngineSite", "MachineSite", "Site"]

_SHARE = 'os.environ["AZUREML_NATIVE_SHARE_DIRECTORY"] + "marks"'


class Site:
    """This machine; other sites override what is different there."""

    name = "local"
    variant = ""
    """How it differs from the usual site of that name."""
    is_prepared = False
    """Whether amlexec prepares the environment."""
    address = ""
    is_copied = True
    """Whether a project with runs can be copied: nothing of them is elsewhere."""
    folders: tuple[str, ...] = ()
    """More folders whose changes are durable steps."""

    def project_name(self, _: Path) -> str:
        """The name of the project whose scene is in a folder."""
        return "demo"

    def write(self, root: Path) -> None:
        """Make the project's folder with its configuration."""
        (root / "aml_config").mkdir(parents=True)
        (root / "aml_config/local.compute").write_text("type: local\nnativeSharedDirectory: ../share\n")
        (root / "aml_config/local.runconfig").write_text("Target: local\nFramework: Python\n")

    def marks(self, _: str) -> str:
        """The file in which scripts leave a line as they start, as a Python expression."""
        return _SHARE

    def started(self, scene: Scene) -> list[str]:
        """The lines of that file."""
        path = scene.folder / "share" / scene.root.name / "marks"
        return path.read_text().split() if path.exists() else []

    def ended(self, scene: Scene) -> int:
        """How many runs the site knows the end of."""
        return len([*scene.root.glob(".amlexec/runs/*/control/end")])

    def leftovers(self, _: Scene) -> list[str]:
        """What is left at the site of a project whose runs have ended and are clean."""
        return []

    def forget(self) -> None:
        """Remove all prepared environments."""

    def settle(self) -> None:
        """Wait until what a killed command had started elsewhere has ended."""


class EngineSite(Site):
    """A Docker engine."""

    is_prepared = True
    is_copied = False

    def __init__(
        self, name: str, shop: Shop, engine: Engine, project: Callable[[Path], DockerProject]
    ) -> None:
        self.name, self.shop, self.engine = name, shop, engine
        self._project = project

    def project_name(self, folder: Path) -> str:
        """Unique: the machine knows runs by their ids, which begin with it."""
        return f"{self.name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"

    def write(self, root: Path) -> None:
        project = self._project(root)
        project.write("aml_config/conda_dependencies.yml", self.shop.conda_for("crashes"))
        project.write(f"aml_config/{self.name}.compute", project.compute("nativeSharedDirectory: ../share"))

    def ended(self, scene: Scene) -> int:
        found = containers.find(self.engine, {"amlexec.project.folder": str(scene.root)})
        return [each["State"] for each in found].count("exited")

    def leftovers(self, scene: Scene) -> list[str]:
        found = containers.find(self.engine, {LABEL: self.shop.session})
        folders = [(each, each["Labels"].get("amlexec.project.folder", "")) for each in found]
        return [
            f"container {each['Names']} {each.get('Status')}"
            for each, folder in folders
            if folder in {"", str(scene.root)}
        ]

    def forget(self) -> None:
        """Remove all prepared environments."""
        for image in images.find(self.engine, {LABEL: self.shop.session, "amlexec.digest": ""}):
            if image["Labels"]["amlexec.project"].startswith(f"{self.name}-"):
                # A container that a killed process has left may use it; the next command removes that.
                images.remove(self.engine, image["Id"], force=True)


class MachineSite(EngineSite):
    """A machine to log in to: with a Python of its own, a prepared one, an engine, or Spark."""

    def __init__(
        self, name: str, shop: Shop, client: Client, project: Callable[[Path], DockerProject], host: Host
    ) -> None:
        super().__init__(name, shop, host.docker if isinstance(host, EngineHost) else host.engine, project)
        self.address = host.address
        self._host, self._client = host, client
        self._before: set[str] = set()
        self.is_prepared = name in {"managed", "remotedocker"}
        self.folders = (str(client.runtime),)

    def write(self, root: Path) -> None:
        project = self._project(root)
        project.write("aml_config/conda_dependencies.yml", self.shop.conda_for("crashes"))
        lines = () if self.name == "cluster" else ("nativeSharedDirectory: share",)
        project.write(f"aml_config/{self.name}.compute", project.compute(*lines))
        self._before = {*self._left(root.name)}

    def marks(self, project: str) -> str:
        return repr(f"/home/{QUIET}/marks-{project}") if self.name == "cluster" else _SHARE

    def started(self, scene: Scene) -> list[str]:
        name = scene.root.name
        path = f"marks-{name}" if self.name == "cluster" else f"share/{name}/marks"
        return self._host.ssh(f"cat /home/{QUIET}/{path} 2>/dev/null || :").split()

    def ended(self, scene: Scene) -> int:
        if self.name == "remotedocker":
            return super().ended(scene)
        paths = f"/home/{QUIET}/.amlexec/runs/{scene.root.name}_*/control/end"
        return len(self._host.ssh(f"ls {paths} 2>/dev/null || :").split())

    def leftovers(self, scene: Scene) -> list[str]:
        left = super().leftovers(scene) if self.name == "remotedocker" else []
        # A forwarded socket has a lock, which lasts as long as the folder of connections.
        files = [path.name for path in self._client.sockets() if not path.is_socket()]
        left += [name for name in files if not name.endswith("-docker.lock")]
        return left + [each for each in self._left(scene.root.name) if each not in self._before]

    def _left(self, name: str) -> list[str]:
        """What is on the machine that none keeps; other tests use it, too."""
        # Mirrors and environments are kept for the next run, whole or not at all.
        script = f"""
            cd /home/{QUIET}/.amlexec || exit 0
            find runs -mindepth 1 -maxdepth 1 -name '{name}*'
            find projects archives installers packages \\( -name '*.new' -o -name '.new*' \\)
            find incoming arrays -mindepth 1 -maxdepth 1
            for each in envs/*/*; do [ -e "$each/amlexec.json" ] || [ ! -e "$each" ] || echo "$each"; done
            ls -d /dev/shm/amlexec-*
            ps -eo args | grep -F '{name}_1' | grep -v grep
            :
        """
        return self._host.ssh(f"exec 2>/dev/null\n{script}").splitlines()

    def settle(self) -> None:
        """An installation goes on until it prints something."""
        script = f"pgrep -u {QUIET} -f '[.]amlexec/(installers|envs)/' || :"
        eventually(lambda: self._host.ssh(script) == "", "what installs packages there ends")

    def forget(self) -> None:
        if self.name == "remotedocker":
            super().forget()
        else:
            self._host.ssh(f"rm -rf /home/{QUIET}/.amlexec/envs/*")

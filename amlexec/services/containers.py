"""The containers of a service: a listener, which has the public port, and replicas; a volume that they share.

Everything that is known of a service is in the labels of its containers: whoever uses the engine sees it.
"""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any, NamedTuple

from amlexec.docker import archives, containers
from amlexec.docker.errors import EngineAnswerError
from amlexec.docker.labels import (
    DIGEST,
    PROJECT,
    PROJECT_FOLDER,
    SERVICE,
    SERVICE_GENERATION,
    SERVICE_ROLE,
    SERVICE_SETTINGS,
)
from amlexec.errors import TargetError
from amlexec.images.labels import PREFIX
from amlexec.packages import stable_tar
from amlexec.services.image import PORT, RUN_FOLDER, SERVER, USER
from amlexec.tar import Tar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amlexec.docker.client import Engine
    from amlexec.values import Project

__all__ = ["LISTENER", "REPLICA", "Settings", "ask", "create_listener", "create_replica", "tell"]

LISTENER, REPLICA = "listener", "replica"
KEYS = "/opt/amlexec/keys"
"""The folder of the key and the certificate, in a container's own layer: no image and no volume has them."""
_SOCKET = f"{RUN_FOLDER}/listener.sock"
_REQUESTS = f"{RUN_FOLDER}/requests"
_LOG_OPTIONS = {"max-size": "10m", "max-file": "3"}
_HEALTH_S = 30


class Settings(NamedTuple):
    """What a service is deployed with."""

    name: str
    image: str
    """The id of its image."""
    reference: str
    """The image's name."""
    models: str
    generation: int = 1
    replicas: int = 1
    host: str = "127.0.0.1"
    """The address of the engine's machine at which it is published; "" if it is not published."""
    port: int = 0
    memory: int = 0
    """The limit of a replica, in bytes; 0 for none."""
    cpus: float = 0.0
    """The limit of a replica; 0 for none."""
    gpu: bool = False
    secure: bool = False
    """Whether it has a certificate."""
    insecure: bool = False
    """Whether requests need no key."""
    sample: str = ""
    log_sample: float = 0.0
    """The share of requests that is logged."""
    log_redact: tuple[str, ...] = ()
    previous: str = ""
    """The id of the image before, for `rollback`."""
    previous_reference: str = ""

    def text(self) -> str:
        """As the text of a label."""
        return json.dumps(self._asdict())

    @classmethod
    def of(cls, text: str) -> Settings:
        """Those of a label. Raises ValueError."""
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is no object")  # noqa: TRY004 - all that is wrong with it is one error
        values = {}
        for field, default in cls._examples().items():
            value = found.get(field, default)
            if isinstance(default, tuple):
                value = tuple(str(each) for each in value)
            elif isinstance(default, bool):
                value = value is True
            else:
                value = type(default)(value)
            values[field] = value
        return cls(**values)

    @classmethod
    def _examples(cls) -> dict[str, Any]:
        return cls("", "", "", "")._asdict()


def name_of(settings: Settings, role: str, number: int = 0) -> str:
    """The name of a container."""
    if role == LISTENER:
        return f"amlexec-service-{settings.name}"
    return f"amlexec-service-{settings.name}-{settings.generation}-{number}"


def create_listener(engine: Engine, project: Project, settings: Settings) -> str:
    """Create the container that has the public port; its id."""
    wanted = _common(engine, project, settings, LISTENER)
    wanted["Cmd"] = [f"{PREFIX}/bin/python", SERVER, "--listen", _SOCKET]
    if settings.host:
        published = [{"HostIp": settings.host, "HostPort": str(settings.port or "")}]
        wanted["ExposedPorts"] = {f"{PORT}/tcp": {}}
        wanted["HostConfig"]["PortBindings"] = {f"{PORT}/tcp": published}
    wanted["HostConfig"]["RestartPolicy"] = {"Name": "unless-stopped"}
    return containers.create(engine, wanted, name=name_of(settings, LISTENER))


def create_replica(
    engine: Engine, project: Project, settings: Settings, number: int, secrets: dict[str, bytes]
) -> str:
    """Create a replica with its secrets, which are files; its id. It restarts only once `keep` was called."""
    wanted = _common(engine, project, settings, REPLICA)
    variables = {
        "AMLEXEC_SERVICE_HOST": "127.0.0.1",  # of the container: the public port is the listener's
        "AMLEXEC_SERVICE_JOIN": _SOCKET,
        "AMLEXEC_SERVICE_GENERATION": str(settings.generation),
        "AMLEXEC_SERVICE_REPLICA": f"{settings.generation}-{number}",
    }
    if settings.insecure:
        variables["AMLEXEC_SERVICE_INSECURE"] = "1"
    else:
        variables["AMLEXEC_SERVICE_KEY_FILE"] = f"{KEYS}/key"
    if settings.secure:
        variables["AMLEXEC_SERVICE_CERTIFICATE"] = f"{KEYS}/certificate.pem"
    if settings.log_sample:
        variables["AMLEXEC_SERVICE_LOG_FOLDER"] = _REQUESTS
        variables["AMLEXEC_SERVICE_LOG_SAMPLE"] = str(settings.log_sample)
        variables["AMLEXEC_SERVICE_LOG_REDACT"] = ",".join(settings.log_redact)
    wanted["Env"] = [f"{name}={value}" for name, value in variables.items()]
    check = [f"{PREFIX}/bin/python", SERVER, "--ask", "/readyz"]
    wanted["Healthcheck"] = {
        "Test": ["CMD", *check],
        "Interval": _HEALTH_S * 10**9,
        "Timeout": _HEALTH_S * 10**9,
        "StartPeriod": 300 * 10**9,
        "Retries": 3,
    }
    host = wanted["HostConfig"]
    if settings.memory:
        host["Memory"] = host["MemorySwap"] = settings.memory
    if settings.cpus:
        host["NanoCpus"] = int(settings.cpus * 1e9)
    if settings.gpu:
        host["DeviceRequests"] = [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]
    container = containers.create(engine, wanted, name=name_of(settings, REPLICA, number))
    if secrets:
        archives.put(engine, container, "/", _packed(secrets))
    return container


def _common(engine: Engine, project: Project, settings: Settings, role: str) -> dict[str, Any]:
    driver = engine.features.log_driver
    return {
        "Image": settings.image,
        "User": f"{USER}:{USER}",
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            SERVICE: settings.name,
            SERVICE_ROLE: role,
            SERVICE_GENERATION: str(settings.generation),
            SERVICE_SETTINGS: settings.text(),
            PROJECT: project.name,
            PROJECT_FOLDER: project.place,
            DIGEST: "",
        },
        "HostConfig": {
            "Init": True,
            "Mounts": [
                {
                    "Type": "volume",
                    "Source": volume_of(settings.name),
                    "Target": RUN_FOLDER,
                    "VolumeOptions": {"Labels": {SERVICE: settings.name}},
                }
            ],
            "LogConfig": {"Type": driver, "Config": {} if engine.features.is_podman else _LOG_OPTIONS},
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": ["ALL"],
        },
    }


def volume_of(name: str) -> str:
    """The name of the volume that the containers of a service share."""
    return f"amlexec-service-{name}"


def keep(engine: Engine, container: str, *, forever: bool) -> None:
    """Let the engine start a container again when it ends, and after a reboot; or not any more."""
    policy = {"Name": "unless-stopped" if forever else "no", "MaximumRetryCount": 0}
    with engine.asked() as api:
        api.update_container(container, restart_policy=policy)


def remove_volume(engine: Engine, name: str) -> None:
    """Remove the volume of a service, if there is one."""
    try:
        with engine.asked() as api:
            api.remove_volume(volume_of(name))
    except EngineAnswerError as error:
        if error.status != 404:
            raise


def _packed(secrets: dict[str, bytes]) -> bytes:
    """The archive of files that only the server's user can read."""
    written = io.BytesIO()
    with Tar.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        folder: Any = tarfile.TarInfo(KEYS.lstrip("/"))
        folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o700, stable_tar.EPOCH
        folder.uid = folder.gid = USER
        archive.addfile(folder)
        for name, content in secrets.items():
            entry: Any = tarfile.TarInfo(f"{KEYS.lstrip('/')}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o400, stable_tar.EPOCH
            entry.uid = entry.gid = USER
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def secrets_of(engine: Engine, container: str, settings: Settings) -> dict[str, bytes]:
    """The key and the certificate of a replica. Raises EngineError."""
    names = [] if settings.insecure else ["key"]
    names += ["certificate.pem"] if settings.secure else []
    found = {}
    for name in names:
        with archives.get(engine, container, f"{KEYS}/{name}") as answer:
            data = answer.read(1 << 20)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            entry = archive.next()
            file = archive.extractfile(entry) if entry is not None and entry.isfile() else None
            if file is None:
                raise TargetError(f"a replica's {name} can't be read", where=engine.address)
            found[name] = file.read()
    return found


def _executed(
    engine: Engine, container: str, words: Sequence[str], given: bytes | None = None
) -> tuple[int | None, bytes]:
    output = bytearray()
    code = containers.execute(
        engine, container, [f"{PREFIX}/bin/python", SERVER, *words], output.extend, given=given
    )
    return code, bytes(output)


def ask(
    engine: Engine, container: str, path: str, body: bytes | None = None, kind: str = ""
) -> tuple[int, bytes]:
    """Send a request to a replica from within its container; the status, 0 for no answer, and the body."""
    words = ["--ask", path, *([kind or "application/json"] if body is not None else [])]
    _, output = _executed(engine, container, words, body)
    status, _, content = output.partition(b"\n")
    return (int(status) if status.isdigit() else 0), content


def tell(engine: Engine, container: str, *words: str) -> dict[str, Any]:
    """Send a command to the listener; its answer.

    Raises:
        TargetError: it does not answer.
    """
    code, output = _executed(engine, container, ["--tell", _SOCKET, *words])
    try:
        found = json.loads(output) if code == 0 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        told = output.decode("utf-8", "replace").strip()[-200:]
        raise TargetError(f"the service's listener does not answer: {told}", where=engine.address)
    return found

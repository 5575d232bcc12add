"""Spark 3.5 and Spark 4 from PyPI, Debian's Java, and an image with both: small enough to be had in a minute.

Each Spark is laid out as `pip install pyspark` lays it out: `pyspark/` is a package and a SPARK_HOME too.
Left out is what none of the tests touches: three quarters of the bytes are machine learning, Hive,
Kubernetes and Mesos.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import io
import marshal
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from amlexec.docker import archives, client, containers, images
from amlexec.errors import TargetError

from . import base_image, recipe_folder, tools
from .choice import under_test
from .packages import TIME
from .places import can_install, state

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NEWER", "REFERENCE", "SPARK", "Installed", "installed", "is_there", "ready", "remove"]

REFERENCE = "amlexec-test/spark:1"
"""The base image, with a JAVA_HOME and a SPARK_HOME."""
SPARK = "3.5.9"
NEWER = "4.3.0"
_JAVA = ("openjdk-17-jre-headless", "openjdk-21-jre-headless")
"""Those that both versions run on; Debian 12 has the first, Debian 13 the second."""
_LABEL = "amlexec-test.recipe"
_JARS_LEFT_OUT = re.compile(
    r"(JTransforms|algebra|arpack|blas|breeze|cats|connect-repl/|datanucleus|derby|flink|hive|jline"
    r"|kubernetes|lapack|mesos|okhttp|rocksdbjni|scala-compiler|spark-(connect|ganglia|hive|kubernetes"
    r"|mesos|mllib|repl)|spire|tink|zjsonpatch)[^/]*\.jar$"
)
_DEFAULTS = b"""\
spark.driver.extraJavaOptions -XX:+UseSerialGC -XX:TieredStopAtLevel=1
spark.executor.extraJavaOptions -XX:+UseSerialGC -XX:TieredStopAtLevel=1
"""
"""In the image: a short run takes half of the CPU time."""
_JAVA_LEFT_OUT = re.compile(r"^(jmods|legal|man|include|docs|lib/(src\.zip|ct\.sym)|bin/(?!java$|keytool$))")


class Installed(NamedTuple):
    """Where the parts are."""

    folder: Path
    java: Path
    """A JAVA_HOME."""
    image: str = REFERENCE

    def home(self, version: str = SPARK) -> Path:
        """The folder `pyspark/` of a version; the folder it is in goes on a PYTHONPATH."""
        return self.folder / version / "pyspark"

    def java_folders(self) -> list[str]:
        """The folders of this machine that its Java needs, for mounting them: Debian's has links to /etc."""
        found = {path.resolve() for path in [*self.java.glob("*"), *self.java.glob("*/*")]}
        outside = {str(one if one.is_dir() else one.parent) for one in found}
        return sorted({str(self.java), *(one for one in outside if one.startswith("/etc/"))})


def installed() -> Installed:
    """Where the parts are, if they are there."""
    java = _java_home()
    assert java is not None
    return Installed(_folder(), java)


def _java_home() -> Path | None:
    found = shutil.which("java")
    return Path(found).resolve().parent.parent if found else None


def is_there() -> bool:
    """Whether both versions, a Java and the image are there, made by this recipe."""
    if not recipe_folder.is_there(_folder(), _recipe()) or _java_home() is None:
        return False
    try:
        image = images.inspect(under_test(), REFERENCE)
    except TargetError:
        return False
    return image is not None and ((image["Config"] or {}).get("Labels") or {}).get(_LABEL) == _recipe()


def ready() -> None:
    """Fetch and make everything anew. Raises MissingError, ToolError."""
    if sys.platform != "linux":
        raise tools.MissingError("no Spark: its image is made of a Linux machine's own programs")
    try:
        docker = under_test()
        docker.version()
    except TargetError as error:
        raise tools.MissingError(f"no Spark: {error.message}") from None
    if _java_home() is None and not can_install():
        raise tools.MissingError(f"no Java: install {' or '.join(_JAVA)}")
    print(f"fetching Spark {SPARK} and {NEWER}")
    with recipe_folder.replaced(_folder(), _recipe) as new:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            working = [pool.submit(_fetch, version, new / version) for version in (SPARK, NEWER)]
            if _java_home() is None:
                java = next(iter(tools.known(*_JAVA)), _JAVA[0])
                print(f"installing {java}")
                # Its links to manual pages fail where an image without such pages has no folder for them.
                Path("/usr/share/man/man1").mkdir(parents=True, exist_ok=True)
                working.append(pool.submit(tools.install, java))
            for done in working:
                done.result()
        print("making an image with Spark and Java")
        _make_image(docker, new / SPARK / "pyspark")


def remove() -> None:
    """Remove the image by its name, and the folder."""
    recipe_folder.remove(_folder())
    with contextlib.suppress(TargetError):
        docker = under_test()
        docker.version()
        images.remove(docker, REFERENCE)


def _folder() -> Path:
    return state() / "spark"


def _recipe() -> str:
    base = ""
    with contextlib.suppress(TargetError):
        found = images.inspect(under_test(), base_image.REFERENCE)
        base = found["Id"] if found else ""
    return recipe_folder.recipe(__file__, more=f"{base} {_java_home()}")


def _fetch(version: str, folder: Path) -> None:
    """One version from PyPI, unpacked."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--retries", "5"]
        pip += ["--no-binary", "pyspark", "--dest", scratch, f"pyspark=={version}"]
        tools.run(pip, f"fetching Spark {version}")
        with tarfile.open(next(Path(scratch).glob("pyspark-*.tar.gz")), "r|gz") as archive:
            for member in archive:
                path = _place(member.name.partition("/")[2])
                if path and member.isfile():
                    target = folder / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    data = archive.extractfile(member)
                    assert data is not None
                    with target.open("wb") as file:
                        shutil.copyfileobj(data, file, 1 << 20)
                    target.chmod(member.mode | 0o444)
    for zipped in (folder / "pyspark/python/lib").glob("py4j-*-src.zip"):
        shutil.unpack_archive(zipped, folder)
    for zipped in (folder / "pyspark/python/lib").glob("*.zip"):
        _compile(zipped)


def _compile(zipped: Path) -> None:
    """Add compiled modules to an archive: otherwise each driver and each worker compiles what it imports."""
    new = zipped.with_suffix(".new")
    with zipfile.ZipFile(zipped) as before, zipfile.ZipFile(new, "w") as after, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are the modules' own
        for name in before.namelist():
            data = before.read(name)
            after.writestr(name, data)
            if name.endswith(".py"):
                code = marshal.dumps(compile(data, name, "exec", dont_inherit=True, optimize=0))
                # Not compared with the source, by PEP 552.
                header = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + importlib.util.source_hash(data)
                after.writestr(f"{name}c", header + code)
    new.replace(zipped)


def _place(name: str) -> str:
    """Where a file of the source archive goes, "" for nowhere: as `setup.py` of pyspark has it."""
    if name.startswith("pyspark/"):
        return name
    if name.startswith("lib/"):
        return f"pyspark/python/{name}"
    if name.startswith(("deps/bin/", "deps/sbin/")):
        return f"pyspark/{name[5:]}"
    if name.startswith("deps/jars/") and not _JARS_LEFT_OUT.match(name[10:]):
        return f"pyspark/{name[5:]}"
    return ""


def _make_image(docker: client.Engine, spark: Path) -> None:
    java = _java_home()
    assert java is not None
    paths = "/opt/java/bin:/opt/spark/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    variables = {"JAVA_HOME": "/opt/java", "SPARK_HOME": "/opt/spark", "PATH": paths}
    changes = [f"ENV {name}={value}" for name, value in variables.items()]
    try:
        made = containers.create(docker, {"Image": base_image.REFERENCE, "Cmd": ["none"]})
        try:
            with tempfile.TemporaryFile() as held:
                with tarfile.open(fileobj=held, mode="w") as archive:
                    for path, inside in _files(java, spark):
                        _add(archive, path, inside)
                    settings = tarfile.TarInfo("opt/spark/conf/spark-defaults.conf")
                    settings.size, settings.mode = len(_DEFAULTS), 0o644
                    archive.addfile(settings, io.BytesIO(_DEFAULTS))
                held.seek(0)
                archives.put(docker, made, "/", held)
            images.commit(docker, made, REFERENCE, changes=[*changes, f"LABEL {_LABEL}={_recipe()}"])
        finally:
            containers.remove(docker, made, force=True)
    except TargetError as error:
        raise tools.ToolError("\n".join(error.lines())) from None


def _files(java: Path, spark: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(spark.rglob("*")):
        inside = path.relative_to(spark).as_posix()
        # What the package has beside `python/lib` is for who imports it without spark-submit.
        if path.is_file() and inside.partition("/")[0] in {"bin", "sbin", "jars", "python"}:
            yield path, f"opt/spark/{inside}"
    # Java takes the letters of its arguments as the locale says.
    for path in sorted(Path("/usr/lib/locale").glob("C.utf8/**/*")):
        if path.is_file():
            yield path, str(path).lstrip("/")
    natives = []
    # Debian's own settings and certificates are elsewhere, and links lead there.
    for at, _, names in os.walk(java, followlinks=True):
        for name in names:
            path = Path(at, name)
            inside = path.relative_to(java).as_posix()
            if path.is_file() and not _JAVA_LEFT_OUT.match(inside):
                yield path, f"opt/java/{inside}"
                natives += [path] if ".so" in name or inside == "bin/java" else []
    done = subprocess.run(["ldd", *map(str, natives)], capture_output=True, text=True, check=False)
    for library in sorted(set(re.findall(r"(/\S+\.so\S*) \(0x", done.stdout))):
        if not library.startswith(f"{java}/"):
            yield Path(library), f"{os.path.realpath(Path(library).parent).lstrip('/')}/{Path(library).name}"


def _add(archive: tarfile.TarFile, path: Path, inside: str) -> None:
    entry = tarfile.TarInfo(inside)
    told = path.stat()
    entry.size, entry.mtime = told.st_size, TIME
    entry.mode = 0o755 if told.st_mode & 0o100 else 0o644
    with path.open("rb") as file:
        archive.addfile(entry, file)

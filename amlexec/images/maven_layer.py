"""Download the Maven packages of an environment into its image, with the image's own Spark."""

from __future__ import annotations

import io
import os
import re
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from amlexec.errors import ConfigurationError, TargetError
from amlexec.images.labels import PREFIX
from amlexec.packages import stable_tar
from amlexec.packages.urls import public
from amlexec.runtime import shell
from amlexec.spark import maven, submit_args
from amlexec.tar import Tar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from amlexec.environments.build_context import BuildContext
    from amlexec.environments.build_log import BuildLog
    from amlexec.environments.request import BuildRequest
    from amlexec.images.build_container import BuildContainer

__all__ = ["SCRATCH", "bake", "command", "contents"]

SCRATCH = "/tmp/amlexec-maven"  # noqa: S108 - in a container of this build only
_JARS = "/opt/amlexec/spark/jars"
"""The packages' folder in an image; `runtime/spark.sh` looks there."""
_BAKE = f"""
submit=$(command -v "$1") || submit=$SPARK_HOME/bin/$1
shift
export PYSPARK_PYTHON={PREFIX}/bin/python PYSPARK_DRIVER_PYTHON={PREFIX}/bin/python LC_ALL=C.UTF-8
code=0
"$submit" --master 'local[1]' --name amlexec --conf spark.ui.enabled=false \\
  --conf spark.jars.ivy={SCRATCH}/ivy --conf spark.jars.ivySettings={SCRATCH}/settings.xml \\
  "$@" {SCRATCH}/nothing.py || code=$?
mkdir -p {_JARS}
for jar in {SCRATCH}/ivy/jars/*; do [ ! -e "$jar" ] || mv "$jar" {_JARS}/; done
chmod -R a+rX {_JARS}
rm -rf {SCRATCH}
# The engine uses these two codes for a program that can't be executed.
case $code in 126 | 127) code=1 ;; esac
exit $code
"""
_UNRESOLVED = re.compile(r"unresolved dependency: ([^#\s]+)#([^;\s]+);([^:\s]+): ")
_UNREACHED = re.compile(r"(?:Server access error at url (\S+) \((.*)\)|Host (\S+) not found\. url=(\S+))")


def contents(request: BuildRequest) -> Iterator[tuple[str, str | bytes]]:
    """What the folder SCRATCH has to contain: names, each with a folder of this machine or a file's bytes."""
    roots = []
    for number, repository in enumerate(submit_args.repositories(request.spark)):
        is_folder = repository.lower().startswith("file:")
        roots.append(f"file://{SCRATCH}/{number}" if is_folder else repository)
        if is_folder:
            yield str(number), os.path.realpath(submit_args.folder_of(request.project.root, repository))
    roots += maven.further(request.spark)
    yield "settings.xml", submit_args.ivy_settings(roots).encode()
    yield "nothing.py", b""


def command(request: BuildRequest, submit: str) -> tuple[str, ...]:
    """The command that downloads the packages in an image, with that spark-submit."""
    options = ["--packages", ",".join(submit_args.coordinates(request.spark))]
    if left_out := submit_args.excludes(request.spark):
        options += ["--exclude-packages", ",".join(left_out)]
    return ("sh", "-c", _BAKE, "sh", submit, *options)


def bake(builder: BuildContainer, context: BuildContext, variables: Mapping[str, str]) -> None:
    """Download the packages into the image that `builder` builds; `variables` are the image's.

    Raises:
        ConfigurationError: the image has no Spark, or no repository has a package.
        TargetError: the image has no usable Java, a repository can't be reached, or another failure.
    """
    from amlexec.spark import java_settings

    request, network, log = context.request, context.network, context.log
    with tempfile.TemporaryFile() as file:
        with Tar.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in (*contents(request), *java_settings.files(network).items()):
                _add(archive, f"{SCRATCH}/{name}".lstrip("/"), content)
        file.seek(0)
        builder.put(file)
    builder.start()
    spark = _find_spark(builder, request, variables)
    log.hide(*submit_args.repositories(request.spark))
    settings = {**variables, **java_settings.variables(network, SCRATCH)}
    output = bytearray()

    def keep(chunk: bytes) -> None:
        output.extend(chunk)
        log.write(chunk)

    code = builder.run(command(request, spark.submit), keep, settings)
    if code != 0:
        raise _failure(request, spark, output.decode(errors="replace"), code, log)


def _find_spark(
    builder: BuildContainer, request: BuildRequest, variables: Mapping[str, str]
) -> submit_args.Spark:
    output = bytearray()
    script = Path(shell("spark")).read_text("utf-8")
    builder.run(["sh", "-c", script, "sh", "spark-submit", f"{PREFIX}/bin/python"], output.extend, variables)
    found = submit_args.read(output.decode(errors="replace"))
    where = str(request.spark.place)
    if not found.submit:
        raise ConfigurationError(
            "Maven packages are declared, but the environment has no Spark",
            where=where,
            hint=maven.SPARK_MISSING,
        )
    submit_args.java_must_do(found, where, maven.SPARK_MISSING)
    return found


def _failure(
    request: BuildRequest, spark: submit_args.Spark, output: str, code: int, log: BuildLog
) -> Exception:
    where = str(request.spark.place)
    whole = f"the whole log is {log.path}"
    missing = [":".join(parts) for parts in _UNRESOLVED.findall(output)]
    unreached = {
        public(url or other): why or f"no address for {host}"
        for url, why, host, other in _UNREACHED.findall(output)
    }
    if missing and unreached:
        url, why = next(iter(unreached.items()))
        return TargetError(
            f"a Maven repository that may have {missing[0]} can't be reached: {url}: {why}",
            where=where,
            hint=f"{whole}; DEFAULT_ARTIFACT_REPOSITORY can name another copy of Maven Central",
        )
    if missing:
        scala = re.search(r"_(2\.1\d)", missing[0])
        if scala and spark.scala and scala[1] != spark.scala:
            hint = f"it is for Scala {scala[1]}, but {spark.name} is for {spark.scala}"
        elif not maven.further(request.spark):
            hint = f"only the folders were searched; add {maven.CENTRAL} to repositories to search there too"
        else:
            hint = whole
        return ConfigurationError(
            f"no repository has the Maven package{'s' if missing[1:] else ''} {', '.join(missing)}",
            where=where,
            hint=hint,
        )
    errors = (line for line in reversed(output.splitlines()) if "rror" in line or "Exception" in line)
    last = next(errors, "").strip()
    return TargetError(
        f"the Maven packages could not be downloaded: {last or f'exit code {code}'}",
        where=where,
        hint=whole,
    )


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = stable_tar.EPOCH
    return entry


def _add(archive: tarfile.TarFile, name: str, content: str | bytes) -> None:
    if isinstance(content, str):
        archive.add(content, name, filter=_plain)
        return
    entry = _plain(tarfile.TarInfo(name))
    entry.size, entry.mode = len(content), 0o600
    archive.addfile(entry, io.BytesIO(content))

"""The tables of "When is an environment rebuilt?": every row is applied to the page's project and checked.

The expected results are read from the page; the changes are here. Both must have the same rows.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import amlexec
from amlexec.config import load as config
from amlexec.docker import images
from amlexec.environments import last_prepared
from amlexec.environments.explain import explain
from amlexec.environments.spec import canonical
from amlexec.images.labels import reference
from amlexec.prepare.project import ProjectEnvironments
from tests.support.places import PLACES, DockerProject, RemoteProject, new_base
from tests.support.stage import channels  # noqa: F401 - a fixture
from tests.test_docs import blocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from amlexec.prepare.prepare import Wanted
    from tests.support.hosts import Client, Host
    from tests.support.places import Shop

MANAGED = next(place for place in PLACES if place.name == "managed")
PAGE = Path(__file__).parent.parent / "docs/explanation/when-is-an-environment-rebuilt.md"
CONDA = "aml_config/conda_dependencies.yml"
LOCK = "aml_config/conda_dependencies.lock"
SPARK = "aml_config/spark_dependencies.yml"
JAR = "maven/org/example/shapes_2.12/1.0/shapes_2.12-1.0.jar"


class Row(NamedTuple):
    """A row of the tables."""

    change: str
    rebuilt: str
    printed: str


ROWS = {
    cells[0]: Row(cells[0], cells[1], cells[2].strip("`"))
    for line in PAGE.read_text("utf-8").splitlines()
    if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 3
    if cells[1] in {"yes", "no", "with `--refresh`"}
}


class Table:
    """The page's project."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for _, name, body in blocks(PAGE):
            if name.startswith("table/"):
                self.write(name.removeprefix("table/"), body)
        self.write("wheels/shapes-1.0-py3-none-any.whl", "zip")
        self.write("library/pyproject.toml", "[project]\nname = 'library'\nversion = '1'\n")
        self.write("library/library.py", "SIDES = 4\n")
        self.write(f"{JAR}", "jar")

    def write(self, name: str, text: str) -> None:
        """Write a file, byte for byte."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())

    def edit(self, old: str, new: str, name: str = CONDA) -> None:
        """Replace a text that occurs once."""
        text = (self.root / name).read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} in {name}"
        self.write(name, text.replace(old, new))

    def expect(self) -> tuple[bool, str]:
        """Whether the environment is up to date by its files, and the reason."""
        environments = ProjectEnvironments(config.find_project(self.root))
        found = environments.expect(environments.ref("docker"))
        return found.ready, found.reason

    def wanted(self) -> Wanted:
        """The environment that the files declare."""
        environments = ProjectEnvironments(config.find_project(self.root))
        return environments.wanted(environments.ref("docker"))

    def prepared(self) -> None:
        """Record it as prepared, without an engine."""
        want = self.wanted()
        last = last_prepared.LastPrepared(
            want.digest, want.canonical, "sha256:0", "prepared", "docker", "docker"
        )
        last_prepared.remember(want.project, "docker", last)


def comment(table: Table) -> None:
    table.edit("  - pandas>=2\n", "\n  # Two or later.\n  - pandas>=2  # as agreed\n\n")


def conda_order(table: Table) -> None:
    table.edit("  - numpy=1.26\n  - pandas>=2\n", "  - pandas>=2\n  - numpy=1.26\n")


def quotes(table: Table) -> None:
    table.edit(
        "  - conda-forge\n  - bioconda\n", "    - &first 'conda-forge'\n    - \"bioconda\"\n    - *first\n"
    )
    table.edit("  - numpy=1.26\n", "  - >-\n    numpy=1.26\n")


def line_endings(table: Table) -> None:
    for name in (CONDA, "requirements.txt"):
        text = (table.root / name).read_text("utf-8")
        table.write(name, "\ufeff" + text.replace("\n", "\r\n"))


def other_name(table: Table) -> None:
    table.edit("name: shapes", "name: forms")


def other_spelling(table: Table) -> None:
    table.edit("numpy=1.26", "NumPy =1.26.*")


def other_place(table: Table) -> None:
    table.write("environments/training.yml", (table.root / CONDA).read_text("utf-8"))
    (table.root / CONDA).unlink()
    table.edit(CONDA, "environments/training.yml", "aml_config/docker.runconfig")


def moved_in(table: Table) -> None:
    table.edit("      - -r requirements.txt\n", "      - idna==3.7\n      - rich\n")


def code(table: Table) -> None:
    table.write("train.py", "print('another')\n")
    table.write("data.csv", "1,2\n")


def run_settings(table: Table) -> None:
    table.edit("LEVEL: info", "LEVEL: debug", "aml_config/docker.runconfig")
    table.edit("[$file]", "[train.py, --rate, '2']", "aml_config/docker.runconfig")


def target_settings(table: Table) -> None:
    table.edit(
        "sharedVolumes: true\n",
        "sharedVolumes: false\nnativeSharedDirectory: ~/elsewhere\n",
        "aml_config/docker.compute",
    )


def built_beside(table: Table) -> None:
    for name in ("build/lib/library.py", "library.egg-info/PKG-INFO", "__pycache__/library.cpython-312.pyc"):
        table.write(f"library/{name}", "made")


def replace(old: str, new: str, name: str = CONDA) -> Callable[[Table], None]:
    return lambda table: table.edit(old, new, name)


IN_FILES: dict[str, Callable[[Table], None]] = {
    "a comment, an empty line": comment,
    "the order of the conda packages": conda_order,
    "quotes, anchors, another indentation": quotes,
    "line endings, a byte order mark": line_endings,
    "the `name:`": other_name,
    "an equivalent spelling: `NumPy =1.26.*`": other_spelling,
    "the file has another name, or another folder": other_place,
    "the lines of `requirements.txt` move into the pip section": moved_in,
    "another version of a conda package": replace("numpy=1.26", "numpy=2.0"),
    "a conda package is added": replace("  - pandas>=2", "  - scipy\n  - pandas>=2"),
    "a conda package is removed": replace("  - pandas>=2\n", ""),
    "a channel is added": replace("  - bioconda\n", "  - bioconda\n  - pytorch\n"),
    "the order of the channels: the first wins": replace(
        "  - conda-forge\n  - bioconda\n", "  - bioconda\n  - conda-forge\n"
    ),
    "another version in the pip section": replace("polars==1.9.0", "polars==1.10.0"),
    "the order of the pip section: an option affects the lines after it": replace(
        "      - -r requirements.txt\n      - polars==1.9.0\n",
        "      - polars==1.9.0\n      - -r requirements.txt\n",
    ),
    "another version in `requirements.txt`": replace("idna==3.7", "idna==3.10", "requirements.txt"),
    "a comment in `requirements.txt`": replace("# What", "# All that", "requirements.txt"),
    "the content of a wheel in the project": replace("zip", "zap", "wheels/shapes-1.0-py3-none-any.whl"),
    "the source of a package installed with `-e`, or from its folder": replace(
        "4", "5", "library/library.py"
    ),
    "build artifacts in that source: `build`, `*.egg-info`, `__pycache__`": built_beside,
    "`baseDockerImage` names another image": replace(
        "debian:bookworm-slim", "debian:trixie-slim", "aml_config/docker.compute"
    ),
    "`sharedVolumes`, `nativeSharedDirectory`": target_settings,
    "the project's code and data: images don't contain them": code,
    "`EnvironmentVariables`, `ArgumentVector`, the command line": run_settings,
}


WITH_SPARK: dict[str, Callable[[Table], None]] = {
    "another version of a Maven package": replace('"1.0"', '"1.1"', SPARK),
    "a Maven package is added": replace(
        '"1.0"\n', '"1.0"\n  - {group: org.example, artifact: forms_2.12, version: "1.0"}\n', SPARK
    ),
    "another Maven repository": replace("maven.example.org/releases", "mirror.example.org", SPARK),
    "the content of a package in the folder `maven`": replace("jar", "jars", JAR),
    "`Framework: Python`, which does not use them": replace(
        "PySpark", "Python", "aml_config/docker.runconfig"
    ),
    "`pyspark=3.4` in the conda dependencies, instead of what the default base image gets": replace(
        "  - numpy=1.26\n", "  - pyspark=3.4\n  - numpy=1.26\n"
    ),
    "a Spark property, unless it names or excludes packages": replace("2g", "4g", SPARK),
}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """The page's project, prepared."""
    made = Table(tmp_path / "table")
    made.prepared()
    assert made.expect()[0]
    return made


def holds(row: Row, *, ready: bool, reason: str) -> None:
    """Assert the result of a row."""
    assert (ready, "" if ready else reason) == (row.rebuilt == "no", row.printed), row.change


@pytest.mark.parametrize("change", IN_FILES)
def test_a_change_in_files(change: str, table: Table) -> None:
    IN_FILES[change](table)
    ready, reason = table.expect()
    holds(ROWS[change], ready=ready, reason=reason)


@pytest.mark.parametrize("change", WITH_SPARK)
def test_a_change_in_the_spark_dependencies(change: str, table: Table) -> None:
    table.edit("Python", "PySpark", "aml_config/docker.runconfig")
    table.prepared()
    WITH_SPARK[change](table)
    ready, reason = table.expect()
    holds(ROWS[change], ready=ready, reason=reason)


def test_how_packages_are_reached(table: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificates")
    condarc = tmp_path / ".condarc"
    condarc.write_text("channel_alias: https://mirror.example.org\n")
    for name, value in {
        "HTTPS_PROXY": "http://proxy.example.org:3128",
        "SSL_CERT_FILE": str(bundle),
        "PIP_INDEX_URL": "https://mirror.example.org/simple",
        "CONDARC": str(condarc),
    }.items():
        monkeypatch.setenv(name, value)
    ready, reason = table.expect()
    change = "proxies, certificates, `PIP_INDEX_URL`, `~/.condarc`: how packages are downloaded, not which"
    holds(ROWS[change], ready=ready, reason=reason)


@pytest.mark.parametrize(
    ("channel", "name", "change"),
    [
        (
            "file:///channels/${WHICH}",
            "WHICH",
            "a `${VARIABLE}` in a channel or in the pip section has another value",
        ),
        (
            "https://${USER}:${TOKEN}@conda.example.org/c",
            "TOKEN",
            "a `${VARIABLE}` that is a login has another value: `https://${USER}:${TOKEN}@host/`",
        ),
    ],
)
def test_a_variable(
    channel: str, name: str, change: str, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv(name, "old")
    table.edit("  - bioconda\n", f"  - {channel}\n")
    table.prepared()
    monkeypatch.setenv(name, "new")
    ready, reason = table.expect()
    holds(ROWS[change], ready=ready, reason=reason)


def test_another_amlexec(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amlexec, "__version__", "99.0")
    ready, reason = table.expect()
    holds(ROWS["a new version of amlexec"], ready=ready, reason=reason)


def of_value(change: str, table: Table, **changed: object) -> None:
    """A row about a part of the value that is in no file."""
    spec = table.wanted().request.spec
    other = canonical(spec._replace(**changed))  # type: ignore[arg-type]
    assert canonical(spec) != other
    row = ROWS[change]
    assert (row.rebuilt, row.printed) == ("yes", explain(canonical(spec), other, spec.places))


def test_another_recipe(table: Table) -> None:
    of_value("a new version of amlexec that builds environments differently", table, recipe=2)


def test_another_processor(table: Table) -> None:
    other = table.wanted().request.spec.platform._replace(subdir="linux-aarch64")
    of_value("the engine has another processor architecture", table, platform=other)


@pytest.fixture
def docker(tmp_path: Path, shop: Shop, channels: str) -> DockerProject:  # noqa: F811
    """A project on the engine, with packages of the tests' channel and its own base image."""
    conda = shop.conda("idna", channel=f"{channels}/conda-forge")
    made = DockerProject(tmp_path / "rebuilt", shop, conda=conda)
    images.tag(shop.engine, shop.base, own_base(made))
    made.write("aml_config/docker.compute", made.compute(base=own_base(made)))
    return made


def own_base(project: DockerProject) -> str:
    return f"amlexec-test/rebuilt:{project.shop.session}-{project.root.parent.name.lower()}"


def looked(row: Row, project: DockerProject) -> None:
    """What a row says is what `--check` says."""
    done = project.prepare("--check")
    assert done.code in {0, 1}, done.err
    told = done.out.removeprefix("docker: ").removeprefix("not ready: ").rstrip("\n")
    holds(row, ready=not done.code, reason=told)


def done(project: DockerProject, *arguments: str) -> str:
    """Prepare; the printed line."""
    prepared = project.prepare(*arguments)
    assert prepared.code == 0, prepared.err
    return str(prepared.out)


def test_the_lock_file(docker: DockerProject) -> None:
    table = Table.__new__(Table)
    table.root = docker.root
    assert docker.amlexec("lock", "-c", "docker").code == 0
    new = (docker.root / LOCK).read_text("utf-8")
    old = new.replace("idna-3.10-", "idna-3.7-")
    assert old != new
    for before, after, change in (
        ("", new, "the lock file appears"),
        (old, new, "a package is upgraded in the lock file"),
        (new, "", "the lock file is deleted"),
    ):
        for text in (before, after):
            (docker.root / LOCK).unlink(missing_ok=True)
            if text:
                docker.write(LOCK, text)
            if text == before:
                table.prepared()
        ready, reason = table.expect()
        holds(ROWS[change], ready=ready, reason=reason)


def test_the_engine(docker: DockerProject, shop: Shop) -> None:
    killed = docker.start(
        sys.executable, "-m", "amlexec", "experiment", "prepare", "-c", "docker", stderr=subprocess.PIPE
    )
    assert killed.stderr is not None
    while b"solving" not in killed.stderr.readline():
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    looked(ROWS["a build was killed half-way"], docker)

    done(docker)
    digest = docker.prepare("--print-digest").out.strip()
    shutil.rmtree(docker.root / ".amlexec")
    looked(ROWS["`.amlexec` was removed"], docker)
    other = DockerProject(docker.root.parent / "twin", shop, conda=(docker.root / CONDA).read_text("utf-8"))
    other.write("aml_config/docker.compute", other.compute(base=own_base(docker)))
    looked(ROWS["another project has the same dependencies"], other)

    done(docker)
    images.tag(shop.engine, shop.base, reference(digest))
    looked(ROWS["an image with another label has the name of the environment"], docker)
    done(docker)
    images.remove(shop.engine, reference(digest))
    looked(ROWS["the image was removed"], docker)


def test_a_machine_over_ssh(shop: Shop, client: Client, host: Host, tmp_path: Path) -> None:
    client.knows(host)
    client.configure("127.0.0.1", f"IdentityFile {host.key}", "IdentitiesOnly yes")
    made = RemoteProject(tmp_path / "rebuilt", shop, MANAGED, host)
    made.write(CONDA, shop.conda("tabulate", f"six>=0.0.{tmp_path.stat().st_ino}"))
    killed = made.start(sys.executable, "-m", "amlexec", "experiment", "prepare", "-c", "managed")
    assert killed.stderr is not None
    while b"solving" not in killed.stderr.readline():
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    over_ssh(ROWS["a preparation on the machine was killed half-way"], made)
    done(made)
    over_ssh(ROWS["`nativeSharedDirectory` on that machine"], made)
    folder = made.prepare("-o", "json").out.partition('"folder": "')[2].partition('"')[0]
    for row, gone in (
        ("the Python in that folder was removed", f"{folder}/bin/python"),
        ("the environment's folder on the machine was removed", folder),
    ):
        host.ssh(f"rm -r {gone}")
        over_ssh(ROWS[row], made)


def over_ssh(row: Row, project: RemoteProject) -> None:
    """What a row says is what `--check` says."""
    if row.rebuilt == "no":
        text = project.compute('nativeSharedDirectory: "~/elsewhere/"')
        project.write("aml_config/managed.compute", text)
    found = project.prepare("--check")
    told = found.out.removeprefix("managed: ").removeprefix("not ready: ").rstrip("\n")
    holds(row, ready=not found.code, reason=told.replace("managed", "gpubox"))


def test_a_base_image_that_moves(docker: DockerProject, shop: Shop) -> None:
    done(docker)
    new_base(shop.engine, shop.base, own_base(docker), "newer=true")
    row = ROWS["the registry has a newer image under the same tag"]
    assert row.rebuilt == "with `--refresh`"
    assert docker.prepare("--check").code == 0
    told = row.printed.replace("debian:bookworm-slim", own_base(docker))
    assert done(docker, "--refresh") == f"docker: prepared: {told}\n"
    assert docker.prepare("--check").code == 0


def test_every_row_is_tested() -> None:
    """Rows with their own test are named in this file, word for word."""
    parts = ast.walk(ast.parse(Path(__file__).read_text("utf-8")))
    named = {part.value for part in parts if isinstance(part, ast.Constant)}
    assert [change for change in ROWS if change not in named] == []
    assert len(ROWS) > len(IN_FILES)

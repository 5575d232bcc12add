"""Variables in dependencies: values that decide what is installed count, logins never do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from amlexec.config import load as config
from amlexec.environments.explain import explain
from amlexec.environments.spec import canonical, spec_of
from amlexec.errors import ConfigurationError
from amlexec.packages.platforms import DEFAULT
from amlexec.packages.urls import expand_public, is_loopback
from amlexec.prepare import prepare as preparation
from amlexec.values import ComputeTarget, Place, Project

if TYPE_CHECKING:
    from pathlib import Path

FILE = "aml_config/conda_dependencies.yml"


def value(root: Path, text: str) -> bytes:
    """The canonical value of a dependencies file, or of a line of a requirements file."""
    (root / "aml_config").mkdir(exist_ok=True)
    if "dependencies:" not in text:
        (root / "requirements.txt").write_text(text, "utf-8")
        text = pip("-r requirements.txt")
    (root / FILE).write_text(text, "utf-8")
    project = Project(str(root))
    return canonical(spec_of(project, "debian:12", config.load_conda(project, FILE), DEFAULT))


def channel(text: str) -> str:
    return f"channels: ['{text}']\ndependencies: [six]\n"


def spec(text: str) -> str:
    return f'channels: [a]\ndependencies: ["{text}"]\n'


def pip(text: str) -> str:
    return f"channels: [a]\ndependencies:\n  - pip:\n    - '{text}'\n"


SAYS_WHAT = {
    "channel path": channel("file:///x/${WHICH}"),
    "channel host": channel("https://${WHICH}.example.org/c"),
    "channel as a whole": channel("${WHICH}"),
    "channel beside a login": channel("https://u:${TOKEN}@h/${WHICH}"),
    "conda package": spec("https://h/${WHICH}/six-1.17.0-py_0.conda"),
    "requirement": "six==${WHICH}",
    "extra": "dask[${WHICH}]",
    "marker": "six ; python_version < '${WHICH}'",
    "index": pip("--index-url https://h/${WHICH}/simple"),
    "index host": pip("--extra-index-url https://u:${TOKEN}@${WHICH}/simple"),
    "packages": pip("--find-links https://h/${WHICH}"),
    "repository": pip("git+https://${TOKEN}@h/r.git@${WHICH}"),
    "address": pip("six @ https://h/${WHICH}/six-1.17.0-py2.py3-none-any.whl"),
    "option": pip("--no-binary ${WHICH}"),
    "secret by its name, and no part of an address": "six==${KEY}",
}
SAYS_WHO = {
    "channel": channel("https://${LOGIN}@h/c"),
    "channel, both halves": channel("https://${USER}:${LOGIN}@h/c"),
    "channel token": channel("https://h/t/${LOGIN}/c"),
    "conda package": spec("https://u:${LOGIN}@h/c/six-1.17.0-py_0.conda"),
    "index": pip("--index-url https://u:${LOGIN}@h/simple"),
    "index path": pip("--index-url https://h/${LOGIN_TOKEN}/simple"),
    "signature": pip("https://h/six-1.17.0-py2.py3-none-any.whl?sig=${LOGIN}"),
    "repository": pip("git+https://${LOGIN}@h/r.git"),
}


@pytest.mark.parametrize("text", SAYS_WHAT.values(), ids=SAYS_WHAT)
def test_values_that_decide_what_is_installed_count(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "hidden")
    found = {}
    for which in ("1.16", "1.17"):
        monkeypatch.setenv("WHICH", which)
        monkeypatch.setenv("KEY", which)
        found[which] = value(tmp_path, text)
        assert b"hidden" not in found[which]
        assert found[which] == value(tmp_path, text.replace("${WHICH}", which).replace("${KEY}", which))
    assert found["1.16"] != found["1.17"]
    assert explain(found["1.16"], found["1.17"])


@pytest.mark.parametrize("text", SAYS_WHO.values(), ids=SAYS_WHO)
@pytest.mark.parametrize("login", ["other", "wi/th", "an@ot:her", ""])
def test_logins_do_not_count(text: str, login: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGIN", "hidden")
    monkeypatch.setenv("LOGIN_TOKEN", "hidden")
    first = value(tmp_path, text)
    assert b"hidden" not in first
    monkeypatch.setenv("LOGIN", login)
    monkeypatch.setenv("LOGIN_TOKEN", login)
    assert value(tmp_path, text) == first


def test_another_home_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for home in ("/home/a", "/home/b"):
        monkeypatch.setenv("HOME", home)
        found |= {value(tmp_path, channel("~/c")), value(tmp_path, channel("file://${HOME}/c"))}
    assert len(found) == 4


def test_requirements_files_and_constraints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.txt").write_text("six==${WHICH}  # ${NOTHING}\n-c c-${WHICH}.txt\n")
    text = "dependencies:\n  - pip:\n    - -r ${WHERE}/r.txt\n"
    found = []
    for which in ("1.16", "1.17"):
        (tmp_path / f"c-{which}.txt").write_text("idna<4")
        monkeypatch.setenv("WHICH", which)
        monkeypatch.setenv("WHERE", str(tmp_path))
        found.append(value(tmp_path, text))
    assert found[0].replace(b"1.16", b"1.17") == found[1]
    assert b"constraint-requirement" in found[0]


@pytest.mark.parametrize(
    "text", [channel("file:///x/${NOBODY}/c"), spec("https://h/${NOBODY}/six-1-0.conda")]
)
def test_a_variable_that_is_not_set(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        value(tmp_path, text)
    first, hint = caught.value.lines()
    assert first.startswith(f"{FILE}:")
    assert first.endswith("has a variable that is not set: NOBODY")
    assert hint == "  hint: set NOBODY, or write its value"


def test_parts_of_a_text() -> None:
    variables = {"A": "1", "B": "2", "TOKEN": "3"}
    told = "x ${A} https://${A}:${B}@${B}/${TOKEN}/${A} --o=${TOKEN} ${TOKEN} ${C}"
    assert expand_public(told, variables) == "x 1 https://${A}:${B}@2/${TOKEN}/1 --o=${TOKEN} 3 ${C}"


@pytest.mark.parametrize(
    "address",
    [
        *("http://localhost/c", "http://LOCALHOST:8000", "https://u:p@127.0.0.1:3128/c", "http://[::1]:80/"),
        *(
            "http://127.1/c",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://a.localhost/",
        ),
        *(
            "--index-url http://127.0.0.9/simple",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost.",
        ),
    ],
)
def test_this_machine(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://127.example.org",
            "http://localhost.example.org/c",
            "http://127.0.0.1@evil/",
            "http://128.0.0.1",
            "http://0.0.0.0:80/",
        ),
        *(
            "http://h/?x=://localhost",
            "http://127.0.0.1.nip.example/",
            "/127.0.0.1",
            "http://127.0.0.1:80@evil/c",
        ),
        *(
            "http://mylocalhost/",
            "http://[::2]/",
            "http://10.0.0.127/",
            "http://face.be/",
            "file:///127.0.0.1",
        ),
    ],
)
def test_another_machine(address: str) -> None:
    assert not is_loopback(address)


def test_a_relative_shared_folder_is_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "demo"
    (root / "shared/demo").mkdir(parents=True)
    (root / "shared/demo/six-1.17.0-py2.py3-none-any.whl").write_bytes(b"wheel")
    (root / "aml_config").mkdir()
    (root / FILE).write_text(pip("/azureml-share/six-1.17.0-py2.py3-none-any.whl"))
    project = Project(str(root))
    target = ComputeTarget("docker", "docker", Place("x"), native_shared_directory="shared")
    found = set()
    for folder in (root, tmp_path, root / "aml_config"):
        monkeypatch.chdir(folder)
        found.add(preparation.wanted(project, "docker", target, FILE).digest)
        assert target.shared_folder(project) == f"{root}/shared/demo"
    assert len(found) == 1

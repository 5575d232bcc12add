"""Each violation in a file is reported once, in plain words, with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from amlexec.config import schemas
from amlexec.config.document import read
from amlexec.config.messages import either, nearest, shown
from amlexec.config.validate import Checked, Checker
from amlexec.errors import ConfigurationError


def check(text: str, kind: str = schemas.RUNCONFIG, *, lint: bool = False, strict: bool = False) -> Checked:
    return Checker(lint=lint, strict=strict).check(read(text.encode(), "f"), kind)


def said(text: str, kind: str = schemas.RUNCONFIG, *, lint: bool = False, strict: bool = False) -> list[str]:
    return [
        line.strip()
        for violation in check(text, kind, lint=lint, strict=strict).violations
        for line in violation.lines()
    ]


@pytest.mark.parametrize("kind", schemas.KINDS)
def test_schemas_are_what_the_reader_relies_on(kind: str) -> None:
    """They have no references, so that a value and its schema can be walked side by side."""
    schema = json.loads(schemas.text(kind))
    Draft202012Validator.check_schema(schema)
    for part in [schema, *schema.get("$defs", {}).values()]:
        assert "$ref" not in json.dumps(
            {name: value for name, value in part.items() if name not in {"then", "else", "$defs"}}
        )


@pytest.mark.parametrize("word", ["true", "Yes", "ON", "tRuE"])
def test_booleans_are_the_words_of_yaml(word: str) -> None:
    checked = check(f"Target: a\nTrackedRun: {word}\n")
    assert checked.violations == ()
    assert checked.reading is not None
    assert checked.reading["runconfig"]["tracked_run"] is True


@pytest.mark.parametrize("word", ["1", "y", "true.", "truee", "[true]", "{a: b}"])
def test_nothing_else_is_a_boolean(word: str) -> None:
    (line, *_) = said(f"Target: a\nTrackedRun: {word}\n")
    assert line.startswith("f:2:13: error: TrackedRun is ")
    assert line.endswith("; expected true or false")


@pytest.mark.parametrize(
    ("word", "good"),
    [
        ("3", True),
        ("010", True),
        ("3.0", False),
        ("3_0", False),
        ("0x3", False),
        ("1:30", False),
        ("0", False),
    ],
)
def test_whole_numbers_are_decimal_digits(word: str, good: bool) -> None:
    checked = check(f"type: batchai\nnodeCount: {word}\n", schemas.COMPUTE)
    assert (checked.reading is not None) is good
    if checked.reading is not None:
        assert checked.reading["compute"]["node_count"] == int(word)


def test_a_quoted_boolean_is_taken_with_a_warning() -> None:
    checked = check('Target: a\nTrackedRun: "false"\n')
    assert [one.severity for one in checked.violations] == ["warning"]
    assert checked.reading is not None
    assert checked.reading["runconfig"]["tracked_run"] is False


def test_all_violations_at_once_and_sorted() -> None:
    assert said("Framwork: Python\nTrackedRun: 7\nArgumentVector: a.py\nEnvironmentVariables: [A]\n") == [
        "f:1:1: error: unknown key 'Framwork'",
        "hint: did you mean Framework?",
        "f:2:13: error: TrackedRun is '7'; expected true or false",
        "f:3:17: error: ArgumentVector is 'a.py'; expected a list",
        "hint: write each item on its own line, after '- '",
        "f:4:23: error: EnvironmentVariables is a list; expected a map of keys and values",
    ]


@pytest.mark.parametrize(
    ("key", "severity", "hint"),
    [
        ("Targt", "error", "did you mean Target?"),
        ("Tagret", "error", "did you mean Target?"),
        ("target", "error", "did you mean Target?"),
        ("Environment Variables", "error", "did you mean EnvironmentVariables?"),
        ("environment_variables", "error", "did you mean EnvironmentVariables?"),
        ("CondaDependencies", "warning", "did you mean CondaDependenciesFile?"),
        ("Colour", "warning", ""),
    ],
)
def test_unknown_keys(key: str, severity: str, hint: str) -> None:
    text = f"Framework: Python\n{key}: a\n"
    (violation,) = check(text).violations
    assert (violation.severity, violation.hint, violation.place.line) == (severity, hint, 2)
    (violation,) = check(text, strict=True).violations
    assert violation.severity == "error"


def test_a_misspelled_required_key_is_reported_once() -> None:
    assert said("type: remote\nadress: a\nusername: b\n", schemas.COMPUTE) == [
        "f:2:1: error: unknown key 'adress'",
        "hint: did you mean address?",
    ]


def test_required_keys() -> None:
    assert said("type: cluster\nusername:\n", schemas.COMPUTE) == [
        "f: error: address is missing; a target of type cluster needs it",
        "f:2:10: error: username is empty; a target of type cluster needs it",
    ]


def test_a_place_inside_lists_and_maps() -> None:
    text = "packages:\n  - group: g\n    artifact: a\n    version: [1]\n  - group: g\n"
    assert said(text, schemas.SPARK)[0] == "f:4:14: error: packages[0].version is a list; expected text"
    assert "f:5:5: error: packages[1].artifact is missing" in said(text, schemas.SPARK)


def test_a_null_in_a_list() -> None:
    assert said("Target: a\nArgumentVector:\n  -\n")[0].endswith("ArgumentVector[0] is empty; expected text")


def test_names_of_environment_variables() -> None:
    (line,) = said("EnvironmentVariables:\n  A=B: 1\n")
    assert line.startswith("f:2:3: error: 'A=B' can't be a name in EnvironmentVariables; expected letters")


def test_a_value_that_swallowed_the_next_line() -> None:
    lines = said("Target: a\nTrackedRun: true\n  and more\n")
    assert lines == [
        "f:2:13: error: TrackedRun is 'true and more'; expected true or false",
        "hint: the value continues to line 3: check the end of line 2",
    ]


@pytest.mark.parametrize("password", ["hunter2", "[hunter2]", "{hunter2: x}", '" hunter2"'])
@pytest.mark.parametrize("lint", [True, False])
def test_a_password_is_never_shown(password: str, lint: bool) -> None:
    text = f"type: remote\naddress: a\nusername: b\npassword: {password}\n"
    lines = said(text, schemas.COMPUTE, lint=lint)
    assert lines
    assert "hunter2" not in "\n".join(lines)


def test_a_plain_password_runs_and_fails_lint() -> None:
    text = "type: remote\naddress: a\nusername: b\npassword: x\n"
    assert [one.severity for one in check(text, schemas.COMPUTE).violations] == ["warning"]
    assert [one.severity for one in check(text, schemas.COMPUTE, lint=True).violations] == ["error"]


@pytest.mark.parametrize("handle", ["AzureMlSecret=a#b#c", "AzureMlSecret=0f8e", "gpu#ada#" + "0f" * 16])
def test_a_handle_of_the_closed_vault(handle: str) -> None:
    text = f"type: remote\naddress: a\nusername: b\npassword: {handle}\n"
    (violation,) = check(text, schemas.COMPUTE, lint=True).violations
    assert violation.severity == "note"
    assert "closed" in violation.message
    assert "OpenSSH" in violation.hint


def test_notes_are_for_lint() -> None:
    text = "Target: a\nUseSampling: true\nDataSourceSubstitutions: {a.dsource: b.dsource}\nCondaFile: c.yml\n"
    assert check(text).violations == ()
    keys = [one.key for one in check(text, lint=True).violations]
    assert keys == ["Framework", "UseSampling", "DataSourceSubstitutions", "CondaFile"]


def test_azureml_core_is_checked_under_its_own_names() -> None:
    text = "script: a.py\nenvironment:\n  docker:\n    enabled: perhaps\n    baseimage: x\nnodeCount: 2\n"
    assert said(text, lint=True)[:3] == [
        "f:4:14: error: environment.docker.enabled is 'perhaps'; expected true or false",
        "f:5:5: error: unknown key 'baseimage' in environment.docker",
        "hint: did you mean baseImage?",
    ]


def test_azureml_core_dependencies_inside_are_checked() -> None:
    text = "script: a.py\nenvironment:\n  python:\n    condaDependencies:\n      dependencies: [json, [x]]\n"
    lines = said(text)
    assert "f:5:22: error: 'json' is a module of Python's standard library, not a conda package" in lines
    assert any("environment.python.condaDependencies: dependencies[1] is a list" in line for line in lines)


SPECS = """python=3.5.2
numpy>=1.13
numpy >=1.8,<2
numpy 1.8*
numpy=1.11.1|1.11.3
python=3.5.2=0
scikit-learn
libpng=1.2
conda-forge::numpy
conda-forge/linux-64::numpy=1.2
tensorflow=2.*=gpu*
pytorch[version='>=2']
_libgcc_mutex
python==3.6.2
dataclasses
https://conda.example.org/noarch/x-1.0-0.conda
""".splitlines()


@pytest.mark.parametrize("spec", SPECS)
def test_conda_specs(spec: str) -> None:
    assert said(json.dumps({"dependencies": [spec]}), schemas.CONDA) == []


@pytest.mark.parametrize(
    "spec",
    [
        "numpy==",
        "numpy=",
        "python: 3.5",
        "==1.0",
        "-r x.txt",
        "os",
        "pip install x",
        "a b c d",
        "https://x.example.org/a.whl",
        "dask[complete]",
        "numpy=>1",
        "x" * 2000,
        "x " + "(" * 900,
    ],
)
def test_invalid_conda_specs(spec: str) -> None:
    assert "error" in said(json.dumps({"dependencies": [spec]}), schemas.CONDA)[0]


REQUIREMENTS = """polars
.[dev]
polars==1.9.0
numpy>=1.20,<2
numpy ~= 1.20
numpy (>=1.20)
requests[security,socks]>=2.8.1
azure-ml-api-sdk==0.1.0a11
azureml.datacollector==0.1.0a13
scipy==1.0.0b1  # why
x; python_version < "3.8" and sys_platform == "linux"
x==1.*
x @ https://files.example.org/x-1.0-py3-none-any.whl
https://files.example.org/x-1.0-py3-none-any.whl?sv=1&sig=%2B
git+https://git.example.org/x.git@main#egg=x
--index-url https://packages.example.org/simple
-r requirements.txt
-e .
/azureml-share/x.whl
C:\\temp\\x.whl
./wheels/x-1.0-py3-none-any.whl
wheels/x-1.0-py3-none-any.whl
x==1.0 --hash=sha256:00ff
""".splitlines()


@pytest.mark.parametrize("line", REQUIREMENTS)
def test_pip_lines(line: str) -> None:
    assert said(json.dumps({"dependencies": [{"pip": [line]}]}), schemas.CONDA) == []


@pytest.mark.parametrize("line", ["x=1.0", "x==", "pip install x", "x==1.0#2", "x y", "==", "x<=3.20.*"])
def test_invalid_pip_lines(line: str) -> None:
    assert (
        "is not a pip requirement" in said(json.dumps({"dependencies": [{"pip": [line]}]}), schemas.CONDA)[0]
    )


EXPORTED = [
    "readline=8.2",
    "zlib=1.2.8=3",
    "gettext=0.21.0=h39681ba_1",
    "conda-forge::json",
    "readline",
    "gzip",
]
EXPORTED += ["tk", "sqlite", "time", "datetime", "io=1.0", "json >=2", "curses", "typing"]


@pytest.mark.parametrize("spec", EXPORTED)
def test_a_package_with_the_name_of_a_module(spec: str) -> None:
    assert said(json.dumps({"dependencies": [spec]}), schemas.CONDA) == []


@pytest.mark.parametrize("name", ["io", "os", "json", "pickle", "sys", "re", "math", "itertools"])
def test_a_module_that_is_not_a_package(name: str) -> None:
    lines = said(json.dumps({"dependencies": [name]}), schemas.CONDA)
    assert lines == [
        f"f:1:19: error: '{name}' is a module of Python's standard library, not a conda package",
        "hint: remove the line",
    ]


def test_a_module_that_may_be_a_package_is_no_error() -> None:
    lines = said("dependencies: [tempfile]", schemas.CONDA)
    message = "'tempfile' is a module of Python's standard library, probably not a conda package"
    assert lines[0] == f"f:1:16: warning: {message}"


ANYTHING = [
    '"Run here.\\nML\\tframeworks\\a"',
    "[1, {a: b}]",
    "{a: [1]}",
    "~",
    "true",
    "1.5",
    "''",
    "a\n  b:c",
]
IGNORED_KEYS = [
    (schemas.RUNCONFIG, "Target: a\nFramework: Python\n", key)
    for key in ("Description", "UseSampling", "DataSourceSettings", "CondaFile", "ManagedEnvironment")
]
IGNORED_KEYS += [
    (schemas.RUNCONFIG, "script: a.py\n", key)
    for key in (
        "communicator",
        "nodeCount",
        "jobName",
        "dataReferences",
        "amlcompute",
        "mpi",
        "data",
        "command",
    )
]
IGNORED_KEYS += [
    (schemas.CONDA, "dependencies: []\n", key)
    for key in ("name", "prefix", "variables", "platforms", "category")
]
IGNORED_KEYS += [(schemas.SPARK, "packages: []\n", "version"), (schemas.COMPUTE, "type: local\n", "Colour")]


@pytest.mark.parametrize(("kind", "base", "key"), IGNORED_KEYS)
@pytest.mark.parametrize("value", ANYTHING)
def test_an_ignored_key_is_never_an_error(kind: str, base: str, key: str, value: str) -> None:
    document = read(f"{base}{key}: {value}\n".encode(), "f", lenient=True)
    checked = Checker(lint=True).check(document, kind)
    assert [one for one in checked.violations if one.severity == "error"] == []
    assert checked.reading is not None


@pytest.mark.parametrize("key", ["description", "Discription", "usesampling"])
def test_a_typing_mistake_in_an_ignored_key_is_a_warning(key: str) -> None:
    (violation,) = check(f"Target: a\n{key}: x\n").violations
    assert (violation.severity, violation.hint[:12]) == ("warning", "did you mean")


def test_a_control_character_is_an_error_where_the_form_is_checked() -> None:
    (line, _) = said('Target: "a\\nb"\n')
    assert line == "f:1:9: error: Target contains a control character"


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("address", "<vm>.<region>.cloudapp.azure.com", "address is the placeholder"),
        ("address", "YOUR_VM", "address is the placeholder"),
        ("address", "xxx.xxx.xxx.xxx", "address is the placeholder"),
        ("address", "${VM}", "address is a template"),
        ("username", "<user>", "username is the placeholder"),
        ("baseDockerImage", "<registry>/image", "baseDockerImage is the placeholder"),
        (
            "baseDockerImage",
            "Debian Slim",
            "baseDockerImage is 'Debian Slim', which is not a valid image name",
        ),
        ("address", "https://host", "address 'https://host' is not a host"),
        ("username", "ada lovelace", "username 'ada lovelace' is not a valid user name"),
        ("password", "<use_secrets>", "password is a placeholder"),
    ],
)
def test_values_that_are_placeholders(key: str, value: str, word: str) -> None:
    values = {"type": "remotedocker", "address": "host", "username": "ada", key: value}
    lines = said(json.dumps(values), schemas.COMPUTE, lint=True)
    assert [line for line in lines if "error" in line] == [next(line for line in lines if word in line)]


@pytest.mark.parametrize("kind", ["docker", "remotedocker"])
def test_a_container_whose_environment_is_said_to_be_the_users_own(kind: str) -> None:
    values = f"type: {kind}\naddress: host\nusername: ada\nbaseDockerImage: debian\n"
    message = "userManagedEnvironment has no effect in a container"
    (line,) = (
        line for line in said(f"{values}userManagedEnvironment: yes\n", schemas.COMPUTE) if message in line
    )
    assert line.startswith(f"f:5:25: warning: {message}")
    for text in (f"{values}userManagedEnvironment: false\n", "type: remote\nuserManagedEnvironment: true\n"):
        assert not [line for line in said(text, schemas.COMPUTE) if message in line]


@pytest.mark.parametrize("key", ["Target", "target"])
def test_a_target_that_is_a_placeholder(key: str) -> None:
    lines = said(f"{key}: <put your compute target name here>\n")
    assert lines[0] == f"f:1:9: error: {key} is the placeholder '<put your compute target name here>'"
    assert said(f'{key}: " "\n')[0] == f"f:1:9: error: {key} is blank"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("dependencies:\n  - numpy  # [linux]\n", "warning: '# [linux]' is a selector of conda-build"),
        ("dependencies:\n  - sel(linux): numpy\n", "error: 'sel(linux)' is a selector of mamba"),
        ("dependencies:\n  - 'numpy {{ numpy }}'\n", "is a template (Jinja, as in conda-build)"),
        ("dependencies:\n  - vs2015_runtime=14\n", "vs2015_runtime is no Linux package"),
        ("dependencies:\n  - python ^3.6\n", "'^' is Poetry's"),
        ("dependencies:\n  - 'x @ https://h/x.whl'\n", "is a pip requirement, not a conda spec"),
        ("version: 1\nmetadata: {}\npackage: []\n", "the file is a lock file of conda-lock"),
        ("version: 6\nenvironments: {}\npackages: []\n", "the file is a lock file of pixi"),
        ("package: {}\nbuild: {}\n", "the file is a recipe of conda-build"),
        ("dependencies:\n  - pip: [--generate-hashes]\n", "is an option of pip-compile (pip-tools)"),
        ("dependencies:\n  - pip: [--upgrade]\n", "is an option of the command pip install"),
        ("dependencies:\n  - pip: ['requests^2.0']\n", "it is syntax of Poetry or Pipenv"),
        ("dependencies:\n  - pip: ['requests = \"*\"']\n", "it is syntax of Poetry or Pipenv"),
        (
            "dependencies:\n  - pip: ['certifi @ file:///croot/certifi_1690232220950/certifi']\n",
            "was written by pip freeze in a conda environment",
        ),
    ],
)
def test_syntax_of_other_tools_is_recognized(text: str, word: str) -> None:
    lines = said(text, schemas.CONDA)
    assert word in lines[0]
    assert not any(line.startswith("f") for line in lines[1:]), "nothing else is said of it"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{% set version = '1.0' %}\ndependencies:\n  - numpy\n", "a template (Jinja"),
        ("dependencies:\n  - {{ pin }}\n", "f:2:5: error: a template (Jinja"),
        (
            "# platform: linux-64\n@EXPLICIT\nhttps://h/a-1-0.conda\n",
            "the file is a list of packages for conda",
        ),
        ("[tool.poetry]\nname = 'x'\n", "the file is a TOML file"),
        ("numpy==1.0\nscipy>=1\n", "the file is a requirements file of pip"),
    ],
)
def test_a_file_of_another_tool(text: str, word: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text.encode(), "f")
    assert word in caught.value.lines()[0]


@pytest.mark.parametrize("blank", ['" "', '""', "' \t'", "[]", "{}", "~", "[' ']", "{' ': ' '}"])
def test_blank_values_in_every_key(blank: str) -> None:
    """Any message will do, but no traceback."""
    for kind in schemas.KINDS:
        whole = json.loads(schemas.text(kind))
        for part in whole.get("$defs", {"": whole}).values():
            for key in _dotted(part):
                text = json.dumps(_nested(key, "BLANK")).replace('"BLANK"', blank)
                other = "target" if key.startswith("script") else "script"
                mark = f'"{other}": "a.py", ' if part.get("title", "").endswith("(camelCase)") else ""
                check("{" + mark + text[1:], kind, lint=True)


def _dotted(part: dict[str, Any], before: str = "") -> list[str]:
    found = []
    for name, value in part.get("properties", {}).items():
        found += [before + name, *_dotted(value, f"{before}{name}.")]
    return found


def _nested(key: str, value: str) -> Any:
    name, _, rest = key.partition(".")
    return {name: _nested(rest, value) if rest else value}


def test_two_pip_sections() -> None:
    text = "dependencies:\n  - pip: [a]\n  - pip: [b]\n"
    assert said(text, schemas.CONDA)[0] == "f:3:5: error: a second pip section"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("configuration: {spark.x y: 1}\n", "f:1:17: error: 'spark.x y' can't be a Spark property"),
        ("configuration: {'spark.x=1': 1}\n", "f:1:17: error: 'spark.x=1' can't be a Spark property"),
        (
            "packages: [{group: 'g:a', artifact: a, version: 1}]\n",
            "f:1:20: error: group is 'g:a'; expected one part",
        ),
        ("configuration: {spark.x: [1]}\n", "f:1:26: error: configuration.spark.x is a list; expected text"),
    ],
)
def test_spark(text: str, line: str) -> None:
    assert said(text, schemas.SPARK)[0].startswith(line)


def test_versions_keep_their_text() -> None:
    text = "packages: [{group: g, artifact: a, version: 0.10}]\nconfiguration: {a: 010, b: on}\n"
    checked = check(text, schemas.SPARK)
    assert checked.reading is not None
    assert checked.reading["spark"]["packages"] == [["g", "a", "0.10"]]
    assert checked.reading["spark"]["configuration"] == [["a", "010"], ["b", "on"]]


@pytest.mark.parametrize(
    ("key", "known", "expected"),
    [
        ("abcd", ["abcd1"], ("abcd1", True)),
        ("abdc", ["abcd"], ("abcd", True)),
        ("abxx", ["abcd"], ("", False)),
        ("xy", ["xz"], ("", False)),
        ("PREPARE_environment", ["PrepareEnvironment"], ("PrepareEnvironment", True)),
    ],
)
def test_nearest(key: str, known: list[str], expected: tuple[str, bool]) -> None:
    assert nearest(key, known) == expected


def test_words() -> None:
    assert either(["a"]) == "a"
    assert either(["a", "b", "c"]) == "a, b or c"
    assert shown("a\x1b[31m\nb") == "'a\\x1b[31m…'"
    assert shown("x" * 50) == "'" + "x" * 40 + "…'"


def test_names_of_variables_work_in_every_shell() -> None:
    found = check("Target: local\nEnvironmentVariables:\n  a.b: x\n  with blank: y\n  OK_1: z\n")
    told = [(one.place.line, one.severity) for one in found.violations]
    assert told == [(3, "error"), (4, "error")]


@pytest.mark.parametrize("master", ["yarn", "spark://a:1,b:2", "local", "'local[*]'", "'local[2, 3]'"])
def test_masters_of_a_cluster(master: str) -> None:
    text = f"type: cluster\naddress: a\nusername: u\nmaster: {master}\n"
    assert said(text, schemas.COMPUTE) == []
    wrong = said(text.replace(master, "yarn-client"), schemas.COMPUTE)
    assert wrong[0].startswith(
        "f:4:9: error: master is 'yarn-client'; expected yarn, spark://HOST:PORT or local[*]"
    )

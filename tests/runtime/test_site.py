"""What travels into a run, run for real under every interpreter of this machine."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import amlexec
from amlexec.history.record import Interpreter
from amlexec.targets import python_used
from tests.support.logged import read_all
from tests.support.site_scripts import SITE, TIMEOUT, environment, every_interpreter, run

PACKAGE = Path(amlexec.__file__).parent
_HADOOP = ("hadoop_", "yarn_")
_NODE = ("pyspark.java_gateway", "hadoop_results", "hadoop_site")
_PACKED = ("project_modules", "executors_python", "spark_node")
travelling = pytest.mark.parametrize(
    "path", sorted(SITE.rglob("*.py")), ids=lambda path: path.relative_to(SITE).as_posix()
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a run's folder"
    path.mkdir()
    return path


@travelling
def test_the_syntax_is_that_of_python_3_5(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 5))
    newer = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr)
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, newer)]


@travelling
def test_it_needs_the_standard_library_alone(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [] if node.level else [node.module or ""]
        for name in names:
            # A driver of Spark's has pyspark.
            given = {
                "amlexec.run",
                "amlexec.model",
                *(_NODE if path.name == "spark_node.py" else []),
                # Programs of a head node, which are started with their folder as the path.
                *(one.stem for one in path.parent.glob("hadoop_*.py") if path.name.startswith(_HADOOP)),
                *(one.stem for one in path.parent.glob("yarn_*.py") if path.name.startswith("yarn_")),
                *(_PACKED if path.name == "spark_pack.py" else []),
                *(one.stem for one in path.parent.glob("service_*.py") if path.name == "service_run.py"),
            }
            is_shim = name.startswith("azureml.") and "azureml" in path.parts
            assert name in given or is_shim or name.partition(".")[0] in sys.stdlib_module_names


SCRIPT_OF_2017 = """\
from azureml.logging import get_azureml_logger

run_logger = get_azureml_logger()
run_logger.log("Accuracy", 0.97)
run_logger.log("Regularization Rate", 0.01).wait()
for loss in (3, 2, 1):
    run_logger.log("loss", loss)
run_logger.upload("report/summary.txt", "fertig \\u2713")
print("done")
"""


@every_interpreter
def test_a_script_of_2017_logs_in_a_run(python: str, folder: Path, tmp_path: Path) -> None:
    result = run(python, SCRIPT_OF_2017, folder, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
    assert read_all(folder / "metrics.jsonl").values == {
        "Accuracy": 0.97,
        "Regularization Rate": 0.01,
        "loss": [3, 2, 1],
    }
    assert (folder / "outputs/report/summary.txt").read_text(encoding="utf-8") == "fertig \u2713"
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.jsonl", "outputs"]


@every_interpreter
def test_a_script_of_2017_runs_without_a_run(python: str, tmp_path: Path) -> None:
    result = run(python, SCRIPT_OF_2017, None, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


VALUES = """\
import array, collections, datetime, decimal, enum, fractions, pathlib, sys
from amlexec.run import log

class Tensor:
    def __init__(self, value): self.value = value
    def tolist(self): return self.value
class Scalar:
    def item(self): return 0.5
class Eager:
    def numpy(self): return Tensor([True, float("nan")])
class LongDouble:
    def tolist(self): return self
    def __float__(self): return 2.5
class Rude:
    def __str__(self): raise KeyError("no")
    def __getattr__(self, name): raise SystemError("no")
class Color(enum.IntEnum):
    RED = 1
class Loud(str):
    def __str__(self): return "loud"

cycle = []
cycle.append(cycle)
deep = []
for _ in range(100000):
    deep = [deep]
values = [
    ("int", 3), ("long", -2 ** 63), ("longer", 2 ** 64), ("big", 10 ** 5000),
    ("float", 0.1), ("true", True), ("none", None), ("text", "a\\nb\\u2713"),
    ("nan", float("nan")), ("inf", float("inf")), ("minus", float("-inf")), ("lone", "\\udcff"),
    ("bytes", b"a\\xff"), ("list", [1, "a", float("nan"), (2, 3)]), ("names", ["setosa", "virginica"]),
    ("dict", collections.OrderedDict([("a", {1: float("inf")}), (True, [None])])), ("set", {3, 1, 2}),
    ("range", range(3)), ("deque", collections.deque([1, 2])), ("values", {"a": 1}.values()),
    ("array", array.array("d", [1, 2])), ("view", memoryview(b"ab")), ("tensor", Tensor([[1.0], [2.0]])),
    ("nested", {"t": [Tensor(1)]}), ("scalar", Scalar()), ("eager", Eager()), ("longdouble", LongDouble()),
    ("decimal", decimal.Decimal("0.5")), ("fraction", fractions.Fraction(1, 4)), ("complex", 1j),
    ("date", datetime.date(2017, 9, 25)), ("path", pathlib.PurePosixPath("a/b")), ("enum", Color.RED),
    ("subclass", Loud("quiet")), ("rude", Rude()), ("cycle", cycle), ("deep", deep), ("function", len),
    (3, "a number for a name"), (Rude(), 1), ("\\udc80 ", "name"), ("", "empty name"),
]
for name, value in values:
    log(name, value)
sys.stdout.write(repr(log("returned", [float("nan"), 1])))
"""


@every_interpreter
def test_every_value_is_kept_and_none_raises(python: str, folder: Path, tmp_path: Path) -> None:
    result = run(python, VALUES, folder, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Logged('returned', ['NaN', 1])"
    lines = (folder / "metrics.jsonl").read_text(encoding="ascii").splitlines()
    read = {}
    for line in lines:
        record = json.loads(line, parse_constant=pytest.fail)
        assert list(record)[:2] == ["name", "value"]
        assert 1.5e9 < record.get("time", 1.6e9) < 1e10
        read[record["name"]] = record["value"]
    assert read.pop("big") in ("1" + "0" * 5000, "<int>")  # 3.11 and later refuse so many digits
    assert isinstance(read.pop("deep"), str)
    assert read == {
        "int": 3,
        "long": "-9223372036854775808",
        "longer": "18446744073709551616",
        "float": 0.1,
        "true": True,
        "none": None,
        "text": "a\nb\u2713",
        "nan": "NaN",
        "inf": "Infinity",
        "minus": "-Infinity",
        "lone": "\\udcff",
        "bytes": "a\\xff",
        "list": [1, "a", "NaN", [2, 3]],
        "names": ["setosa", "virginica"],
        "dict": {"a": {"1": "Infinity"}, "True": [None]},
        "set": [1, 2, 3],
        "range": [0, 1, 2],
        "deque": [1, 2],
        "values": [1],
        "array": [1.0, 2.0],
        "view": [97, 98],
        "tensor": [[1.0], [2.0]],
        "nested": {"t": [1]},
        "scalar": 0.5,
        "eager": [True, "NaN"],
        "longdouble": 2.5,
        "decimal": 0.5,
        "fraction": 0.25,
        "complex": "1j",
        "date": "2017-09-25",
        "path": "a/b",
        "enum": 1,
        "subclass": "quiet",
        "rude": "<Rude>",
        "cycle": "[[...]]",
        "function": "<built-in function len>",
        "3": "a number for a name",
        "<Rude>": 1,
        "\\udc80 ": "name",
        "": "empty name",
        "returned": ["NaN", 1],
    }


LOG_A_LOT = """\
import sys, threading
from amlexec.run import log

def work(thread):
    for number in range(1000):
        log("{} {}".format(sys.argv[1], thread), [number, "x" * (number % 300)])

threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@every_interpreter
def test_processes_and_threads_lose_nothing(python: str, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(LOG_A_LOT)
    processes = [
        subprocess.Popen([python, str(script), str(number)], env=environment(folder)) for number in range(3)
    ]
    assert [process.wait(TIMEOUT) for process in processes] == [0, 0, 0]
    read = read_all(folder / "metrics.jsonl")
    assert (read.unreadable, len(read.values)) == (0, 9)
    for series in read.values.values():
        assert series == [[number, "x" * (number % 300)] for number in range(1000)]


@every_interpreter
def test_a_process_that_is_killed_loses_nothing(python: str, folder: Path, tmp_path: Path) -> None:
    script = (
        "import os\nfrom amlexec.run import log\nfor n in range(500): log('n', n)\nos.kill(os.getpid(), 9)\n"
    )
    assert run(python, script, folder, tmp_path).returncode == -9
    assert read_all(folder / "metrics.jsonl").values == {"n": list(range(500))}


DISK_FULL = """\
import os, resource
from amlexec.run import log, upload

log("before", 1)
size = os.path.getsize(os.environ["AMLEXEC_RUN_FOLDER"] + "/metrics.jsonl")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
log("torn", 2)
log("lost", 3)
upload("a.txt", "much more than the twenty bytes that are left " * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log("after", 4)
print("done")
"""


@every_interpreter
def test_a_disk_that_is_full_costs_its_metric_and_a_warning(
    python: str, folder: Path, tmp_path: Path
) -> None:
    result = run(python, DISK_FULL, folder, tmp_path)
    assert (result.returncode, result.stdout) == (0, "done\n")
    assert re.fullmatch(r"amlexec: warning: .*\n", result.stderr)
    assert read_all(folder / "metrics.jsonl") == ({"before": 1, "after": 4}, 1)
    assert not [path for path in folder.rglob("*") if path.name not in ("metrics.jsonl", "outputs")]


@pytest.mark.parametrize("obstacle", ["folder gone", "not a folder", "metrics.jsonl is a folder"])
def test_a_folder_that_takes_nothing_costs_a_warning(obstacle: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    if obstacle == "not a folder":
        folder.touch()
    elif obstacle == "metrics.jsonl is a folder":
        (folder / "metrics.jsonl").mkdir(parents=True)
    script = (
        "from amlexec.run import log\nfor n in range(9): log('n', n).wait()\n"
        "import sys; sys.stderr.close(); log('m', 1)\nprint('done')\n"
    )
    result = run(sys.executable, script, folder, tmp_path)
    assert (result.returncode, result.stdout) == (0, "done\n")
    assert re.fullmatch(r"amlexec: warning: a metric could not be kept: .*\n", result.stderr)


UPLOADS = """\
import io, os
from amlexec.run import upload

upload("text.txt", "\\u00fc\\udcff")
upload("bytes.bin", b"\\x00\\xff")
upload("view.bin", memoryview(b"view"))
upload("number.txt", 3)
upload("file.bin", io.BytesIO(b"from a file"))
upload("outputs/again.txt", "1")
upload("outputs/again.txt", "2")
upload("deep\\\\er/./x.txt", "windows")
upload("outputs", "a file of that name")
os.chdir("/")
upload("moved.txt", "still there")
refused = 0
escapes = [
    "", "/", "/etc/passwd", "..", "../x", "a/../../x", "outputs/../x", ".", "a\\0b", "\\\\\\\\host\\\\x",
]
for name in escapes:
    try:
        upload(name, "x")
    except ValueError as error:
        assert "outputs/" in str(error), error
        refused += 1
print(refused)
"""


@every_interpreter
def test_uploads_stay_in_outputs(python: str, folder: Path, tmp_path: Path) -> None:
    result = run(python, UPLOADS, folder, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "10\n", "")
    outputs = folder / "outputs"
    assert {
        path.relative_to(outputs).as_posix(): path.read_bytes()
        for path in outputs.rglob("*")
        if path.is_file()
    } == {
        "text.txt": "\u00fc\\udcff".encode(),
        "bytes.bin": b"\x00\xff",
        "view.bin": b"view",
        "number.txt": b"3",
        "file.bin": b"from a file",
        "again.txt": b"2",
        "deep/er/x.txt": b"windows",
        "outputs": b"a file of that name",
        "moved.txt": b"still there",
    }
    assert [path.name for path in folder.iterdir()] == ["outputs"]


def test_an_upload_into_a_file_costs_a_warning(folder: Path, tmp_path: Path) -> None:
    script = "from amlexec.run import upload\nupload('a', '1')\nupload('a/b', '2')\nupload('c', '3')\n"
    result = run(sys.executable, script, folder, tmp_path)
    assert result.returncode == 0
    assert re.fullmatch(r"amlexec: warning: the file outputs/a/b could not be kept: .*\n", result.stderr)
    assert sorted(path.name for path in (folder / "outputs").iterdir()) == ["a", "c"]


def install(python: str, venv: Path, files: dict[str, str]) -> str:
    """A virtual environment with `files` in its site-packages; returns its interpreter."""
    subprocess.run([python, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=TIMEOUT)
    inner = str(venv / "bin" / "python")
    packages = site_packages(inner)
    for name, text in files.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text)
    return inner


def site_packages(python: str) -> Path:
    command = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())


EXTENDING = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
CLOSED = "from azureml.errors import Conflict\nclass Workspace: pass\n"


@every_interpreter
@pytest.mark.parametrize("style", ["extending", "closed", "namespace"])
def test_an_installed_azureml_is_not_hidden(python: str, style: str, folder: Path, tmp_path: Path) -> None:
    files = {
        "azureml/core/__init__.py": "class Run: pass\n",
        "azureml/errors.py": "class Conflict(Exception): pass\n",
        "azureml/logging.py": "def get_azureml_logger(): raise SystemExit('the installed one')\n",
    }
    if style != "namespace":
        files["azureml/__init__.py"] = EXTENDING if style == "extending" else CLOSED
    inner = install(python, tmp_path / "venv", files)
    script = "import azureml.core\nfrom azureml.core import Run\nfrom azureml.errors import Conflict\n"
    if style == "closed":
        script += "from azureml import Workspace, Conflict as c\nassert c is Conflict\n"
    result = run(inner, script + SCRIPT_OF_2017, folder, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
    assert read_all(folder / "metrics.jsonl").values["Accuracy"] == 0.97


@every_interpreter
def test_an_installed_amlexec_is_not_hidden(python: str, folder: Path, tmp_path: Path) -> None:
    files = {
        "amlexec/__init__.py": "__version__ = '9.9'\n",
        "amlexec/errors.py": "class TargetError(Exception): pass\n",
        **{f"amlexec/{path.name}": path.read_text("utf-8") for path in SITE.glob("amlexec/*.py")},
    }
    inner = install(python, tmp_path / "venv", files)
    script = "import amlexec\nfrom amlexec.errors import TargetError\nassert amlexec.__version__ == '9.9'\n"
    result = run(inner, script + SCRIPT_OF_2017, folder, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
    assert read_all(folder / "metrics.jsonl").values["Accuracy"] == 0.97


def test_this_amlexec_installed_is_not_hidden(folder: Path, tmp_path: Path) -> None:
    inner = install(sys.executable, tmp_path / "venv", {})
    shutil.copytree(PACKAGE, site_packages(inner) / "amlexec", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import amlexec, amlexec.errors, amlexec.run, inspect\n"
        "assert amlexec.errors.TargetError.exit_code == 2 and amlexec.__version__\n"
        "assert 'site-packages' in amlexec.run.__file__\n"
        "amlexec.run.log('Cell', 'A')\n"
    )
    result = run(inner, script + SCRIPT_OF_2017, folder, tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")
    assert read_all(folder / "metrics.jsonl").values["Cell"] == "A"


def test_the_product_and_the_run_have_the_same_code() -> None:
    import amlexec.run

    assert Path(amlexec.run.log.__code__.co_filename) == SITE / "amlexec" / "run.py"


class TestWhichPython:
    """A run says which Python it is."""

    def start(
        self, python: str, folder: Path, wanted: str, *more: Path, words: tuple[str, ...] = ("train.py", "a")
    ) -> subprocess.CompletedProcess[str]:
        """Start a Python as a run does, with what was `wanted`."""
        (folder.parent / "train.py").write_text(
            "import json, os, subprocess, sys\n"
            "subprocess.run([sys.executable, '-c', 'pass'], check=True)\n"
            "print(json.dumps([sys.executable, '%d.%d.%d' % sys.version_info[:3], sys.prefix, sys.argv,\n"
            "    sys.path[0] == os.getcwd(), __name__, 'AMLEXEC_PYTHON' in os.environ]))\n"
        )
        return subprocess.run(
            [python, "-W", "error", *words],
            cwd=folder.parent,
            env={**environment(folder, *more), "AMLEXEC_PYTHON": wanted},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    @every_interpreter
    def test_it_is_read_from_inside(self, python: str, folder: Path) -> None:
        done = self.start(python, folder, "::train.py")
        assert (done.returncode, done.stderr) == (0, "")
        path, version, prefix, argv, *rest = json.loads(done.stdout)
        assert (argv, rest) == (["train.py", "a"], [True, "__main__", False])
        assert python_used.read(folder) == (Interpreter(path, version, prefix), (), None)
        # Once: not by the Python that the script has started.
        assert (folder / "python.json").read_text().count("\n") == 1
        done = self.start(python, folder, f"{version}:{prefix}:train.py")
        assert (done.returncode, done.stderr) == (0, "")

    @every_interpreter
    def test_another_than_the_prepared_one_ends(self, python: str, folder: Path) -> None:
        done = self.start(python, folder, "3.4.1:/opt/amlexec/env:train.py")
        assert (done.returncode, done.stdout) == (78, "")
        assert "amlexec: error: this Python is not the prepared one: " in done.stderr
        assert "prepared was 3.4.1 in /opt/amlexec/env\n" in done.stderr
        assert python_used.read(folder).another is not None

    def test_a_version_that_is_not_released_yet(self, folder: Path) -> None:
        own = ".".join(map(str, sys.version_info[:3]))
        assert self.start(sys.executable, folder, f"{own}rc1:{sys.prefix}:train.py").returncode == 0
        assert self.start(sys.executable, folder, f"{own}1:{sys.prefix}:train.py").returncode == 78

    @every_interpreter
    def test_another_sitecustomize_is_imported_too(self, python: str, folder: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        text = (
            "import sys\nsys.path.append('/added')\nsys.stderr.write('theirs %s %s' % (__name__, __file__))\n"
        )
        (other / "sitecustomize.py").write_text(text)
        done = self.start(python, folder, "::train.py", other)
        # The script, and what it starts.
        told = f"theirs sitecustomize {other}/sitecustomize.py"
        assert (done.returncode, done.stderr) == (0, told * 2)
        done = self.start(
            python,
            folder,
            "",
            other,
            words=("-c", "import sys, sitecustomize as s; print(s.__file__, s.__spec__.name, sys.path[-1])"),
        )
        assert done.stdout == f"{other}/sitecustomize.py sitecustomize /added\n"

    def test_what_runs_something_else_says_nothing(self, folder: Path) -> None:
        self.start(sys.executable, folder, "9.9.9:/x:train.py", words=("-c", "pass", "train.py"))
        self.start(sys.executable, folder, "9.9.9:/x:other.py")
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("name", ["gone", "link", "folder"])
    def test_where_it_cannot_be_written_the_script_runs(
        self, name: str, folder: Path, tmp_path: Path
    ) -> None:
        if name == "gone":
            folder.rmdir()
        elif name == "link":
            (folder / "python.json").symlink_to(tmp_path / "elsewhere")
        else:
            (folder / "python.json").mkdir()
        done = self.start(sys.executable, folder, "::train.py")
        assert (done.returncode, done.stderr) == (0, "")
        assert python_used.read(folder) == (None, (), None)
        assert not (tmp_path / "elsewhere").exists()

    @every_interpreter
    def test_executors_of_a_cluster(self, python: str, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "pyspark").mkdir()
        daemon = "import os, subprocess, sys\n"
        daemon += "subprocess.run([sys.executable, '-m', 'pyspark.daemon2'], check=True)\n"
        (tmp_path / "pyspark/daemon.py").write_text(f"{daemon}print(os.environ['PYTHONPATH'])\n")
        (tmp_path / "pyspark/daemon2.py").write_text("")
        archive = folder / "control/executors.tar.gz"
        archive.parent.mkdir()
        version = subprocess.run(
            [python, "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

        def start(wanted: str) -> subprocess.CompletedProcess[str]:
            packing = str(SITE / "amlexec/spark_pack.py")
            command = [python, "-I", "-S", packing, str(folder), wanted, "./environment/python"]
            subprocess.run(command, check=True)
            work = tmp_path / "started"
            shutil.rmtree(work, ignore_errors=True)
            (work / "environment").mkdir(parents=True)
            (work / "environment/python").symlink_to(python)
            (work / "amlexec").mkdir()
            subprocess.run(["tar", "-xzf", str(archive), "-C", str(work / "amlexec")], check=True)
            return subprocess.run(
                ["./amlexec/python", "-m", "pyspark.daemon"],
                cwd=work,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )

        done = start(f"{version}:")
        assert (done.returncode, done.stderr, done.stdout) == (
            *(0, ""),
            f"{tmp_path}/started/amlexec:{tmp_path}\n",
        )
        seen = python_used.read(folder)
        assert (seen.python, [one.version for one in seen.executors], seen.another) == (None, [version], None)
        assert start(f"{version}:./environment").returncode == 78
        assert python_used.read(folder).another is not None


@pytest.mark.parametrize(
    "line",
    [
        *("", "{", "[]", "null", "[" * 60000, '"path"', '{"path": "/p"}'),
        '{"path": 1, "version": "3.1.2", "prefix": "/", "wanted": true}',
        '{"path": "/p", "version": "3", "prefix": "/", "wanted": true}',
        '{"path": "/p", "version": "3.1.2\\u001b[31m", "prefix": "/", "wanted": true}',
        '{"path": "/p", "version": "3.1.2", "prefix": [], "wanted": true}',
        '{"path": "/p", "version": "3.1.2", "prefix": "/", "wanted": "no"}',
        f'{{"path": "/{"p" * 5000}", "version": "3.1.2", "prefix": "/", "wanted": true}}',
    ],
    ids=range(13),
)
def test_what_is_no_answer(line: str, folder: Path) -> None:
    for name in python_used.FILES:
        (folder / name).write_text(f"{line}\n")
    assert python_used.read(folder) == (None, (), None)

"""Results that can't be read when a run ends: the record names them, and they are read later."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import places

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

FAILING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
static int fails(const char *path, int flags) {
    size_t length = strlen(path), end = strlen(NAME);
    return (flags & O_ACCMODE) == O_RDONLY && length > end && !strcmp(path + length - end, NAME);
}
#define OPEN(SYMBOL) \\
    int SYMBOL(const char *path, int flags, ...) { \\
        va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \\
        if (fails(path, flags)) { errno = NUMBER; return -1; } \\
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #SYMBOL); \\
        return real(path, flags, mode); \\
    }
OPEN(open)
OPEN(open64)
"""
SCRIPT = """\
import os
from amlexec.run import log
log("loss", 2)
log("loss", 1)
os.makedirs("outputs", exist_ok=True)
open("outputs/model", "w").write("1234")
"""


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.EMFILE, errno.EACCES, errno.ENOSPC], ids=errno.errorcode.get
)
@pytest.mark.parametrize("name", ["metrics.jsonl", "outputs"])
def test_a_disk_that_fails_once(project: ProjectFolder, tmp_path: Path, name: str, number: int) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        assert not places.is_required("gcc"), "nothing may be skipped here: install gcc"
        pytest.skip("a disk that fails needs a C compiler: apt install gcc libc6-dev")
    (tmp_path / "failing.c").write_text(FAILING)
    library = tmp_path / "failing.so"
    told = [f'-DNAME="/{name}"', f"-DNUMBER={number}"]
    command = [compiler, "-shared", "-fPIC", *told, "-o", str(library), "failing.c", "-ldl"]
    subprocess.run(command, cwd=tmp_path, check=True)
    project.write("train.py", SCRIPT)
    done = project.submit("train.py", env={**os.environ, "LD_PRELOAD": str(library)})
    assert done.code == 0, done.err
    why = f"{name} could not be read: {os.strerror(number).lower()}"
    assert f"Unread: {why}" in done.out
    record = project.record(done.run_id)
    assert (record["status"], record["unread"]) == ("Completed", [why])
    assert (record["metrics"] == {}, record["outputs"] is None) == (name != "outputs", name == "outputs")
    assert project.amlexec("experiment", "status", "-r", done.run_id).code == 0
    record = project.record(done.run_id)
    assert (record["metrics"], record["metric_counts"]) == ({"loss": 1}, {"loss": 2})
    assert (record["outputs"], record["unread"]) == ({"files": 1, "bytes": 4}, [])


def test_a_folder_in_place_of_the_metrics(project: ProjectFolder) -> None:
    project.write("train.py", "import os\nos.mkdir(os.environ['AMLEXEC_RUN_FOLDER'] + '/metrics.jsonl')\n")
    done = project.submit("train.py")
    assert done.code == 0, done.err
    assert project.record(done.run_id)["unread"] == ["metrics.jsonl could not be read: is a directory"]
    shown = project.amlexec("history", "info", "-r", done.run_id)
    assert "could not be read" in shown.out
    (project.run_folder(done.run_id) / "metrics.jsonl").rmdir()
    assert project.amlexec("experiment", "status", "-r", done.run_id).code == 0
    assert project.record(done.run_id)["unread"] == []

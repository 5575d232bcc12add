"""Completion: the words for a command line, and real shells."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from amlexec import cli, completion
from tests.conftest import PATIENCE, ProjectFolder


@pytest.fixture
def demo(project: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> ProjectFolder:
    project.write("aml_config/gpu box.runconfig", "Target: local\nFramework: Python\n")
    project.write("aml_config/gpubox.compute", "type: local\n")
    for run_id in ("demo_1", "demo_3", "demo_2"):
        project.write(f".amlexec/runs/{run_id}/run.json", "{}")
    project.write("train.py", "")
    project.write(".amlexec/models/names/iris/versions/1.json", "{}")
    project.write(".amlexec/models/names/iris/aliases/champion", "1")
    monkeypatch.chdir(project.root)
    return project


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("his", ["history"]),
        (
            "experiment ",
            ["submit", "rerun", "sweep", "prepare", "follow", "status", "return", "cancel", "clean"],
        ),
        ("experiment sub", ["submit"]),
        ("experiment sweep --res", ["--resume"]),
        ("experiment sweep --resume ", ["last"]),
        ("experiment sweep -c local train.py --lr 1,", [":files"]),
        ("sweep st", ["status", "stop"]),
        ("experiment submit -c ", ["gpu box", "local"]),
        ("experiment submit --run-configuration lo", ["local"]),
        ("experiment submit -c local -t ", ["gpubox", "local"]),
        ("experiment submit -c local ", [":files"]),
        ("experiment submit -c local train.py --", [":files"]),
        ("experiment submit --unt", ["--untracked"]),
        ("experiment submit -o j", ["json"]),
        ("experiment status -r ", ["last", "demo_3", "demo_2", "demo_1"]),
        ("experiment status -r demo_3 --fr", ["--from"]),
        ("experiment status -r demo_3 --from ", ["gpubox", "local"]),
        ("history compare demo_1 ", ["last", "demo_3", "demo_2", "demo_1"]),
        ("history list --out", ["--output"]),
        ("runconfiguration show -n ", ["gpu box", "local"]),
        ("runconfiguration create -n ", []),
        ("computetarget show ", ["gpubox", "local"]),
        (
            "computetarget attach ",
            ["remotedocker", "remote", "cluster", "slurm", "containerinstance", "kubernetes"],
        ),
        ("computetarget attach --hide", []),
        ("experiment submit -p ", [":folders"]),
        ("lint ", [":files"]),
        ("model register -n i", ["iris"]),
        ("model register -n x ", [":files"]),
        ("model show ", ["iris", "iris:1", "iris:champion"]),
        ("model show iris:c", ["iris:champion"]),
        ("model show iris : c", ["champion"]),
        ("model show iris :", ["1", "champion"]),
        ("--comp", ["--completion"]),
        ("--completion ", ["bash", "zsh", "fish"]),
        ("nothing such ", []),
    ],
)
@pytest.mark.usefixtures("demo")
def test_words(line: str, found: list[str]) -> None:
    assert completion.candidates(line.split(" "), cli.parser()) == found


def test_every_command_completes() -> None:
    for group in cli.GROUPS:
        assert "--help" in completion.candidates([group, "--"], cli.parser())


def test_outside_a_project(project: ProjectFolder) -> None:
    done = project.amlexec("--complete", "experiment", "submit", "-c", "", cwd=project.root.parent)
    assert done == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_can_read_its_script(demo: ProjectFolder, shell: str) -> None:
    done = demo.amlexec("--completion", shell)
    assert (done.code, done.err) == (0, "")
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.out.encode(), check=True, timeout=PATIENCE)


def test_another_shell(project: ProjectFolder) -> None:
    done = project.amlexec("--completion", "tcsh")
    assert (done.code, done.out) == (3, "")
    assert "bash, zsh, fish" in done.err


def typed(demo: ProjectFolder, line: str) -> list[str]:
    """The completions of bash for TAB at the end of `line`."""
    words = [part.replace("'", "'\\''") for part in line.split(" ")]
    script = (
        'eval "$(amlexec --completion bash)"\n'
        f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
        "compopt() { :; }\n_amlexec\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    done = demo.call("bash", "-c", script)
    assert (done.code, done.err) == (0, "")
    return [line for line in done.out.splitlines() if line]


def test_bash(demo: ProjectFolder) -> None:
    assert typed(demo, "amlexec exp") == ["experiment"]
    assert typed(demo, "amlexec experiment submit -c ") == ["gpu\\ box", "local"]
    assert typed(demo, "amlexec experiment submit -c local tr") == ["train.py"]
    assert typed(demo, "amlexec experiment submit -p aml") == ["aml_config"]
    assert typed(demo, "amlexec history info -r la") == ["last"]


def test_bash_with_a_key_pressed(demo: ProjectFolder) -> None:
    """On a terminal: TAB completes the line, Enter runs it."""
    import pty

    script = b"PS1='$ '\neval \"$(amlexec --completion bash)\"\namlexec runconf\tlis\t\nexit\n"
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["bash", "--norc", "-i"],
        cwd=demo.root,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "dumb"},
        start_new_session=True,
    )
    os.close(follower)
    os.write(leader, script)
    printed = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:  # the terminal ended with its last process
            break
        if not piece:
            break
        printed += piece
    os.close(leader)
    process.wait(PATIENCE)
    assert b"aml_config/local.runconfig" in printed, printed.decode()


if shutil.which("fish"):

    def test_fish(demo: ProjectFolder) -> None:
        script = "amlexec --completion fish | source; complete -C 'amlexec experiment submit -c '"
        done = demo.call("fish", "-c", script)
        assert done.out.splitlines() == ["gpu box", "local"]


if shutil.which("zsh"):

    def test_zsh(demo: ProjectFolder) -> None:
        """Only the words for its completion system: a real key press needs a terminal."""
        script = (
            "compdef() { :; }\ncompadd() { shift; print -rl -- ${(P)1} }\n_files() { print files }\n"
            'eval "$(amlexec --completion zsh)"\n'
            "words=(amlexec experiment submit -c ''); CURRENT=5; _amlexec\n"
            "words=(amlexec experiment submit -c local ''); CURRENT=6; _amlexec\n"
        )
        done = demo.call("zsh", "-fc", script)
        assert done.err == ""
        assert [line for line in done.out.splitlines() if line] == ["gpu box", "local", "files"]

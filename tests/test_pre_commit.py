"""The pre-commit hook of this repository, with the real pre-commit and a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NEEDED = ["amlexec", "schemas", "pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml"]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRE_COMMIT"))}
    return kept | {
        "PRE_COMMIT_HOME": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }


def offline(folder: Path) -> dict[str, str]:
    """Variables with which pip finds what amlexec needs in the packages of the tests, without a network."""
    folder.mkdir()
    # At the end: the hook's own amlexec comes first.
    line = f"import sys\nsys.path.append({sysconfig.get_path('purelib')!r})\n"
    (folder / "sitecustomize.py").write_text(line)
    # Of PIP_NO_BUILD_ISOLATION pip reads 0 as: without an environment of its own for the build.
    pip = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_COMPILE": "0"}
    return {"PYTHONPATH": str(folder), **pip}


def git(folder: Path, *arguments: str, home: Path) -> str:
    command = ["git", "-c", "safe.directory=*", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(home), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    """A clone of this checkout at its HEAD, or, outside a checkout, a repository of the same files."""
    folder = tmp_path / "amlexec"
    if (ROOT / ".git").exists():
        git(tmp_path, "clone", "-q", str(ROOT), str(folder), home=tmp_path)
    else:
        folder.mkdir()
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        git(folder, "init", "-q", home=tmp_path)
        git(folder, "add", "-f", ".", home=tmp_path)
        git(folder, "commit", "-qm", "All of it", home=tmp_path)
    return folder, git(folder, "rev-parse", "HEAD", home=tmp_path)


def test_the_hook(tmp_path: Path, repository: tuple[Path, str]) -> None:
    hooks, revision = repository
    project = tmp_path / "project"
    (project / "aml_config").mkdir(parents=True)
    (project / ".pre-commit-config.yaml").write_text(
        f"repos:\n  - repo: {hooks}\n    rev: {revision}\n    hooks:\n      - id: amlexec-lint\n"
    )
    (project / "README.md").write_text("# words\n")
    (project / "other.yml").write_text("a: 1\n")
    (project / "aml_config/local.compute").write_text("type: local\n")
    (project / "aml_config/local.runconfig").write_text("Target: local\nFramework: Pyhton\n")
    (project / "aml_config/conda_dependencies.yml").write_text("dependencies: [json]\n")
    home = tmp_path / "home"
    git(project, "init", "-q", home=home)
    git(project, "add", ".", home=home)

    variables = environment(home) | offline(tmp_path / "site")

    def run() -> tuple[int, str]:
        command = [sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose", "--color=never"]
        done = subprocess.run(
            command,
            cwd=project,
            env=variables,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    code, said = run()
    assert code == 1, said
    assert "- exit code: 3" in said
    assert "aml_config/local.runconfig:2:12: error: Framework is 'Pyhton'" in said
    assert "aml_config/conda_dependencies.yml:1:16: error: 'json' is a module" in said
    assert "3 files, 2 errors, 0 warnings" in said

    (project / "aml_config/local.runconfig").write_text("Target: local\nFramework: Python\n")
    (project / "aml_config/conda_dependencies.yml").write_text("dependencies: [numpy]\n")
    code, said = run()
    assert code == 0, said
    assert "amlexec lint" in said
    assert "Passed" in said
    assert "3 files, 0 errors, 0 warnings" in said

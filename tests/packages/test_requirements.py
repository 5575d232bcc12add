"""Lines of a pip section: their meaning, and the content of the files that they refer to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.dependencies import Line
from amlexec.digest import of_manifest, of_tree
from amlexec.errors import ConfigurationError
from amlexec.packages import requirements
from amlexec.packages.urls import Secret, hidden, public
from amlexec.values import Place

if TYPE_CHECKING:
    from amlexec.packages.requirements import RequirementEntry, Requirements

FILE = "aml_config/conda_dependencies.yml"


def read(
    root: Path, *texts: str, shared: str = "", environment: dict[str, str] | None = None
) -> Requirements:
    lines = [Line(text, Place(FILE, number, 7)) for number, text in enumerate(texts, 5)]
    return requirements.read(str(root), lines, shared=shared, environment=environment or {})


def told(root: Path, *texts: str) -> list[tuple[str, str]]:
    return [(entry.kind, entry.text) for entry in read(root, *texts).entries]


def only(root: Path, text: str) -> RequirementEntry:
    (entry,) = read(root, text).entries
    return entry


def problem(root: Path, *texts: str, shared: str = "") -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(root, *texts, shared=shared)
    return caught.value.lines()


def package(folder: Path, version: str = "1.0") -> Path:
    (folder / "src/mine").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "mine"\nversion = "{version}"\n')
    (folder / "src/mine/__init__.py").write_text("x = 1\n")
    return folder


class TestRequirement:
    @pytest.mark.parametrize(
        "texts",
        [
            ("numpy==1.26",),
            ("numpy == 1.26",),
            ("  NumPy==1.26  ",),
            ("numpy==1.26 # why",),
            ("# only a comment", "", "numpy==1.26"),
        ],
    )
    def test_one_spelling(self, tmp_path: Path, texts: tuple[str, ...]) -> None:
        assert told(tmp_path, *texts) == [("requirement", "numpy==1.26")]

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Zope.Interface", "zope-interface"),
            ("a[Y, x]>=1,<2", "a[x,y] <2 , >=1"),
            ("a; python_version<'3.9'", 'a ; python_version < "3.9"'),
            ("a==1.0 --hash=sha256:b --hash sha256:a", "a==1.0 --hash=sha256:a --hash=sha256:b"),
            ("a (>=1)", "a>=1"),
        ],
    )
    def test_same_meaning(self, tmp_path: Path, one: str, other: str) -> None:
        assert told(tmp_path, one) == told(tmp_path, other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("a==1.0", "a==1"),
            ("a", "a[x]"),
            ("a", "a; python_version<'3.9'"),
            ("a==1.0", "a==1.0 --hash=sha256:a"),
            ("a===1.0", "a==1.0"),
            ("a @ https://h/a.whl#sha256=1", "a @ https://h/a.whl#sha256=2"),
            ("https://h/a-1-py3-none-any.whl?v=1", "https://h/a-1-py3-none-any.whl?v=2"),
        ],
    )
    def test_other_meaning(self, tmp_path: Path, one: str, other: str) -> None:
        assert told(tmp_path, one) != told(tmp_path, other)

    def test_fast_path_agrees_with_packaging(self, tmp_path: Path) -> None:
        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        for text in ("A_b.c", "a==0", "a==1.20.3", "a == 10"):
            found = Requirement(text)
            assert only(tmp_path, text).text == f"{canonicalize_name(found.name)}{found.specifier}"

    def test_all_wrong_lines_are_reported_at_once(self, tmp_path: Path) -> None:
        lines = problem(tmp_path, "numpy=1.26", "six", "pandas=>2")
        assert [line for line in lines if not line.startswith("  hint")] == [
            f"{FILE}:5:7: error: 'numpy=1.26' is not a pip requirement",
            f"{FILE}:7:7: error: 'pandas=>2' is not a pip requirement",
        ]


class TestOptions:
    def test_known_options(self, tmp_path: Path) -> None:
        lines = (
            "-i https://h/simple",
            "--extra-index-url=https://e/simple --pre",
            "--no-binary :all:",
            "--no-index",
        )
        assert told(tmp_path, *lines) == [
            ("option", "--index-url https://h/simple"),
            ("option", "--extra-index-url https://e/simple"),
            ("option", "--pre"),
            ("option", "--no-binary :all:"),
            ("option", "--no-index"),
        ]

    def test_transport_options_are_marked(self, tmp_path: Path) -> None:
        assert only(tmp_path, "--trusted-host h").kind == "transport"

    def test_unknown_option(self, tmp_path: Path) -> None:
        assert problem(tmp_path, "six", "--extra-index https://e") == [
            f"{FILE}:6:7: error: --extra-index is not an option of requirements files",
            "  hint: did you mean --extra-index-url?",
        ]

    def test_requirement_after_an_option(self, tmp_path: Path) -> None:
        assert problem(tmp_path, "--find-links https://u:hidden@e/simple numpy") == [
            f"{FILE}:5:7: error: 'numpy' follows an option in '--find-links https://e/simple numpy'",
            "  hint: write the requirement as a separate entry",
        ]

    def test_missing_value(self, tmp_path: Path) -> None:
        assert problem(tmp_path, "--index-url")[0] == f"{FILE}:5:7: error: --index-url needs a value"

    def test_folder_of_packages_is_digested_by_content(self, tmp_path: Path) -> None:
        (tmp_path / "wheels").mkdir()
        wheel = tmp_path / "wheels/a-1.0-py3-none-any.whl"
        wheel.write_bytes(b"one")
        first = only(tmp_path, "--find-links wheels")
        (tmp_path / "wheels/notes.md").write_text("not a package")
        assert only(tmp_path, "-f ./wheels").content == first.content
        assert only(tmp_path, f"--find-links={wheel.parent.as_uri()}").content == first.content
        wheel.write_bytes(b"two")
        assert only(tmp_path, "--find-links wheels").content != first.content
        assert first.raw == f"--find-links {wheel.parent}"


class TestFiles:
    def test_a_file_is_replaced_by_its_lines(self, tmp_path: Path) -> None:
        (tmp_path / "requirements.txt").write_text("# what we need\nsix \\\n  ==1.17.0\r\nidna\n")
        found = read(tmp_path, "-r requirements.txt", "tabulate")
        assert [entry.text for entry in found.entries] == ["six==1.17.0", "idna", "tabulate"]
        assert [str(entry.place) for entry in found.entries] == [
            "requirements.txt:2:1",
            "requirements.txt:4:1",
            f"{FILE}:6:7",
        ]
        assert found.files == (str(tmp_path / "requirements.txt"),)

    def test_paths_are_relative_to_their_file(self, tmp_path: Path) -> None:
        (tmp_path / "deep/er").mkdir(parents=True)
        (tmp_path / "deep/base.txt").write_text("-r er/more.txt\n-c er/limits.txt\n")
        (tmp_path / "deep/er/more.txt").write_text("six\n../x-1.0-py3-none-any.whl\n")
        (tmp_path / "deep/er/limits.txt").write_text("six<2\n")
        (tmp_path / "deep/x-1.0-py3-none-any.whl").write_bytes(b"wheel")
        found = read(tmp_path, "-rdeep/base.txt")
        assert [(entry.kind, entry.text) for entry in found.entries] == [
            ("requirement", "six"),
            ("file", "x-1.0-py3-none-any.whl"),
            ("constraint-requirement", "six<2"),
        ]
        assert found.entries[1].raw == str(tmp_path / "deep/x-1.0-py3-none-any.whl")
        assert len(found.files) == 4

    def test_circle(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("six\n-r b.txt\n")
        (tmp_path / "b.txt").write_text("-r a.txt\n")
        assert problem(tmp_path, "-r a.txt")[0] == (
            "b.txt:1:1: error: requirements files include each other in a circle: a.txt -> b.txt -> a.txt"
        )

    def test_missing_file(self, tmp_path: Path) -> None:
        assert problem(tmp_path, "six", "-r requirments.txt") == [
            f"{FILE}:6:7: error: there is no file requirments.txt",
            f"  hint: paths here are relative to {tmp_path}",
        ]

    def test_file_on_another_machine(self, tmp_path: Path) -> None:
        line = problem(tmp_path, "-r https://u:hidden@h/requirements.txt")[0]
        assert line == (
            f"{FILE}:5:7: error: https://h/requirements.txt is on another machine, so changes to it "
            "can't be detected"
        )

    def test_file_in_another_encoding(self, tmp_path: Path) -> None:
        (tmp_path / "r.txt").write_bytes("six # caf\xe9\n".encode("latin-1"))
        assert problem(tmp_path, "-r r.txt")[0] == f"{FILE}:5:7: error: r.txt is not UTF-8 at byte 9"

    def test_byte_order_mark_is_ignored(self, tmp_path: Path) -> None:
        (tmp_path / "r.txt").write_bytes(b"\xef\xbb\xbfsix\r\n")
        assert told(tmp_path, "-r r.txt") == [("requirement", "six")]

    def test_wrong_line_in_a_file_is_reported_with_its_place(self, tmp_path: Path) -> None:
        (tmp_path / "r.txt").write_text("six\n\n  --nonsense\n")
        assert problem(tmp_path, "-r r.txt")[0].startswith("r.txt:3:3: error: --nonsense is not an option")


class TestPaths:
    def test_wheel_is_digested_by_name_and_content(self, tmp_path: Path) -> None:
        (tmp_path / "lib").mkdir()
        wheel = tmp_path / "lib/x-1.0-py3-none-any.whl"
        wheel.write_bytes(b"one")
        first = only(tmp_path, "./lib/x-1.0-py3-none-any.whl")
        assert (first.kind, first.text) == ("file", "x-1.0-py3-none-any.whl")
        moved = tmp_path / wheel.name
        moved.write_bytes(b"one")
        assert only(tmp_path, wheel.name)[:2] == first[:2]
        assert only(tmp_path, f"x @ {moved.as_uri()}").content == first.content
        assert only(tmp_path, r"lib\x-1.0-py3-none-any.whl").path == str(wheel)
        moved.write_bytes(b"two")
        assert only(tmp_path, wheel.name).content != first.content

    def test_folder_with_sources(self, tmp_path: Path) -> None:
        folder = package(tmp_path / "mine")
        found = only(tmp_path, "-e ./mine[plot]")
        assert (found.kind, found.text, found.raw) == ("editable", "[plot]", f"-e {folder}[plot]")
        assert only(tmp_path, "./mine").kind == "tree"
        (folder / "src/mine/__init__.py").write_text("x = 2\n")
        again = only(tmp_path, "-e ./mine[plot]")
        assert again.content != found.content
        assert again.manifest == found.manifest
        (folder / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "2.0"\n')
        assert only(tmp_path, "./mine").manifest != found.manifest

    def test_folder_without_a_package(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        assert problem(tmp_path, "-e mine")[0] == (
            f"{FILE}:5:7: error: mine has neither pyproject.toml nor setup.py, so pip cannot install it"
        )

    def test_missing_wheel(self, tmp_path: Path) -> None:
        assert problem(tmp_path, "./x.whl")[0] == f"{FILE}:5:7: error: there is no x.whl"

    def test_requirements_file_without_its_option(self, tmp_path: Path) -> None:
        (tmp_path / "requirements.txt").write_text("six\n")
        assert problem(tmp_path, "./requirements.txt")[1] == (
            "  hint: write `-r requirements.txt` if it is a requirements file"
        )

    def test_windows_path(self, tmp_path: Path) -> None:
        assert problem(tmp_path, r"C:\temp\mine-1.0-py3-none-any.whl") == [
            (
                rf"{FILE}:5:7: error: C:\temp\mine-1.0-py3-none-any.whl is a path on a Windows machine; "
                "this machine is not Windows"
            ),
            "  hint: copy it into the project and write ./mine-1.0-py3-none-any.whl",
        ]

    def test_shared_folder(self, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        (shared / "x-1.0-py3-none-any.whl").write_bytes(b"wheel")
        text = "/azureml-share/x-1.0-py3-none-any.whl"
        (found,) = read(tmp_path, text, shared=str(shared)).entries
        assert (found.kind, found.path) == ("file", str(shared / "x-1.0-py3-none-any.whl"))
        assert problem(tmp_path, text)[1] == (
            "  hint: set nativeSharedDirectory in the .compute file, or copy the file into the project"
        )

    def test_variable_in_a_path(self, tmp_path: Path) -> None:
        (tmp_path / "x-1.0-py3-none-any.whl").write_bytes(b"wheel")
        found = read(tmp_path, "${WHERE}/x-1.0-py3-none-any.whl", environment={"WHERE": str(tmp_path)})
        assert found.entries[0].path == str(tmp_path / "x-1.0-py3-none-any.whl")


class TestSecrets:
    ADDRESS = "https://account.blob.core.windows.net/w/x-1.0-py3-none-any.whl?sv=1&sig=abc%2Fdef&se=2"

    def test_signature_is_not_part_of_the_text(self, tmp_path: Path) -> None:
        first = only(tmp_path, self.ADDRESS)
        assert first.text == "https://account.blob.core.windows.net/w/x-1.0-py3-none-any.whl"
        assert only(tmp_path, self.ADDRESS.replace("abc", "xyz")).text == first.text
        assert first.raw == self.ADDRESS
        assert "abc" not in repr(first)

    @pytest.mark.parametrize(
        ("address", "without"),
        [
            ("https://user:secret@h/simple", "https://h/simple"),
            ("https://token@h/simple", "https://h/simple"),
            ("https://${USER}:${TOKEN}@h/simple", "https://h/simple"),
            ("git+https://token@h/r.git@v1#egg=x", "git+https://h/r.git@v1#egg=x"),
            ("https://h/t/tk-123/channel", "https://h/channel"),
            ("https://h/x?a=1&token=t", "https://h/x?a=1"),
            ("https://h/x?X-Amz-Signature=s&X-Amz-Date=d", "https://h/x"),
            ("https://H/Path", "https://h/Path"),
            ("https://h/x.whl#sha256=abc&secret=s", "https://h/x.whl#sha256=abc"),
            ("https://user:pa/ss@h/simple", "https://***"),
            ("./a/path", "./a/path"),
        ],
    )
    def test_public_form(self, address: str, without: str) -> None:
        assert public(address) == without
        assert public(without) == without

    def test_passwords_in_options(self, tmp_path: Path) -> None:
        found = only(tmp_path, "--extra-index-url https://user:hidden@h/simple")
        assert found.text == "--extra-index-url https://h/simple"
        assert "hidden" not in repr(found)
        assert found.raw == "--extra-index-url https://user:hidden@h/simple"

    def test_variables_are_expanded_only_for_pip(self, tmp_path: Path) -> None:
        found = read(tmp_path, "-i https://u:${TOKEN}@h/simple", environment={"TOKEN": "hidden"}).entries[0]
        assert found.text == "--index-url https://h/simple"
        assert found.raw == "--index-url https://u:hidden@h/simple"

    def test_password_that_makes_the_host_ambiguous(self, tmp_path: Path) -> None:
        lines = problem(tmp_path, "--index-url https://user:hid/den@h/simple", "https://user:hid/den@h/x.whl")
        assert len(lines) == 4
        assert not any("den" in line.partition("error")[2].replace("hidden", "") for line in lines[::2])

    def test_output_of_a_tool(self) -> None:
        address = "https://user:s3cret@h/t/tk-1/simple"
        assert hidden(f"cannot fetch {address}", [address]) == "cannot fetch https://***@h/t/***/simple"
        assert repr(Secret("https://h/simple")) == "'https://h/simple'"


class TestTree:
    @pytest.mark.parametrize(
        "name",
        [
            ".git/HEAD",
            "src/mine/__pycache__/a.pyc",
            "mine.egg-info/PKG-INFO",
            "build/lib/a.py",
            "dist/a.whl",
            "a.pyc",
        ],
    )
    def test_files_of_tools_are_ignored(self, tmp_path: Path, name: str) -> None:
        folder = package(tmp_path / "mine")
        before = of_tree(str(folder))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("left")
        assert of_tree(str(folder)) == before

    def test_place_and_times_are_ignored(self, tmp_path: Path) -> None:
        one, other = package(tmp_path / "one"), package(tmp_path / "two/mine")
        os.utime(other / "pyproject.toml", (1, 1))
        assert of_tree(str(one)) == of_tree(str(other))
        assert of_manifest(str(one)) == of_manifest(str(other))

    def test_everything_else_changes_the_digest(self, tmp_path: Path) -> None:
        folder = package(tmp_path / "mine")
        seen = [of_tree(str(folder))]

        def changed() -> bool:
            seen.append(of_tree(str(folder)))
            return seen[-1] not in seen[:-1]

        (folder / "src/mine/build").mkdir()
        (folder / "src/mine/build/a.py").write_text("")
        assert changed()
        (folder / "src/mine/build/a.py").rename(folder / "src/mine/build/b.py")
        assert changed()
        (folder / "src/mine/__init__.py").chmod(0o755)
        assert changed()
        (folder / "link").symlink_to("src")
        assert changed()
        (folder / "link").unlink()
        (folder / "link").symlink_to("src/mine")
        assert changed()
        outside = tmp_path / "outside.txt"
        outside.write_text("one")
        (folder / "data").symlink_to(outside)
        assert changed()
        outside.write_text("two")
        assert changed()

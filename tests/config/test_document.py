"""The parser keeps every text and place, in any spelling; or it reports a clear error."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from amlexec.config.document import Document, Mapping, Scalar, plain, read
from amlexec.config.generations import find
from amlexec.errors import ConfigurationError


def tree(text: str | bytes) -> Mapping:
    return read(text if isinstance(text, bytes) else text.encode(), "f.yml").root


def scalar(root: Mapping, key: str) -> Scalar:
    node = find(root, key)
    assert isinstance(node, Scalar)
    return node


def errors(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        tree(text)
    assert caught.value.violations
    return caught.value.lines()


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        ("0123", "int"),
        ("1.10", "float"),
        ("5:22", "int"),
        ("on", "bool"),
        ("NO", "bool"),
        ("3_000", "int"),
        ("12:30:45", "int"),
        ("1e3", "str"),
        ("2018-01-02", "timestamp"),
        ("~", "null"),
        ("a#b#c", "str"),
        ("$file", "str"),
        ("https://example.org/x?a=b", "str"),
    ],
)
def test_a_scalar_keeps_its_text(text: str, resolved: str) -> None:
    found = scalar(tree(f"key: {text}\n"), "key")
    assert (found.text, found.is_plain, found.resolved) == (text, True, resolved)
    quoted = scalar(tree(f"key: '{text}'\n"), "key")
    assert (quoted.text, quoted.is_plain, quoted.resolved) == (text, False, "str")


@pytest.mark.parametrize(
    "text", ["0123", "1.10", "5:22", "on", "3_000", "12:30:45", "1e3", "~", "Off", "x", "0x1F"]
)
def test_resolved_types_are_those_of_yaml(text: str) -> None:
    """The peer is PyYAML's own resolver."""
    peer = yaml.compose(f"key: {text}", Loader=yaml.SafeLoader)
    assert peer is not None
    tag = peer.value[0][1].tag
    assert scalar(tree(f"key: {text}\n"), "key").resolved == tag.rpartition(":")[2]


def test_places_count_from_one() -> None:
    root = tree("# words\n\nkey:   value\nother:\n  - a\n  -   b\n")
    assert (root.entries["key"].line, root.entries["key"].column) == (3, 1)
    assert (scalar(root, "key").line, scalar(root, "key").column) == (3, 8)
    items = find(root, "other")
    assert [(item.line, item.column) for item in items.items] == [(5, 5), (6, 7)]  # type: ignore[union-attr]


def test_anchors_aliases_and_merge_keys() -> None:
    root = tree("a: &a {x: 1, y: 2}\nb: *a\nc:\n  <<: *a\n  y: 3\nd:\n  <<: [*a, {z: 4}]\n")
    assert plain(root) == {
        "a": {"x": "1", "y": "2"},
        "b": {"x": "1", "y": "2"},
        "c": {"y": "3", "x": "1"},
        "d": {"x": "1", "y": "2", "z": "4"},
    }


def test_tags_make_values_text() -> None:
    assert scalar(tree("a: !!str true\n"), "a").resolved == "str"
    assert scalar(tree("a: !!bool true\n"), "a").resolved == "bool"


def test_json_with_tabs_and_surrogates_has_its_places() -> None:
    root = tree('{\n\t"a":\t"\\ud83d\\ude00",\n\t"b\u2028":\t[1,\n\t\t2]\n}')
    assert plain(root) == {"a": "😀", "b\u2028": ["1", "2"]}
    assert (root.entries["a"].line, root.entries["b\u2028"].line) == (2, 3)


def test_an_empty_document_at_the_end_is_ignored() -> None:
    assert plain(tree("---\na: 1\n---\n")) == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "f.yml: error: the file is empty"),
        ("~\n", "f.yml: error: the file is empty"),
        ("- a\n", "f.yml:1:1: error: the file is a list; expected keys and values"),
        ("words\n", "f.yml:1:1: error: the file is a single value; expected keys and values"),
        ("Framework:Python\n", "f.yml:1:11: error: no blank after the colon of 'Framework'"),
        ("A: 1\nFramework:Python\nB: 2\n", "f.yml:2:11: error: no blank after the colon of 'Framework'"),
        ("A: 1\n B: 2\n", "f.yml:2:2: error: a key at the wrong indent"),
        ("A:\n  b: 1\n c: 2\n", "f.yml:3:2: error: a key at the wrong indent"),
        ("A: b: c\n", "f.yml:1:5: error: a second ':' in one line"),
        ("A: 1\nwords\nB: 2\n", "f.yml:2:1: error: a line without ':'"),
        ("A:\n  -pip\n  - x\n", "f.yml:2:3: error: no blank after the dash"),
        ("A: [1, 2\nB: 3\n", "f.yml:1:4: error: the '[' that opens here is not closed"),
        ('{"a": 1', "f.yml:1:1: error: the '{' that opens here is not closed"),
        ('{"a": 1 "b": 2}', "f.yml:1:8: error: missing comma"),
        ('{"a": true\n"b": 2}', "f.yml:1:11: error: missing comma"),
        ('{"a": 1}}\n', "f.yml:1:9: error: more text after the end of the value"),
        ("A: @x\n", "f.yml:1:4: error: a value can't begin with '@'"),
        ("A: *x\n", "f.yml:1:4: error: the alias '*x' has no anchor"),
        ("A: &x [*x]\n", "f.yml:1:8: error: the alias '*x' is used inside itself"),
        ("A: {{x}}\n", "f.yml:1:5: error: a map or list where a key is expected"),
        ("A: !x y\n", "f.yml:1:4: error: the YAML tag '!x' is not allowed"),
        ("A: 1\n<<: 2\n", "f.yml:2:1: error: '<<' merges a map, and this is not a map"),
        ('A: "\x07"\n', "f.yml:1:5: error: the character U+0007 is not allowed in YAML"),
        ("A: " + "[" * 100_000, "f.yml:1:67: error: nested more than 64 deep"),
        ("{" * 100_000, "f.yml:1:65: error: nested more than 64 deep"),
        ("[" * 65, "f.yml:1:65: error: nested more than 64 deep"),
        ("A: [é, " + "[" * 1_001, "f.yml:1:70: error: nested more than 64 deep"),
        ("- " * 2_000, "f.yml:1:129: error: nested more than 64 deep"),
        ('{"é😀": ' * 1_200, "f.yml:1:449: error: nested more than 64 deep"),
        (
            "".join(f"{' ' * level}a:\n" for level in range(1_200)),
            "f.yml:65:65: error: nested more than 64 deep",
        ),
        ("a" * 1_000_001, "f.yml: error: the file is too large: 1,000,001 bytes"),
    ],
)
def test_an_error_has_the_place_and_the_cause(text: str, line: str) -> None:
    assert errors(text)[0] == line
    assert len([one for one in errors(text) if "error:" in one]) == 1


def test_every_duplicate_key_is_reported() -> None:
    said = errors("a: 1\nb: 1\na: 2\nb: 2\n")
    assert [one for one in said if "hint" not in one] == [
        "f.yml:3:1: error: duplicate key 'a'; the first is on line 1",
        "f.yml:4:1: error: duplicate key 'b'; the first is on line 2",
    ]


def test_same_result_without_libyaml() -> None:
    code = (
        "import sys; sys.modules['yaml._yaml'] = None\n"
        "import yaml; assert not hasattr(yaml, 'CSafeLoader')\n"
        "from amlexec.config.document import plain, read\n"
        "from amlexec.errors import ConfigurationError\n"
        "print(plain(read(b'\"a\":\\t\"b\"\\nc: 1.10 # x\\n', 'f').root))\n"
        "try:\n    read(b'a: 1\\nb:2\\n', 'f')\n"
        "except ConfigurationError as error:\n    print(error.lines()[0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "{'a': 'b', 'c': '1.10'}",
        "f:2:3: error: no blank after the colon of 'b'",
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
"""Any text that a file in UTF-8 can hold."""
MAPS = st.dictionaries(TEXTS.filter(lambda key: key != "<<"), TEXTS, min_size=1, max_size=6)


@given(MAPS, st.sampled_from([None, "'", '"', "|", ">"]), st.booleans())
def test_yaml_reads_back_in_any_quoting(values: dict[str, str], style: str | None, unicode: bool) -> None:
    text = yaml.safe_dump(values, default_style=style, allow_unicode=unicode, sort_keys=False)
    # PyYAML writes some of Unicode's line separators in a form that no parser reads back.
    assume(yaml.safe_load(text) == values)
    root = tree(text)
    assert {key: entry.value.text for key, entry in root.entries.items()} == values  # type: ignore[union-attr]


@given(MAPS, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_json_reads_back(values: dict[str, str], ascii_only: bool, indent: int | str | None) -> None:
    text = json.dumps(values, ensure_ascii=ascii_only, indent=indent)
    root = tree(text)
    assert {key: entry.value.text for key, entry in root.entries.items()} == values  # type: ignore[union-attr]
    if indent:
        assert [entry.line for entry in root.entries.values()] == [*range(2, len(values) + 2)]


LINES = st.lists(
    st.sampled_from(["# words", "", "key{}: value", "key{}: 'it''s'", "key{}:\n  - a", "key{}: 1.10"])
)


@given(LINES)
def test_line_endings_and_byte_order_marks_make_no_difference(lines: list[str]) -> None:
    text = "".join(f"{line.format(number)}\n" for number, line in enumerate(["key{}: x", *lines]))
    expected = tree(text)
    assert tree(text.replace("\n", "\r\n")) == expected
    assert tree(b"\xef\xbb\xbf" + text.encode()) == expected
    for key, entry in expected.entries.items():
        assert text.split("\n")[entry.line - 1].startswith(f"{key}:")


@settings(max_examples=500)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(st.sampled_from("ab:-[]{}'\"\n\t ,#&*!|>%@?<=\\."), max_size=60).map(str.encode),
    )
)
def test_any_bytes_give_a_document_or_an_error(data: bytes) -> None:
    try:
        found = read(data, "f.yml")
    except ConfigurationError as error:
        assert error.violations
        assert all(one.place.path == "f.yml" and one.message for one in error.violations)
        lines = data.count(b"\n") + data.count(b"\r") + 3 * len(data)
        assert all(0 <= one.place.line <= lines + 1 for one in error.violations)
    else:
        assert isinstance(found, Document)

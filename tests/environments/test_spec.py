"""An environment's digest: equal if the same is installed, different if anything else is."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amlexec.config import load as config
from amlexec.dependencies import CondaDependencies, Line
from amlexec.digest import canonical_json, of_bytes
from amlexec.environments import spec as environments
from amlexec.environments.explain import explain
from amlexec.environments.locked import Locked
from amlexec.environments.spec import RECIPE, EnvironmentSpec, canonical, spec_of
from amlexec.packages.conda_spec import canonical_spec, channels
from amlexec.packages.platforms import DEFAULT, Platform
from amlexec.values import Place, Project

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = "aml_config/conda_dependencies.yml"
VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.json"))
PROPERTY = settings(
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
)


def dependencies(
    specs: tuple[str, ...] = (), pip: tuple[str, ...] = (), channels: tuple[str, ...] = ("conda-forge",)
) -> CondaDependencies:
    numbers = itertools.count(3)

    def lines(texts: tuple[str, ...]) -> tuple[Line, ...]:
        next(numbers)  # the key above
        return tuple(Line(text, Place(FILE, next(numbers), 5)) for text in texts)

    return CondaDependencies(Place(FILE), lines(channels), lines(specs), lines(pip))


def spec(
    root: Path, found: CondaDependencies, base: str = "debian:12", platform: Platform = DEFAULT
) -> EnvironmentSpec:
    return spec_of(Project(str(root)), base, found, platform)


def digest(found: EnvironmentSpec) -> str:
    return of_bytes(canonical(found))


class TestVectors:
    """These values have these digests, on every machine and in every release of this recipe.

    A test here that fails means that everybody's environments would be made again. If that is right, raise
    RECIPE and add vectors for it.
    """

    @pytest.mark.parametrize("path", VECTORS, ids=[path.stem for path in VECTORS])
    def test_digest(self, path: Path) -> None:
        told = json.loads(path.read_text("utf-8"))
        value = dict(told["spec"])
        value["platform"] = Platform(*value["platform"])
        for key in ("channels", "specs", "spark"):
            value[key] = tuple(value.get(key, ()))
        value["pip"] = tuple(tuple(one) for one in value.get("pip", ()))
        if "locked" in value:
            value["locked"] = tuple(Locked(*one) for one in value["locked"])
        found = EnvironmentSpec(**value)
        assert canonical(found).decode() == told["canonical"]
        assert digest(found) == told["digest"]

    def test_this_recipe_has_vectors(self) -> None:
        told = [json.loads(path.read_text("utf-8"))["spec"] for path in VECTORS]
        assert len([one for one in told if one["recipe"] == RECIPE]) >= 4

    @pytest.mark.parametrize("path", VECTORS, ids=[path.stem for path in VECTORS])
    def test_vectors_come_from_real_files(self, path: Path, tmp_path: Path) -> None:
        told = json.loads(path.read_text("utf-8"))
        written = told.get("written")
        if written is None:
            assert "locked" in told["spec"] or told["spec"]["spark"], "these stand in other files"
            return
        (tmp_path / "aml_config").mkdir()
        (tmp_path / FILE).write_text(written, "utf-8")
        project = Project(str(tmp_path))
        platform = Platform(*told["spec"]["platform"])
        found = spec_of(project, told["spec"]["base_image"], config.load_conda(project, FILE), platform)
        assert digest(found) == told["digest"]


class TestSpecText:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("numpy=1.26", "numpy 1.26.*"),
            ("numpy = 1.26", "NumPy=1.26.*"),
            ("numpy==1.26", "numpy 1.26"),
            ("numpy", "numpy *"),
            ("numpy>=1.2,<2", "numpy <2, >= 1.2"),
            ("numpy=1.26=py39_0", "numpy 1.26 py39_0"),
            ("numpy==1.2A", "numpy==1.2a"),
            ("https://u:p@h/c::six", "https://h/c/::six"),
        ],
    )
    def test_same(self, one: str, other: str) -> None:
        assert canonical_spec(one) == canonical_spec(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("numpy=1.26", "numpy==1.26"),
            ("numpy=1.26", "numpy 1.26"),
            ("numpy=1.26", "numpy>=1.26"),
            ("numpy=1.2", "numpy=1.20"),
            ("numpy=1.26=a", "numpy=1.26=A"),
            ("numpy >=1", "numpy > =1"),
            ("numpy", "conda-forge::numpy"),
            ("numpy 1.2|1.3", "numpy 1.2,1.3"),
            ("scikit-learn", "scikit_learn"),
        ],
    )
    def test_other(self, one: str, other: str) -> None:
        assert canonical_spec(one) != canonical_spec(other)

    @PROPERTY
    @given(
        st.lists(
            st.sampled_from(list("ab1=<>!~|,.* ")) | st.sampled_from(["==", ">=", " 1.2", ".*"]), max_size=9
        )
    )
    def test_equal_only_if_the_solver_treats_them_alike(self, parts: list[str]) -> None:
        from rattler import MatchSpec

        text = f"numpy{''.join(parts)}"
        found = canonical_spec(text)
        try:
            theirs = MatchSpec(text)
        except Exception as error:
            assert type(error).__module__ == "exceptions"
            return  # an invalid spec never becomes an environment, so its digest is never used
        ours = MatchSpec(found)
        assert _clauses(ours) == _clauses(theirs)

    def test_idempotent(self) -> None:
        for text in ("NumPy = 1.26", "a >=1 , <2", "c::a=1=b_0", "a[version='>=1']", "a 1.2|>=3,<4"):
            assert canonical_spec(canonical_spec(text)) == canonical_spec(text)

    def test_channels(self) -> None:
        assert channels(["a", "https://u:p@h/t/tok/c/", "a", "nodefaults"]) == ("a", "https://h/c")
        assert channels([]) == channels(["nodefaults"]) == ("conda-forge",)

    def test_password_in_a_spec(self) -> None:
        assert "hidden" not in canonical_spec("six[channel='https://u:hidden@h/c', version='>=1']")


def _clauses(found: Any) -> tuple[str, list[str], str]:
    version = found.version or "*"
    # Clauses that must all hold may be in any order, and repeated.
    told = sorted(set(version.split(","))) if "|" not in version else [version]
    return str(found.name), told, " ".join((found.build or "").split())


class Written(NamedTuple):
    """The content of a dependencies file, independent of its style."""

    channels: list[str]
    specs: list[str]
    pip: list[str]


_NAMES = ("numpy", "pandas", "scikit-learn", "python", "idna", "xz", "six", "on", "no")
_VERSIONS = st.sampled_from(
    ["", "=1.26", "==1.26", "=1.10", "=1.1", ">=1.2,<2", "==3", "=2.0", "=1e3", "==0x1f"]
)
_SPECS = st.lists(
    st.tuples(st.sampled_from(_NAMES), _VERSIONS).map("".join),
    unique_by=lambda one: one.split("=")[0],
    max_size=5,
)
_CHANNELS = st.lists(
    st.sampled_from(["conda-forge", "defaults", "bioconda", "https://h/c"]), unique=True, min_size=1
)
_PIP = st.lists(
    st.tuples(
        st.sampled_from(["polars", "httpx", "tqdm", "rich"]), st.sampled_from(["", "==1.0", "==1.10", ">=2"])
    ).map("".join),
    unique_by=lambda one: one.split("=")[0].rstrip(">"),
    max_size=4,
)
_WRITTEN = st.builds(Written, _CHANNELS, _SPECS, _PIP)


class Style(NamedTuple):
    """The style of a file, which has no meaning."""

    quote: list[str]
    order: Any
    comments: bool
    blank: bool
    ending: str
    flow: bool
    anchors: bool
    name: str
    indent: int
    bom: bool
    spaces: bool


_STYLES = st.builds(
    Style,
    quote=st.lists(st.sampled_from(["", "'", '"']), min_size=6, max_size=6),
    order=st.randoms(use_true_random=False),
    comments=st.booleans(),
    blank=st.booleans(),
    ending=st.sampled_from(["\n", "\r\n"]),
    flow=st.booleans(),
    anchors=st.booleans(),
    name=st.sampled_from(["", "project_environment", "other"]),
    indent=st.sampled_from([2, 4]),
    bom=st.booleans(),
    spaces=st.booleans(),
)


def rendered(written: Written, style: Style) -> str:
    """The file's text."""
    quotes = itertools.cycle(style.quote)
    seen = 0

    def scalar(text: str, *, spread: bool = False) -> str:
        nonlocal seen
        quote = next(quotes)
        if spread and style.spaces and "=" in text and not text.startswith("http"):
            text = text.replace(",", ", ")
            text = text.upper() if "e3" not in text and "x1f" not in text else text
        # Users must quote a scalar that YAML would give another type.
        shown = f"{quote or chr(39)}{text}{quote or chr(39)}" if quote or text[0] in "0123456789" else text
        if text in {"on", "no"}:
            shown = f"'{text}'"
        seen += 1
        return f"&a{seen} {shown}" if style.anchors else shown

    specs = list(written.specs)
    style.order.shuffle(specs)
    out = []
    if style.comments:
        out.append("# a comment: with [signs] & 'quotes'")
    if style.name:
        out.append(f"name: {style.name}")
    pad = " " * style.indent
    told = [scalar(one) for one in written.channels]
    out += (
        [f"channels: [{', '.join(told)}]"]
        if style.flow
        else ["channels:", *(f"{pad}- {one}" for one in told)]
    )
    out.append("dependencies:" if specs or written.pip else "dependencies: []")
    for spec_text in specs:
        out.append(f"{pad}- {scalar(spec_text, spread=True)}{'  # why' if style.comments else ''}")
        if style.blank:
            out.append("")
    if written.pip:
        lines = [scalar(one) for one in written.pip]
        out.append(f"{pad}- pip:")
        out += [f"{pad}{pad}- {one}" for one in lines]
        if style.comments:
            out.append(f"{pad}{pad}- '# nothing'")
    return ("\ufeff" if style.bom else "") + style.ending.join(out) + style.ending


@pytest.fixture(scope="module")
def digest_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """The digest of an environment that a file of this text and name declares."""
    root = tmp_path_factory.mktemp("digests")
    (root / "aml_config/deep").mkdir(parents=True)
    project = Project(str(root))

    def found(text: str, name: str = FILE, base: str = "debian:12", platform: Platform = DEFAULT) -> str:
        (root / name).write_bytes(text.encode())
        return digest(spec_of(project, base, config.load_conda(project, name), platform))

    return found


_PLAIN = Style([""] * 6, None, False, False, "\n", False, False, "", 2, False, False)


class _Unshuffled:
    """A random order that leaves lists unchanged."""

    def shuffle(self, _: list[str]) -> None:
        """Do nothing."""


PLAIN = _PLAIN._replace(order=_Unshuffled())


class TestMetamorphic:
    @PROPERTY
    @given(_WRITTEN, _STYLES, st.sampled_from([FILE, "aml_config/deep/other.yml"]))
    def test_style_does_not_change_the_digest(
        self, digest_of: Callable[..., str], written: Written, style: Style, name: str
    ) -> None:
        assert digest_of(rendered(written, style), name) == digest_of(rendered(written, PLAIN))

    @PROPERTY
    @given(_WRITTEN, st.data())
    def test_content_changes_the_digest(
        self, digest_of: Callable[..., str], written: Written, data: st.DataObject
    ) -> None:
        edit = data.draw(st.sampled_from(_edits(written)), label="edit")
        changed = copy.deepcopy(written)
        edit(changed)
        assert changed != written
        style = data.draw(_STYLES, label="style")
        assert digest_of(rendered(changed, style)) != digest_of(rendered(written, PLAIN))

    def test_everything_besides_the_file(self, digest_of: Callable[..., str]) -> None:
        text = rendered(Written(["conda-forge"], ["python=3.12"], []), PLAIN)
        seen = {
            digest_of(text),
            digest_of(text, base="debian:13"),
            digest_of(text, platform=Platform("linux-aarch64")),
            digest_of(text, platform=Platform("linux-64", "2.17")),
            digest_of(text, platform=Platform("linux-64", cuda="12.0")),
        }
        assert len(seen) == 5


def _edits(written: Written) -> list[Callable[[Written], None]]:
    """Every kind of change that matters and that applies to the content."""

    def add(which: str, text: str) -> Callable[[Written], None]:
        return lambda one: getattr(one, which).append(text)

    def remove(which: str, at: int) -> Callable[[Written], None]:
        return lambda one: getattr(one, which).__delitem__(at)

    def replace(which: str, at: int, text: str) -> Callable[[Written], None]:
        return lambda one: getattr(one, which).__setitem__(at, text)

    def swap(which: str) -> Callable[[Written], None]:
        return lambda one: getattr(one, which).insert(0, getattr(one, which).pop())

    edits = [add("channels", "https://h/new"), add("specs", "new-package"), add("pip", "new-package")]
    for which in ("specs", "pip"):
        for at, text in enumerate(getattr(written, which)):
            name = text.rstrip("0123456789.,<>=ex f").rstrip("=<>") if any(c in text for c in "=<>") else text
            edits += [
                remove(which, at),
                replace(which, at, f"{name}==7.7"),
                replace(which, at, f"other-{text}"),
            ]
    if len(written.channels) > 1:
        edits += [swap("channels"), remove("channels", 0)]
    if len(written.pip) > 1:
        edits.append(swap("pip"))
    return edits


class TestSpecOf:
    def test_what_does_not_count(self, tmp_path: Path) -> None:
        (tmp_path / "here").mkdir()
        (tmp_path / "there").mkdir()
        found = []
        for name in ("here", "there"):
            (tmp_path / name / "r.txt").write_text(
                "idna\n" if name == "here" else "# comment\n\nidna # same\n"
            )
            found.append(
                spec(tmp_path / name, dependencies(("python=3.12",), ("-r r.txt", "--trusted-host h")))
            )
        assert digest(found[0]) == digest(found[1])
        assert found[0].files == (str(tmp_path / "here/r.txt"),)

    def test_a_requirements_file_counts_as_its_lines(self, tmp_path: Path) -> None:
        (tmp_path / "r.txt").write_text("idna==3.10\n")
        assert digest(spec(tmp_path, dependencies(pip=("-r r.txt",)))) == digest(
            spec(tmp_path, dependencies(pip=("idna==3.10",)))
        )
        assert digest(spec(tmp_path, dependencies(pip=("-c r.txt",)))) != digest(
            spec(tmp_path, dependencies(pip=("idna==3.10",)))
        )

    def test_secrets_do_not_count(self, tmp_path: Path) -> None:
        found = spec(
            tmp_path,
            dependencies(
                ("https://u:hidden@h/c::six",),
                ("--index-url https://u:hidden@h/simple", "https://h/x.whl?sig=hidden&sv=1"),
                ("https://u:hidden@h/t/hidden/c",),
            ),
        )
        assert b"hidden" not in canonical(found)
        assert "hidden" not in repr(found)

    def test_recipe(self, tmp_path: Path) -> None:
        found = spec(tmp_path, dependencies(("python",)))
        assert digest(found._replace(recipe=RECIPE + 1)) != digest(found)

    def test_places_do_not_count(self, tmp_path: Path) -> None:
        found = spec(tmp_path, dependencies(("python",)))
        assert digest(found._replace(places=(), files=())) == digest(found)

    def test_canonical_json_is_unique(self) -> None:
        assert canonical_json({"b": [1], "a": "é"}) == '{"a":"é","b":[1]}'.encode()


class TestReason:
    """`conda_dependencies.yml:9: numpy 1.26 -> 2.0`."""

    OLD = (("python=3.12", "numpy=1.26"), ("polars==1.9",), ("conda-forge", "bioconda"))

    def because(self, root: Path, *new: tuple[str, ...], **more: Any) -> str:
        old = spec(root, dependencies(*self.OLD))
        found = spec(root, dependencies(*new), **more)
        return explain(canonical(old), canonical(found), found.places)

    @pytest.mark.parametrize(
        ("specs", "sentence"),
        [
            (("python=3.12", "numpy=2.0"), f"{FILE}:8: numpy 1.26 -> 2.0"),
            (("python=3.12", "numpy==1.26"), f"{FILE}:8: numpy =1.26 -> ==1.26"),
            (("python=3.12", "numpy"), f"{FILE}:8: numpy =1.26 -> any"),
            (("python=3.12", "numpy=1.26", "scipy=1.14"), f"{FILE}:9: scipy=1.14 added"),
            (("python=3.12",), f"{FILE}: numpy=1.26 removed"),
            (("python=3.13", "numpy=2.0", "scipy"), f"{FILE}:8: numpy 1.26 -> 2.0 … and 2 more"),
            (("python=3.12", "bioconda::numpy=1.26"), f"{FILE}:8: numpy 1.26.* -> bioconda::numpy 1.26.*"),
            (("numpy =1.26", "python 3.12.*"), ""),
        ],
    )
    def test_specs(self, tmp_path: Path, specs: tuple[str, ...], sentence: str) -> None:
        assert self.because(tmp_path, specs, *self.OLD[1:]) == sentence

    @pytest.mark.parametrize(
        ("pip", "sentence"),
        [
            (("polars==1.10",), f"{FILE}:10: polars 1.9 -> 1.10"),
            (("polars",), f"{FILE}:10: polars 1.9 -> any"),
            (("polars==1.9", "rich"), f"{FILE}:11: rich added"),
            ((), f"{FILE}: polars==1.9 removed"),
            (("--pre", "polars==1.9"), f"{FILE}:10: --pre added"),
        ],
    )
    def test_pip(self, tmp_path: Path, pip: tuple[str, ...], sentence: str) -> None:
        assert self.because(tmp_path, self.OLD[0], pip, self.OLD[2]) == sentence

    @pytest.mark.parametrize(
        ("told", "sentence"),
        [
            (
                ("bioconda", "conda-forge"),
                f"{FILE}:4: the order of the channels changed to bioconda, conda-forge",
            ),
            (("conda-forge", "bioconda", "pytorch"), f"{FILE}:6: channel pytorch added"),
            (("conda-forge",), f"{FILE}: channel bioconda removed"),
        ],
    )
    def test_channels(self, tmp_path: Path, told: tuple[str, ...], sentence: str) -> None:
        assert self.because(tmp_path, *self.OLD[:2], told) == sentence

    def test_besides_the_file(self, tmp_path: Path) -> None:
        assert (
            self.because(tmp_path, *self.OLD, base="debian:13")
            == f"{FILE}: base image debian:12 -> debian:13"
        )
        place = Place("aml_config/docker.compute", 2, 1)
        old = spec(tmp_path, dependencies(*self.OLD))
        new = spec_of(Project(str(tmp_path)), "debian:13", dependencies(*self.OLD), DEFAULT, base_place=place)
        assert explain(canonical(old), canonical(new), new.places) == (
            "aml_config/docker.compute:2: base image debian:12 -> debian:13"
        )
        assert explain(canonical(old), canonical(old._replace(recipe=99)), ()) == (
            f"the build recipe of environments changed: {RECIPE} -> 99"
        )
        assert "platform linux-64 2.28 -> linux-64 2.28 12.0" in self.because(
            tmp_path, *self.OLD, platform=Platform("linux-64", cuda="12.0")
        )

    def test_referenced_file(self, tmp_path: Path) -> None:
        (tmp_path / "requirements.txt").write_text("\nidna==3.7\n")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/pyproject.toml").write_text("[project]\n")
        found = dependencies(pip=("-r requirements.txt", "./mine"))
        old = spec(tmp_path, found)
        (tmp_path / "requirements.txt").write_text("\nidna==3.10\n")
        new = spec(tmp_path, found)
        assert explain(canonical(old), canonical(new), new.places) == "requirements.txt:2: idna 3.7 -> 3.10"
        (tmp_path / "mine/code.py").write_text("")
        newer = spec(tmp_path, found)
        assert explain(canonical(new), canonical(newer), newer.places) == "mine changed"

    def test_lock_file(self, tmp_path: Path) -> None:
        old = spec(tmp_path, dependencies(*self.OLD))
        one = Locked("conda", "numpy", "1.26.4", "py_0", "https://h/numpy-1.26.4-py_0.conda", "a" * 64)
        lock = (*old.places, (("locked", ""), Place("aml_config/conda_dependencies.lock")))
        locked = old._replace(specs=(), channels=(), pip=(), locked=(one,), places=lock)
        assert explain(canonical(old), canonical(locked), locked.places) == (
            "aml_config/conda_dependencies.lock: there is a lock file now; its packages are installed"
        )
        assert explain(canonical(locked), canonical(old), old.places) == (
            f"{FILE}: the lock file was removed; the newest fitting packages are installed"
        )
        other = locked._replace(locked=(one._replace(version="2.0"),))
        assert explain(canonical(locked), canonical(other), other.places) == (
            "aml_config/conda_dependencies.lock: numpy 1.26.4 -> 2.0"
        )
        other = locked._replace(locked=(one._replace(sha256="b" * 64),))
        assert explain(canonical(locked), canonical(other)) == "numpy 1.26.4 has another source or content"

    @pytest.mark.parametrize("old", ["", "[]", "{}", "null", '{"recipe": 0}', "\x00"])
    def test_value_of_another_format(self, tmp_path: Path, old: str) -> None:
        found = spec(tmp_path, dependencies(*self.OLD))
        sentence = explain(old, canonical(found), found.places)
        assert sentence
        assert "Traceback" not in sentence

    @PROPERTY
    @given(_WRITTEN, _WRITTEN)
    def test_every_change_has_a_reason(self, tmp_path: Path, one: Written, other: Written) -> None:
        old, new = (
            spec(tmp_path, dependencies(tuple(a.specs), tuple(a.pip), tuple(a.channels)))
            for a in (one, other)
        )
        sentence = explain(canonical(old), canonical(new), new.places)
        assert bool(sentence) == (digest(old) != digest(new))
        assert "the change is unknown" not in sentence


def test_public_names() -> None:
    for name in environments.__all__:
        assert hasattr(environments, name)

"""Whether a Python can load a model: said before it is tried."""

from __future__ import annotations

import pickle
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.models import fit
from amlexec.models.folder_store import FolderStore
from amlexec.models.registry import Registry
from amlexec.models.version import Origin

if TYPE_CHECKING:
    from amlexec.models.listing import Model


def registered(tmp_path: Path, data: bytes, origin: Origin) -> tuple[Model, Path]:
    path = tmp_path / "model.pkl"
    path.write_bytes(data)
    registry = Registry(FolderStore(tmp_path / "registry", is_private=False))
    model = registry.register("m", path, origin=origin).model
    return model, registry.fetch(model)


@pytest.mark.parametrize(("protocol", "first"), [(2, (3, 0)), (3, (3, 0)), (4, (3, 4)), (5, (3, 8))])
def test_a_pickle_says_which_python_and_modules_it_needs(
    tmp_path: Path, protocol: int, first: tuple[int, int]
) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps([OrderedDict(a=1), Path("x")], protocol))
    needs = fit.needs_of(path)
    assert needs is not None
    assert needs.python == first
    assert "collections" in needs.modules
    # Cut off, as where joblib puts the bytes of an array.
    path.write_bytes(path.read_bytes()[:-2] + b"\xff" * 100)
    assert fit.needs_of(path) is not None


@given(st.binary(max_size=60), st.sampled_from([2, 3, 4, 5]))
def test_a_damaged_pickle_is_read_as_far_as_possible(data: bytes, protocol: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.pkl")
        path.write_bytes(bytes([0x80, protocol]) + data)
        assert fit.needs_of(path) is not None


@pytest.mark.parametrize("data", [b"", b"{}", b"\x80", b"\x80\x63abc", b"PK\x03\x04", b"cos\nsystem\n"])
def test_other_files_are_no_pickles(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(data)
    assert fit.needs_of(path) is None


def test_a_protocol_that_is_too_new_is_certain(tmp_path: Path) -> None:
    model, folder = registered(tmp_path, pickle.dumps({}, 5), Origin("3.11.4"))
    (found,) = fit.mismatches(model, folder, "3.7.2")
    assert found == fit.Mismatch("model.pkl is a pickle for Python 3.8 and later, not 3.7.2", True)
    assert fit.mismatches(model, folder, "3.11.9") == []
    (found,) = fit.mismatches(model, folder, "3.12.0")
    assert found == fit.Mismatch("m:1 was made with Python 3.11.4, and this is 3.12.0", False)


def test_bytecode_needs_the_same_python(tmp_path: Path) -> None:
    data = b"\x80\x04\x8c\x17cloudpickle.cloudpickle\x94\x8c\x08_builtin\x94\x93\x94."
    model, folder = registered(tmp_path, data, Origin("3.11.4"))
    (found,) = fit.mismatches(model, folder, "3.12.0")
    assert found.is_certain
    assert found.problem == "model.pkl contains bytecode of Python 3.11.4, which 3.12.0 can't execute"
    assert fit.mismatches(model, folder, "3.11.0") == []


def test_packages_that_are_missing_or_differ(tmp_path: Path) -> None:
    data = b"\x80\x04\x8c\x0fsklearn.svm._sv\x94\x8c\x03SVC\x94\x93\x94."
    origin = Origin("3.11.4", {"pip.scikit-learn": "1.5.0", "numpy": "1.26.4", "python": "3.11.4"})
    model, folder = registered(tmp_path, data, origin)
    found = fit.mismatches(model, folder, "3.11.4", {"numpy": "2.0.0", "python": "3.11.9"})
    assert found == [
        fit.Mismatch("model.pkl needs the module sklearn, which no package has", True),
        fit.Mismatch("numpy was 1.26.4 when m:1 was made, and is 2.0.0 here", False),
    ]
    assert fit.mismatches(model, folder, "3.11.4", {"scikit-learn": "1.5.0"}) == []

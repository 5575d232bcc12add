"""Which conda packages are in which layer."""

from __future__ import annotations

from rattler import BuildString, NoArchType, PackageRecord, RepoDataRecord, VersionWithSource

from amlexec.images.conda_stack import stacked


def record(name: str, *depends: str, sha256: bytes | None = b"\1" * 32) -> RepoDataRecord:
    """A package of a channel."""
    package = PackageRecord(
        name,
        VersionWithSource("1.0"),
        BuildString("0"),
        0,
        "noarch",
        noarch=NoArchType("generic"),
        depends=list(depends),
        sha256=sha256,
    )
    address = f"https://channel.example.org/noarch/{name}-1.0-0.conda"
    return RepoDataRecord(package, f"{name}-1.0-0.conda", address, "https://channel.example.org/")


def names(*records: RepoDataRecord) -> list[str]:
    """The names of the packages of each part, those below left out."""
    told, below = [], set[str]()
    for part in stacked(sorted(records, key=lambda each: each.name.normalized)):
        now = {each.name.normalized for each in part}
        assert below <= now
        told.append(" ".join(sorted(now - below)))
        below = now
    return told


SSL = record("openssl", "__glibc >=2.17,<3.0.a0")
PYTHON = record("python", "openssl >=3,<4", "channel.example.org::libffi[build=0]", "tzdata")
SETUPTOOLS, PIP = record("setuptools", "python"), record("pip", "python >=3.9", "setuptools")
TZDATA, FFI = record("tzdata"), record("libffi")
SIX = record("six", "python")


def test_python_with_what_it_needs_is_at_the_bottom_then_pip() -> None:
    of_python = "libffi openssl python tzdata"
    assert names(PYTHON, SSL, TZDATA, FFI) == [of_python]
    assert names(PYTHON, SSL, TZDATA, FFI, SIX) == [of_python, "six"]
    assert names(PYTHON, SSL, TZDATA, FFI, PIP, SETUPTOOLS) == [of_python, "pip setuptools"]
    assert names(PYTHON, SSL, TZDATA, FFI, PIP, SETUPTOOLS, SIX) == [of_python, "pip setuptools", "six"]


def test_each_layer_has_all_that_its_packages_need() -> None:
    both = record("python", "pip"), record("pip", "python", "six")
    assert names(*both, SIX, SSL) == ["pip python six", "openssl"]


def test_a_package_without_a_checksum_is_shared_with_nobody() -> None:
    unknown = record("openssl", sha256=None)
    assert names(PYTHON, unknown, TZDATA, FFI, SIX) == ["libffi openssl python six tzdata"]


def test_without_a_python_there_is_one_layer() -> None:
    assert names(TZDATA, FFI) == ["libffi tzdata"]

"""Secrets are hidden by the name of what holds them, and then wherever their value stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec.redaction import HIDDEN, is_secret, redact, redacted


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD",
        "db_password",
        "PGPASSWORD",
        "API_KEY",
        "APIKEY",
        "AWS_SECRET_ACCESS_KEY",
        "GITHUB_TOKEN",
        "AccountKey",
        "CONNECTION_STRING",
        "SAS",
        "MY_PWD",
        "SSH_PASSPHRASE",
        "CREDENTIALS",
        "BASIC_AUTH",
    ],
)
def test_names_that_look_secret(name: str) -> None:
    assert is_secret(name)
    assert redacted({name: "value"}) == {name: HIDDEN}


@pytest.mark.parametrize(
    "name", ["PATH", "EXAMPLE_ENV_VAR", "KEYBOARD", "MONKEY", "PASSENGERS", "AUTHOR", "PATIENCE"]
)
def test_names_that_do_not(name: str) -> None:
    assert not is_secret(name)
    assert redacted({name: "value"}) == {name: "value"}


def test_an_empty_value_hides_nothing() -> None:
    assert redacted({"TOKEN": ""}) == {"TOKEN": ""}
    assert redact("text", [("TOKEN", "")]) == "text"


@given(st.text(), st.text(min_size=6), st.text())
def test_a_secret_never_comes_through(before: str, secret: str, after: str) -> None:
    hidden = redact(before + secret + after, [("TOKEN", secret), ("PLAIN", before)])
    assert secret not in hidden or secret in HIDDEN * 9
    assert HIDDEN in hidden


def test_the_longest_secret_goes_first() -> None:
    assert redact("abcdefgh", [("A_TOKEN", "abcdef"), ("B_TOKEN", "abcdefgh")]) == HIDDEN

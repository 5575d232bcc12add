"""Secrets are recognized by their names, and their values are hidden everywhere."""

from __future__ import annotations

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amlexec import redaction
from amlexec.redaction import HIDDEN, hide, is_secret, redact, redacted, redacted_arguments


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
def test_names_that_do_not_look_secret(name: str) -> None:
    assert not is_secret(name)
    assert redacted({name: "value"}) == {name: "value"}


def test_an_empty_value_hides_nothing() -> None:
    assert redacted({"TOKEN": ""}) == {"TOKEN": ""}
    assert redact("text", [("TOKEN", "")]) == "text"


@given(st.text(), st.text(min_size=6), st.text())
def test_a_secret_is_never_printed(before: str, secret: str, after: str) -> None:
    hidden = redact(before + secret + after, [("TOKEN", secret), ("PLAIN", before)])
    assert secret not in hidden or secret in HIDDEN * 9
    assert HIDDEN in hidden


def test_the_longest_secret_is_replaced_first() -> None:
    assert redact("abcdefgh", [("A_TOKEN", "abcdef"), ("B_TOKEN", "abcdefgh")]) == HIDDEN


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--api-key canary", "--api-key ***"),
        ("--password=canary --lr 0.1", "--password=*** --lr 0.1"),
        ("--password=a=b&c", "--password=***"),
        ("-token canary canary", "-token *** ***"),
        ("--apiKey canary", "--apiKey ***"),
        ("--db.password canary", "--db.password ***"),
        ("API_KEY=canary x", "API_KEY=*** x"),
        ("token:canary", "token:***"),
        ("+wandb.api_key=canary", "+wandb.api_key=***"),
        ("--pwd 123", "--pwd ***"),
        ("--secret -leading", "--secret ***"),
        ("--password --lr 1", "--password --lr 1"),
        ("--db postgres://ada:canary@db:5432/x", "--db postgres://ada:***@db:5432/x"),
        ("https://b.example.org/c?sv=1&sig=canary%3D", "https://b.example.org/c?sv=1&sig=***"),
        ("--use-auth true --no-token", "--use-auth true --no-token"),
        (
            "--max-tokens 512 --tokenizer bert --pad-token-id 0",
            "--max-tokens 512 --tokenizer bert --pad-token-id 0",
        ),
        ("--token-file /run/secrets/t --lr=0.1", "--token-file /run/secrets/t --lr=0.1"),
        ("--num_key_value_heads 8 --epochs 3", "--num_key_value_heads 8 --epochs 3"),
    ],
)
def test_secrets_among_arguments(arguments: str, told: str) -> None:
    assert " ".join(redacted_arguments(arguments.split(" "))) == told


SECRETS = [
    'hush"hush/1',
    "grün",
    "back\\slash",
    "two  blanks",
    "100%",
    "a#b",
    "p@ss",
    "it's",
    "日本",
    "a?b:c",
    "t\tb",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_in_every_form(secret: str) -> None:
    shown = {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote(secret, safe="").lower(),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        " ".join(secret.split()),
    }
    for form in shown:
        for known in (secret, quote(secret, safe="")):
            assert hide(f"error: <{form}> is bad", [known]) == "error: <***> is bad"


def test_learned_secrets_and_those_of_the_environment_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_KNOWN", set())
    monkeypatch.setenv("MY_API_TOKEN", "canary-1234")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/")
    redaction.learn("canary-5678", "abc")
    assert redaction.hide_known("canary-1234 canary-5678 / abc") == "*** *** / abc"

"""The user's Kerberos ticket on the head node of a cluster. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amlexec.errors import TargetError

if TYPE_CHECKING:
    from amlexec.spark.submit_args import Spark

__all__ = ["in_words", "ticket_must_be_valid"]

_AGAIN = "run kinit there, and then this again"
_IN_A_FILE = (
    "set KRB5CCNAME to a file for logins without a terminal (such as in ~/.bashrc: "
    "export KRB5CCNAME=FILE:/tmp/krb5cc_$(id -u)), and run kinit there"
)


def ticket_must_be_valid(found: Spark, machine: str) -> None:
    """Raise TargetError if a cluster uses Kerberos, and Java finds no valid ticket of the user."""
    state, _, kind = found.ticket.partition(" ")
    if state in {"", "valid"}:
        return
    why, hint = "you have no ticket", _AGAIN
    if state == "expired":
        why = "your ticket has expired"
    elif state == "unreadable":
        why, hint = f"your ticket is in a cache of the kind {kind}, which Java cannot read", _IN_A_FILE
    raise TargetError(f"the cluster uses Kerberos, and {why}", where=machine, hint=hint)


def in_words(found: Spark) -> str:
    """A valid ticket, for people."""
    _, principal, *expires = found.ticket.split(" ")
    return f"a ticket of {principal}" + (f", until {' '.join(expires)}" if any(expires) else "")

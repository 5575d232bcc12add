"""Running scripts on another machine, over a real sshd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engines.ssh_host import QUIET, SHELLS

if TYPE_CHECKING:
    from tests.hosts import Host


class TestRun:
    @pytest.mark.parametrize("user", [*SHELLS, QUIET])
    def test_any_login_shell(self, host: Host, user: str) -> None:
        connection = host.connection(user)
        script = 'printf "%s|" "$0" "$#" "$@"; cat; echo wrong >&2; exit 7'
        arguments = (
            "a b",
            "it's",
            '"$HOME" `id` \\n',
            "two\nlines\n",
            "",
            "*",
            "!x",
            "ünï☃",
            "-n",
            "\x01\x7f\x85",
        )
        answer = connection.run(script, *arguments, input=b"data\n")
        assert answer.exit_code == 7
        assert answer.stdout.split("|")[1:] == [str(len(arguments)), *arguments, "data\n"]
        assert answer.stderr == "wrong\n"

"""Runs on an engine that several computers use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from amlexec.docker import containers
from amlexec.docker.errors import EngineAnswerError
from amlexec.targets import shared_engine
from tests.support.places import LABEL

if TYPE_CHECKING:
    from tests.support.places import Shop


@pytest.mark.parametrize("refused", [0, 1])
def test_a_canceled_run_is_marked(shop: Shop, monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    """Docker 26 without a bridge renames no container that runs: it says that there is no network."""
    rename, calls = containers.rename, []

    def like_docker_26(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) <= refused:
            raise EngineAnswerError("network bridge not found", status=404)
        rename(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(containers, "rename", like_docker_26)
    run_id = f"demo_{1700000000000 + refused}"
    wanted = {"Image": shop.base, "Cmd": ["sleep", "600"], "Labels": {LABEL: shop.session}}
    made = containers.create(shop.engine, wanted)
    try:
        containers.start(shop.engine, made)
        with shared_engine.canceling(shop.engine, made, run_id):
            containers.stop(shop.engine, made, 0)
        found = containers.inspect(shop.engine, made)
        assert found is not None
        assert shared_engine.state_of(containers.state_of(shop.engine, found)).canceled
    finally:
        containers.remove(shop.engine, made, force=True)


def test_a_run_that_ended_at_once_has_not_ended_before_it_began() -> None:
    ended = containers.ContainerState("exited", 2.0, 1.5, 0, False, {}, False)
    state = shared_engine.state_of(ended)
    assert (state.began, state.ended) == (1.5, 1.5)
    again = shared_engine.state_of(ended._replace(status="running"))  # after an earlier end
    assert (again.phase, again.began) == ("running", 2.0)

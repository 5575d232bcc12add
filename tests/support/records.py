"""A record of a run as tests begin with one."""

from __future__ import annotations

from amlexec.history.record import Interpreter, Outputs, Run, SnapshotRecord, Source

__all__ = ["RUN"]

RUN = Run(
    run_id="",
    status="Preparing",
    reason="",
    run_configuration="local",
    target="local",
    target_kind="local",
    script_name="train.py",
    arguments=("--lr", "0.1"),
    argv=("/usr/bin/python3", "train.py", "--lr", "0.1"),
    framework="Python",
    tracked=True,
    environment_variables={"A": "b"},
    created_utc="2026-01-31T12:00:00.000000Z",
    start_time_utc=None,
    end_time_utc=None,
    exit_code=None,
    python=Interpreter("/usr/bin/python3", "3.11.7"),
    platform="linux-x86_64",
    snapshot=SnapshotRecord("0" * 64, 3, 1000),
    source=Source("1" * 40, False),
    environment_digest=None,
    image_id=None,
    metrics={"Accuracy": [0.9, 0.95]},
    outputs=Outputs(1, 10),
    user_id="me",
    host="here",
    amlexec="0.1.0",
)

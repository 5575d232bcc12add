"""More runs on a YARN with Kerberos: pytest runs them only if it is given the path of this file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PATIENCE, eventually
from tests.engines.ssh_host import QUIET
from tests.support.kerberos import REALM
from tests.support.yarn import seldom
from tests.targets.test_yarn import SUBMIT, WAITING, tag_of
from tests.targets.test_yarn_secure import SCRIPT

if TYPE_CHECKING:
    from tests.support.kerberos import SecureCluster
    from tests.support.yarn import YarnProject


@pytest.fixture
def project(secure_project: YarnProject, secure: SecureCluster) -> YarnProject:
    secure.kinit()
    secure_project.is_managed = True
    secure_project.configure()
    return secure_project


def test_the_check(project: YarnProject) -> None:
    done = project.amlexec("computetarget", "check", "cluster")
    assert done.code == 0, done.out
    assert re.search(rf"Kerberos +ok +a ticket of {QUIET}@{REALM}, until \S+ \S+\n", done.out), done.out
    assert re.search(r"YARN's nodes +ok +1, with \d+ MB and \d+ vcores free", done.out), done.out
    assert re.search(rf"file system +ok +hdfs://head:8020/user/{QUIET} can be written", done.out), done.out


@pytest.mark.parametrize("mode", ["cluster", "client"])
def test_a_run_with_a_prepared_environment(project: YarnProject, secure: SecureCluster, mode: str) -> None:
    project.mode = mode
    project.configure()
    project.write("train.py", SCRIPT)
    code, out, err = project.submitted("--prepare", "train.py")
    assert (code, out.count(b"told\n")) == (1, 1), err
    (run_id,) = project.run_ids()
    record = project.record(run_id)
    assert (record["exit_code"], record["metrics"]) == (7, {"total": 10}), err
    told = "hadoop fs -ls -R .amlexec | sed 's,.*/,,'"
    assert f"{record['environment_digest']}.tar.gz" in secure.run("head", told, user=QUIET)


@pytest.mark.parametrize("has_curl", [True, False])
def test_a_cancel(project: YarnProject, secure: SecureCluster, has_curl: bool) -> None:
    """Without curl, YARN's own command ends the application."""
    project.is_managed = False
    project.configure()
    project.settings(spark_yarn_queue="narrow")
    project.write("train.py", "")
    if not has_curl:
        secure.run("head", "mv /usr/bin/curl /usr/bin/curl.off")
    try:
        done = project.submit("--async", "train.py")
        assert done.code == 0, done.err
        tag = tag_of(project, done.run_id)

        def state() -> list[str]:
            return [one["state"] for one in secure.applications(tag)]

        seldom(lambda: state() == ["ACCEPTED"], "YARN has it")
        canceled = project.amlexec("experiment", "cancel", "-r", done.run_id)
        assert (canceled.code, state()) == (0, ["KILLED"]), canceled.err
    finally:
        if not has_curl:
            secure.run("head", "mv /usr/bin/curl.off /usr/bin/curl")


def test_a_ticket_that_expires_during_the_run(project: YarnProject, secure: SecureCluster) -> None:
    """The results wait for a new one."""
    project.is_managed = False
    project.configure()
    project.settings(spark_yarn_am_waitTime="600s")
    project.write("train.py", f"open('/tmp/begun', 'w').close()\n{WAITING}")
    following = project.start(*SUBMIT, "train.py", "/tmp/go")
    # The NodeManager of the tests can't read logs with Kerberos: Hadoop's native library is missing.
    seldom(lambda: "yes" in secure.run("head", "[ ! -e /tmp/begun ] || echo yes"), "the script begins")
    (run_id,) = project.run_ids()
    secure.kinit("1s")
    eventually(lambda: "no" in secure.run("head", "klist -s || echo no", user=QUIET), "it expires")
    secure.run("head", "touch /tmp/go")
    log = f"/home/{QUIET}/.amlexec/runs/{run_id}/stderr.log"
    words = "your ticket on the head node has expired: run kinit there; the results are in"
    seldom(lambda: words in secure.run("head", f"cat {log}"), "it says so")
    assert project.record(run_id)["exit_code"] is None
    secure.kinit()
    _, err = following.communicate(timeout=2 * PATIENCE)
    # This Python has no `six`.
    assert (following.returncode, project.record(run_id)["exit_code"]) == (1, 1), err


def test_without_curl_a_run_tells_its_output_at_the_end(project: YarnProject, secure: SecureCluster) -> None:
    project.is_managed = False
    project.configure()
    project.write("train.py", SCRIPT)
    secure.run("head", "mv /usr/bin/curl /usr/bin/curl.off")
    try:
        code, out, err = project.submitted("train.py")
    finally:
        secure.run("head", "mv /usr/bin/curl.off /usr/bin/curl")
    assert (code, out.count(b"told\n")) == (1, 1), err
    (run_id,) = project.run_ids()
    assert project.record(run_id)["reason"] == "exit code 7"

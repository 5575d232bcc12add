"""Runs on a YARN and an HDFS that use Kerberos, with a real Kerberos server.

`by_hand_yarn_secure.py` has more of them, which take minutes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.engines.ssh_host import QUIET

if TYPE_CHECKING:
    from tests.support.kerberos import SecureCluster
    from tests.support.yarn import YarnProject

SCRIPT = """\
from amlexec.run import log
from pyspark import SparkContext
log('total', SparkContext.getOrCreate().parallelize(range(10), 1).count())
open('outputs/told.txt', 'w').write('there')
print('told', flush=True)
raise SystemExit(7)
"""
NO_TICKET = "the cluster uses Kerberos, and you have no ticket"
EXPIRED = "the cluster uses Kerberos, and your ticket has expired"


def test_a_ticket_that_is_of_no_use(secure_project: YarnProject, secure: SecureCluster) -> None:
    """It is named before anything is recorded."""
    project = secure_project
    project.configure()
    project.write("train.py", "")
    checked = project.amlexec("computetarget", "check", "cluster")
    assert checked.code == 2, checked.out
    assert re.search(rf"Kerberos +failed +{NO_TICKET}\n +hint: run kinit there", checked.out), checked.out
    # There is nothing to ask YARN and HDFS for.
    assert "YARN's nodes" not in checked.out
    done = project.submit("train.py")
    assert (done.code, NO_TICKET in done.err, project.run_ids()) == (2, True, []), done.err

    secure.kinit("1s")
    secure.run("head", "while klist -s; do sleep 0.1; done", user=QUIET)
    done = project.submit("train.py")
    assert (done.code, EXPIRED in done.err, project.run_ids()) == (2, True, []), done.err


def test_a_run(secure_project: YarnProject, secure: SecureCluster) -> None:
    project = secure_project
    project.configure()
    project.write("train.py", SCRIPT)
    secure.kinit()
    code, out, err = project.submitted("train.py")
    assert (code, out.count(b"told\n")) == (1, 1), err
    (run_id,) = project.run_ids()
    record = project.record(run_id)
    assert (record["exit_code"], record["metrics"]) == (7, {"total": 10}), err
    assert (project.run_folder(run_id) / "outputs/told.txt").read_text() == "there"
    application = record["application"]
    assert (application["state"], application["final_status"]) == ("FINISHED", "FAILED")
    assert secure.application(application["id"])["user"] == QUIET

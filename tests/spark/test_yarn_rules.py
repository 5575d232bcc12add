"""What went wrong in other systems that submit to YARN, as rules, and the tests that hold them here."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
REAL = "targets/test_yarn.py"
HEAD = "runtime/test_yarn.py"
REPORT = "spark/test_yarn_report.py"
ARGUMENTS = "spark/test_cluster_args.py"

RULES = {
    "the `#environment` of an archive survives blanks and quotes": (
        HEAD,
        "test_a_path_with_blanks_and_a_fragment",
    ),
    "with a driver on the head node, the script's exit code decides, whatever YARN says": (
        REAL,
        "test_in_client_mode",
    ),
    "an application that was killed has not failed": (REPORT, "test_killed_is_not_failed"),
    "an application is found by its tag, also if spark-submit did not live to say its id": (
        REAL,
        "test_the_node_of_the_driver_is_lost",
    ),
    "an application whose submission was broken ends with its run": (
        REAL,
        "test_the_process_on_the_head_node_is_killed",
    ),
    "a tag is unique and has lower-case letters, digits and hyphens only": (
        ARGUMENTS,
        "test_the_users_own_tag_is_kept",
    ),
    "a final status is no end while the application still runs": (
        REPORT,
        "test_a_final_status_is_not_an_end",
    ),
    "a state that nobody knows is no end, and no error": (REPORT, "test_a_state_that_nobody_knows"),
    "a run that somebody killed in YARN does not go on being shown as running": (
        REAL,
        "test_somebody_kills_it",
    ),
    "nothing connects to the driver from the user's computer, which can't reach the nodes": (
        REAL,
        "test_in_cluster_mode",
    ),
    "why an application did not start is shown": (REAL, "test_a_full_home_folder"),
    "secrets are on no command line and in no log": (ARGUMENTS, "test_variables_reach_driver_and_executors"),
    "nothing of a run is left in HDFS after its end": (REAL, "test_in_cluster_mode"),
    "nothing of a run is left in HDFS after a cancel": (REAL, "test_a_cancel_while_it_waits"),
    "white space around the values of Hadoop's settings is ignored": (HEAD, "test_files"),
    "what is granted need not be what was requested: YARN's usual scheduler ignores cores": (
        REAL,
        "test_all_is_well",
    ),
    "daemons are asked at the addresses of the settings, never at `localhost`": (
        HEAD,
        "test_resource_managers",
    ),
    "driver and executors use the environment's own Python by its path in the container": (
        ARGUMENTS,
        "test_options_of_each_deploy_mode",
    ),
    "a preempted executor is no cause of a failure": (REPORT, "test_a_preempted_executor_is_no_cause"),
    "the check of virtual memory is named, with its setting": (
        REPORT,
        "test_virtual_memory_names_the_setting",
    ),
    "the tests' NameNode is formatted by an explicit option": ("support/yarn.py", "serve"),
    "success needs the exit code that was written beside the script": (
        HEAD,
        "test_success_needs_the_script_s_exit_code",
    ),
    "exit codes of YARN and of Spark are explained in words": (REPORT, "test_failed"),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_its_test(rule: str) -> None:
    file, test = RULES[rule]
    assert f" {test}(" in (ROOT / file).read_text("utf-8")

"""The doit tasks of this project.

doit list --all                                     list every task
doit lint                                           check the files of aml_config
doit prepare                                        build the environments whose dependencies changed
doit info prepare:docker                            print whether one is up to date, or why not
doit submit:docker script=trips.py                  run a script
doit submit:docker script=trips.py args="--gigabytes 1"
"""

from amlexec.tasks import *  # noqa: F403

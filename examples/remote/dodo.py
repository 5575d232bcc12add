"""The doit tasks of this project.

doit list --all                                     list every task
doit lint                                           check the files of aml_config
doit prepare                                        build the environments whose dependencies changed
doit info prepare:docker                            print whether one is up to date, or why not
doit submit:local script=train.py                   run a script
doit submit:local script=train.py args="--lr 0.1"   run it with arguments
"""

from amlexec.tasks import *  # noqa: F403

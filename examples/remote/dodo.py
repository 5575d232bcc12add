"""What one may type in this folder.

doit list --all                                     what there is
doit lint                                           check the files of aml_config
doit prepare                                        make the environments ready whose dependencies changed
doit info prepare:docker                            say whether one is ready, and why not
doit submit:local script=train.py                   run a script
doit submit:local script=train.py args="--lr 0.1"   run it with arguments
"""

from amlexec.tasks import *  # noqa: F403

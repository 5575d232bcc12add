"""What one may type in this folder.

doit list                                           what there is
doit lint                                           check aml_config/
doit prepare:docker                                 make the environment of a run configuration ready
doit submit:local script=train.py                   run a script
doit submit:local script=train.py args="--lr 0.1"   run it with arguments
doit info submit:local                              what a task is about
"""

from amlexec.tasks import *  # noqa: F403

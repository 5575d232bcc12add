"""What one may type in this folder.

doit list --all                                     what there is
doit lint                                           check the files of aml_config
doit prepare                                        make the environments ready whose dependencies changed
doit info prepare:docker                            say whether one is ready, and why not
doit submit:docker script=trips.py                  run a script
doit submit:docker script=trips.py args="--gigabytes 1"
"""

from amlexec.tasks import *  # noqa: F403

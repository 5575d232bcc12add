"""RUN: where scripts run. A target is a target class over a connection, chosen by the kind in its file.

A new kind is one module that offers the verbs of `Target`, and one row in `amlexec.kinds`.
"""

"""What a run prints on a head node: the logs of its driver on a node while they grow, and lines of ours."""

import os

import yarn_rest

_SCRIPTS = {"amlexec.stdout": 1, "amlexec.stderr": 2}
"""The script's own logs on a node, by `spark_node.py`, and where they are shown; `stderr` is the JVM's."""
_CHUNK = 1 << 16


class DriverLogs:
    """The logs of the driver's containers: YARN starts another one if a driver fails."""

    def __init__(self):
        """No I/O."""
        self._by_container = {}
        self._is_failure_reported = False

    def attempts(self):
        """How many containers had logs."""
        return len(self._by_container)

    def follow(self, application):
        """Print what is new in the logs of the current container."""
        address, container = yarn_rest.container_of(application)
        if not container:
            return
        if container not in self._by_container:
            if self._by_container:
                say("YARN starts the driver again, as attempt %d" % (len(self._by_container) + 1))
            self._by_container[container] = [yarn_rest.Log(name) for name in ("stderr", *_SCRIPTS)]
        for log in self._by_container[container]:
            _show(_SCRIPTS.get(log.name, 2), log.new(address, container))
            if log.failures == yarn_rest.FAILURES and not self._is_failure_reported:
                self._is_failure_reported = True
                why = log.why or "%s can't read them" % address
                say("the driver's logs are shown at its end: %s" % why)

    def show_rest(self, archive):
        """Print what the script's logs in an archive of results have beyond what `follow` has printed."""
        container = archive.extractfile("container").read(200).decode("ascii", "replace")
        positions = {log.name: log.position for log in self._by_container.get(container, [])}
        for name, number in _SCRIPTS.items():
            member = name.replace("amlexec.", "") + ".log"
            _show_member(archive, member, number, positions.get(name, 0))


def say(text):
    """Print a line of ours to the run's standard error."""
    _show(2, ("amlexec: %s\n" % text).encode("utf-8", "replace"))


def _show(number, data):
    """Write bytes to standard output or standard error."""
    while data:
        data = data[os.write(number, data) :]


def _show_member(archive, name, number, position):
    """Write what a log in an archive has after `position`."""
    try:
        file = archive.extractfile(name)
    except KeyError:
        return
    file.seek(position)
    while True:
        data = file.read(_CHUNK)
        if not data:
            return
        _show(number, data)

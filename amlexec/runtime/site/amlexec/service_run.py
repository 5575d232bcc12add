"""Runs a command in a container of a cloud service, to its end. For Python 3.5 and later; see `BOOTSTRAP`.

The container is all there is: no machine of ours watches it, and nothing can be asked of it. So this process,
the container's first one, does what supervisors do elsewhere, and everything that it has to say goes to the
storage of the run, blobs over plain HTTPS or a folder of a volume:

  state                     JSON: `phase` is `running` or `ended`; the latter is written last of all, when
                            everything else has arrived
  stdout.log, stderr.log    the output, appended as it comes; also printed, for the service's own log
  metrics.jsonl             the metrics, appended as they come
  outputs.tar               the folder of outputs, with what its links lead to, and the metric logger's files
  cancel                    written by whoever cancels the run: the seconds of grace

AMLEXEC_STORAGE is the address of that storage, a secret. AMLEXEC_RUN_0, AMLEXEC_RUN_1, … are pieces of a JSON
object: `argv`, `environment`, `checkout` and `logged`. The command gets neither.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

# Python is isolated (-I): this folder is not on its path.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from service_outputs import Pack
from service_storage import Growing, RefusedError, opened

_FIRST_INTERVAL_S = 0.2
_LONGEST_ASK_S = 5.0
_STOP_GRACE_S = 5.0
_LEFT_GRACE_S = 2.0


class Run:
    """The command, and who watches it."""

    def __init__(self, storage, settings):
        self._storage, self._settings = storage, settings
        self._folder = "/amlexec/out"
        os.makedirs(self._folder, exist_ok=True)
        os.makedirs(settings["logged"], exist_ok=True)
        out, err = (os.path.join(self._folder, name) for name in ("stdout.log", "stderr.log"))
        self._paths = out, err
        self._logs = [
            Growing(storage, out, "stdout.log", sys.stdout.buffer),
            Growing(storage, err, "stderr.log", sys.stderr.buffer),
            Growing(storage, os.path.join(settings["logged"], "metrics.jsonl"), "metrics.jsonl"),
        ]
        self._began = time.time()
        self._pid = 0
        self._canceled = self._stopped = False
        self._refused = ""
        self._ended = threading.Event()
        self._code = 255

    def run(self):
        """From its beginning to its end; the exit code."""
        signal.signal(signal.SIGTERM, self._on_stop)
        self._state({"phase": "running", "began": self._began})
        if self._storage.get("cancel") is not None:
            self._canceled, self._code = True, 143
        else:
            self._start()
            watcher = threading.Thread(target=self._watch)
            watcher.daemon = True
            watcher.start()
            self._wait()
            self._end_others(_LEFT_GRACE_S)
            self._ended.set()
            watcher.join()
        ended = time.time()
        try:
            if self._refused:
                raise RefusedError(self._refused)
            for log in self._logs:
                log.copy()
            wrong = self._send_outputs()
            told = {
                "phase": "ended",
                "code": self._code,
                "began": self._began,
                "ended": ended,
                "wrong": wrong,
            }
            told["canceled"], told["stopped"] = self._canceled, self._stopped
            self._state(told)
        except RefusedError as error:
            for log in self._logs:
                log.show()
            _say("the results can't be sent: the storage says {}".format(error))
        return self._code

    def _state(self, told):
        self._storage.put("state", json.dumps(told).encode())

    def _start(self):
        environment = {
            name: value
            for name, value in os.environ.items()
            if name != "AMLEXEC_STORAGE" and not name.startswith("AMLEXEC_RUN_")
        }
        environment.update(self._settings["environment"])
        with open(self._paths[0], "ab") as out, open(self._paths[1], "ab") as err:
            try:
                # Kept: a `Popen` that is no longer used reaps its process, and the exit code with it.
                self._process = subprocess.Popen(
                    self._settings["argv"],
                    cwd=self._settings["checkout"],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                )
            except OSError as error:
                err.write("{}: {}\n".format(self._settings["argv"][0], error.strerror).encode())
                self._code = 127 if isinstance(error, FileNotFoundError) else 126
                return
        self._pid = self._process.pid

    def _wait(self):
        """Until the command has ended; whatever else ends is reaped, as by every first process."""
        while self._pid:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                return
            if pid == self._pid:
                self._code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
                self._pid = 0

    def _watch(self):
        """Send what is new, and look whether the run was canceled."""
        begun = time.monotonic()
        next_look = begun
        while not self._ended.is_set():
            passed = time.monotonic() - begun
            try:
                for log in self._logs:
                    log.copy()
                if time.monotonic() >= next_look and not self._canceled:
                    asked = self._storage.get("cancel")
                    if asked is not None:
                        self._canceled = True
                        self._cancel(asked)
                    next_look = time.monotonic() + min(0.5 + passed / 100, _LONGEST_ASK_S)
            except RefusedError as error:
                self._refused = str(error)
                _say("the output can't be sent: the storage says {}".format(error))
                return
            # An append blob takes 50,000 pieces: for a week, they have to become rarer.
            self._ended.wait(max(_FIRST_INTERVAL_S, passed / 2000))

    def _cancel(self, asked):
        try:
            grace = min(float(asked.decode()), 3600.0)
        except ValueError:
            grace = 10.0
        self._signal_others(signal.SIGTERM)
        until = time.monotonic() + grace
        while self._pid and time.monotonic() < until:
            time.sleep(0.05)
        self._signal_others(signal.SIGKILL)

    def _on_stop(self, *_):
        """The service stops the container: there are seconds to bring home what there is."""
        self._stopped = True
        stopper = threading.Thread(target=self._cancel, args=(str(_STOP_GRACE_S).encode(),))
        stopper.daemon = True
        stopper.start()

    def _end_others(self, grace):
        """End what the command has left running."""
        until = time.monotonic() + grace
        number = signal.SIGTERM
        while self._signal_others(number):
            number = 0 if time.monotonic() < until else signal.SIGKILL
            if time.monotonic() > until + 10:
                return
            self._reap()
            time.sleep(0.02)
        self._reap()

    def _reap(self):
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def _signal_others(self, number):
        """Send a signal to every other process of the container; how many there are."""
        count = 0
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) in (1, os.getpid(), os.getppid()):
                continue
            try:
                with open("/proc/{}/stat".format(name), "rb") as file:
                    if file.read().rpartition(b")")[2].split()[:1] == [b"Z"]:
                        continue
                os.kill(int(name), number)
                count += 1
            except (OSError, ValueError):
                pass
        return count

    def _send_outputs(self):
        """Send the outputs; why they are not whole, or ""."""
        parts = self._storage.parts("outputs.tar")
        pack = Pack(parts, self._settings["checkout"])
        wrong = ""
        try:
            pack.logged(self._settings["logged"])
            pack.project()
        except OSError as error:
            wrong = error.strerror or type(error).__name__
        pack.close()
        parts.finish()
        return wrong


def _say(text):
    print("amlexec: " + text, file=sys.stderr)
    sys.stderr.flush()


def main():
    """Run what the variables say."""
    text, number = "", 0
    while "AMLEXEC_RUN_{}".format(number) in os.environ:
        text += os.environ["AMLEXEC_RUN_{}".format(number)]
        number += 1
    settings = json.loads(text)
    try:
        return Run(opened(os.environ["AMLEXEC_STORAGE"]), settings).run()
    except RefusedError as error:
        _say("the storage says {}".format(error))
        return 125


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads that still wait for the storage must not hold up the end, which costs money.
    os._exit(code)

"""Runs a command in a container of a cloud service, to its end. For Python 3.5 and later; see `BOOTSTRAP`.

The container is all there is: no machine of ours watches it, and nothing can be asked of it. So this process,
the container's first one, does what supervisors do elsewhere, and everything that it has to say goes to the
storage of the run, over plain HTTPS:

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
import stat
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request

VERSION = "2022-11-02"
_BLOCK = 4 << 20
_PART = 16 << 20
_PATIENCE_S = 600.0
_FIRST_INTERVAL_S = 0.2
_LONGEST_ASK_S = 5.0
_STOP_GRACE_S = 5.0
_LEFT_GRACE_S = 2.0
_LOGGED = (
    "metrics.jsonl",
    "tags.jsonl",
    "models.jsonl",
    "python.json",
    "executors.jsonl",
    "packages.txt",
    "outputs",
)


class RefusedError(Exception):
    """The storage refuses what it is asked for: it makes no sense to try again."""


class Storage:
    """The storage of the run."""

    def __init__(self, address):
        self._base, _, self._key = address.partition("?")

    def request(self, method, name, data=None, headers=None, query="", patience=_PATIENCE_S):
        """The answer's body, or None for a blob that does not exist; repeated while that may help."""
        url = "{}/{}?{}{}".format(self._base, name, query + "&" if query else "", self._key)
        sent = dict(headers or {})
        sent["x-ms-version"] = VERSION
        if data is not None:
            sent["Content-Type"] = "application/octet-stream"
            sent["Content-Length"] = str(len(data))
        until, pause = time.monotonic() + patience, 0.5
        while True:
            try:
                asked = urllib.request.Request(url, data=data, headers=sent, method=method)  # noqa: S310
                with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 - https
                    return answer.read()
            except urllib.error.HTTPError as error:
                code = error.headers.get("x-ms-error-code") or ""
                error.close()
                if method == "GET" and error.code == 404 and code == "BlobNotFound":
                    return None
                if error.code == 412:
                    raise
                why = "{} {}".format(error.code, code).strip()
                if error.code not in (408, 429) and error.code < 500:
                    raise RefusedError(why) from None
            except (OSError, ValueError) as error:
                # No text of the error: it may have the address in it.
                why = type(error).__name__
            except Exception as error:  # http.client's own
                why = type(error).__name__
            if time.monotonic() + pause > until:
                raise RefusedError("no answer for {:.0f} s ({})".format(patience, why))
            time.sleep(pause)
            pause = min(2 * pause, 15)

    def put(self, name, data):
        """Write a blob."""
        self.request("PUT", name, data, {"x-ms-blob-type": "BlockBlob"})


class Growing:
    """A file that is copied to an append blob while it grows."""

    def __init__(self, storage, path, name, printed=None):
        self._storage, self._path, self._name, self._printed = storage, path, name, printed
        self._is_made = False
        self.sent = 0
        self._shown = 0

    def copy(self):
        """Send what is new."""
        try:
            with open(self._path, "rb") as file:
                while True:
                    file.seek(self.sent)
                    data = file.read(_BLOCK)
                    if not data:
                        return
                    self.show(data)
                    self._append(data)
        except FileNotFoundError:
            pass

    def show(self, data=b""):
        """Print it too; without `data`, print what could not be sent."""
        if self._printed is None:
            return
        if not data:
            with open(self._path, "rb") as file:
                file.seek(self._shown)
                data = file.read(_BLOCK)
        start = self.sent + len(data)
        if start > self._shown:
            try:
                self._printed.write(data[max(self._shown - self.sent, 0) :])
                self._printed.flush()
            except OSError:
                pass
            self._shown = start

    def _append(self, data):
        if not self._is_made:
            self._storage.request("PUT", self._name, b"", {"x-ms-blob-type": "AppendBlob"})
            self._is_made = True
        try:
            # At its offset: if a request is repeated although it had succeeded, nothing is there twice.
            where = {"x-ms-blob-condition-appendpos": str(self.sent)}
            self._storage.request("PUT", self._name, data, where, "comp=appendblock")
        except urllib.error.HTTPError:
            pass  # 412: it is there
        self.sent += len(data)


class Parts:
    """A file to write to, which becomes a blob."""

    def __init__(self, storage, name):
        self._storage, self._name = storage, name
        self._held = []
        self._size = 0
        self._names = []

    def write(self, data):
        """Like a file's."""
        self._held.append(bytes(data))
        self._size += len(data)
        if self._size >= _PART:
            self._send()
        return len(data)

    def _send(self):
        # All names of a blob's blocks are base64 of the same length.
        name = "{:08d}".format(len(self._names))
        self._storage.request(
            "PUT", self._name, b"".join(self._held), None, "comp=block&blockid={}".format(name)
        )
        self._names.append(name)
        self._held, self._size = [], 0

    def finish(self):
        """Make the blob."""
        if self._size:
            self._send()
        parts = "".join("<Latest>{}</Latest>".format(name) for name in self._names)
        text = '<?xml version="1.0" encoding="utf-8"?><BlockList>{}</BlockList>'.format(parts)
        self._storage.request("PUT", self._name, text.encode(), None, "comp=blocklist")


class Pack:
    """An archive of outputs, with whatever their links lead to in the copy of the project.

    Folders are entered one at a time, since a path may be longer than the system takes.
    """

    def __init__(self, file, checkout):
        self._tar = tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT)
        self._checkout = os.fsencode(os.path.realpath(checkout))
        self._linked = {}
        self._done = set()
        self._waiting = []

    def project(self):
        """Pack `outputs` of the copy."""
        root = os.open(self._checkout, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._waiting.append((b"outputs",))
            while self._waiting:
                self._reach(root, self._waiting.pop())
        finally:
            os.close(root)

    def _reach(self, root, parts):
        """Pack what is at a path of the copy: its folders on the way only if they are links."""
        folder, opened = root, []
        try:
            for number, name in enumerate(parts):
                at = parts[: number + 1]
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except OSError:
                    return
                if stat.S_ISLNK(status.st_mode):
                    rest = parts[number + 1 :]
                    self._link(folder, name, at, status, rest, "project/")
                    return
                if number + 1 == len(parts):
                    self._any(folder, name, at, status, "project/")
                    return
                if not stat.S_ISDIR(status.st_mode):
                    return
                folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                opened.append(folder)
        except OSError:
            pass
        finally:
            for each in opened:
                os.close(each)

    def logged(self, folder):
        """Pack the metric logger's files."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in _LOGGED:
                try:
                    status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError:
                    continue
                self._any(descriptor, os.fsencode(name), (os.fsencode(name),), status, "logged/")
        finally:
            os.close(descriptor)

    def _any(self, folder, name, parts, status, prefix):
        """A file, a link, or a folder with all that is in it."""
        if (prefix, parts) in self._done:
            return
        if stat.S_ISLNK(status.st_mode):
            self._link(folder, name, parts, status, (), prefix)
            return
        self._done.add((prefix, parts))
        entry = self._entry(parts, status, prefix)
        if stat.S_ISREG(status.st_mode):
            self._file(folder, name, entry, status)
            return
        if not stat.S_ISDIR(status.st_mode):
            entry.type = tarfile.FIFOTYPE if stat.S_ISFIFO(status.st_mode) else tarfile.CHRTYPE
            self._tar.addfile(entry)
            return
        entry.type = tarfile.DIRTYPE
        self._tar.addfile(entry)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            for found in sorted(os.listdir(inner)):
                each = os.fsencode(found)
                try:
                    of_each = os.stat(each, dir_fd=inner, follow_symlinks=False)
                except OSError:
                    continue
                self._any(inner, each, parts + (each,), of_each, prefix)
        finally:
            os.close(inner)

    def _file(self, folder, name, entry, status):
        known = self._linked.get((status.st_dev, status.st_ino))
        if status.st_nlink > 1 and known is not None:
            entry.type, entry.linkname = tarfile.LNKTYPE, known
            self._tar.addfile(entry)
            return
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            entry.size = os.fstat(file.fileno()).st_size
            self._tar.addfile(entry, file)
        self._linked[status.st_dev, status.st_ino] = entry.name

    def _link(self, folder, name, parts, status, rest, prefix):
        text = os.readlink(name, dir_fd=folder)
        if (prefix, parts) not in self._done:
            self._done.add((prefix, parts))
            entry = self._entry(parts, status, prefix)
            entry.type, entry.linkname = tarfile.SYMTYPE, os.fsdecode(text)
            self._tar.addfile(entry)
        if prefix == "project/":
            led = self._led(parts[:-1], os.fsencode(text), rest)
            if led and (prefix, led) not in self._done and len(self._done) < 5000000:
                key = ("reached", parts, rest)
                if key not in self._done:
                    self._done.add(key)
                    self._waiting.append(led)

    def _led(self, at, text, rest):
        """The path in the copy that a link leads to; () for one that leads out."""
        if text.startswith(b"/"):
            real = self._checkout + b"/"
            if not text.startswith(real):
                return ()
            at, text = (), text[len(real) :]
        found = list(at)
        for part in text.split(b"/") + list(rest):
            if part == b"..":
                if not found:
                    return ()
                found.pop()
            elif part not in (b"", b"."):
                found.append(part)
        return tuple(found)

    def _entry(self, parts, status, prefix):
        entry = tarfile.TarInfo(prefix + os.fsdecode(b"/".join(parts)))
        entry.mode, entry.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
        return entry

    def close(self):
        """End the archive."""
        self._tar.close()


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
        if self._storage.request("GET", "cancel") is not None:
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
                    asked = self._storage.request("GET", "cancel")
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
        parts = Parts(self._storage, "outputs.tar")
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
        return Run(Storage(os.environ["AMLEXEC_STORAGE"]), settings).run()
    except RefusedError as error:
        _say("the storage says {}".format(error))
        return 125


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads that still wait for the storage must not hold up the end, which costs money.
    os._exit(code)

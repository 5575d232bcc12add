"""Where a run in a service has its files: blobs of Azure, or a folder of a volume. For Python 3.5 and later.

Both have the same few methods: `get` and `put` a small file, `append` to one at an offset, and `parts`, a
file to write to that is there only once it is finished. See `service_run.py`.
"""

import os
import time
import urllib.error
import urllib.request

VERSION = "2022-11-02"
_BLOCK = 4 << 20
_PART = 16 << 20
_PATIENCE_S = 600.0
TERMINATION = "/dev/termination-log"
"""What Kubernetes shows of a container that has ended."""


class RefusedError(Exception):
    """The storage refuses a request; repeating it does not help."""


class Blobs:
    """A container of a storage account, by an address that is a secret."""

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
                # Without the error's text, which may contain the address.
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

    def get(self, name):
        """A small blob; None if it does not exist."""
        return self.request("GET", name)

    def append(self, name, data, at):
        """Append to a blob, which is made if `at` is 0; nothing if it was done before."""
        if not at:
            self.request("PUT", name, b"", {"x-ms-blob-type": "AppendBlob"})
        try:
            # At its offset: if a request is repeated although it had succeeded, nothing is there twice.
            self.request("PUT", name, data, {"x-ms-blob-condition-appendpos": str(at)}, "comp=appendblock")
        except urllib.error.HTTPError:
            pass  # 412: it is there

    def parts(self, name):
        """A file to write to."""
        return Parts(self, name)


class Growing:
    """A file that is copied into the storage while it grows."""

    def __init__(self, storage, path, name, printed=None):
        self._storage, self._path, self._name, self._printed = storage, path, name, printed
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
        self._storage.append(self._name, data, self.sent)
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


class Folder:
    """A folder of a volume."""

    def __init__(self, path):
        self._path = path

    def get(self, name):
        """A small file; None if it does not exist."""
        try:
            with open(os.path.join(self._path, name), "rb") as file:
                return file.read(1 << 16)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RefusedError(error.strerror) from None

    def put(self, name, data):
        """Write a file: whole, or not at all."""
        file = self.parts(name)
        file.write(data)
        file.finish()
        if name == "state":
            try:
                # The cluster shows it, also when nothing can look into the volume.
                with open(TERMINATION, "wb") as message:
                    message.write(data)
            except OSError:
                pass

    def append(self, name, data, at):
        """Write at an offset."""
        try:
            descriptor = os.open(os.path.join(self._path, name), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                while data:
                    written = os.pwrite(descriptor, data, at)
                    data, at = data[written:], at + written
            finally:
                os.close(descriptor)
        except OSError as error:
            raise RefusedError(error.strerror) from None

    def parts(self, name):
        """A file to write to."""
        return Whole(os.path.join(self._path, name))


class Whole:
    """A file to write to, which has its name once it is finished."""

    def __init__(self, path):
        self._path, self._new = path, "{}.new".format(path)
        try:
            self._file = open(self._new, "wb")
        except OSError as error:
            raise RefusedError(error.strerror) from None

    def write(self, data):
        """Like a file's."""
        try:
            return self._file.write(data)
        except OSError as error:
            raise RefusedError(error.strerror) from None

    def finish(self):
        """Give it its name."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.rename(self._new, self._path)
        except OSError as error:
            raise RefusedError(error.strerror) from None


def opened(address):
    """The storage with that address."""
    return Folder(address) if address.startswith("/") else Blobs(address)

"""The cluster's file system: HDFS by its REST interface, any other by the command `hadoop fs`."""

import os
import re
import subprocess
import time
import urllib.parse

import hadoop_site
from hadoop_site import HadoopError

_SLOW_S = 600
_DATA_S = 120
_PASSED_OVER = ("StandbyException", "RetriableException", hadoop_site.UNTRUSTED)
"""The kinds of errors with which the other NameNode of a pair may succeed."""
_LEFT_S = 24 * 3600
"""What a killed process has written only in part is removed after this time."""


def default(found):
    """The address of the default file system, without a slash at its end; "" if it is not known."""
    return hadoop_site.value(found, "fs.defaultFS", found.get("fs.default.name", "")).rstrip("/")


def home(found):
    """The address of the user's home folder; its scheme may be any."""
    prefix = hadoop_site.value(found, "dfs.user.home.dir.prefix", "/user").rstrip("/")
    return "%s%s/%s" % (default(found), prefix, hadoop_site.user(found))


def files(found, spark):
    """The fastest way to the file system; `spark` is SPARK_HOME."""
    addresses = [] if hadoop_site.is_secure(found) else _namenodes(found)
    return Files(addresses, _program(spark))


def _namenodes(found):
    """The addresses of the NameNodes' web interfaces."""
    root = urllib.parse.urlsplit(default(found))
    if root.scheme != "hdfs":
        return []
    is_https = hadoop_site.value(found, "dfs.http.policy").upper() == "HTTPS_ONLY"
    scheme, port = ("https", 9871) if is_https else ("http", 9870)
    names = hadoop_site.value(found, "dfs.ha.namenodes." + root.netloc)
    addresses = []
    for suffix in [".%s.%s" % (root.netloc, one.strip()) for one in names.split(",") if one.strip()] or [""]:
        address = hadoop_site.value(found, "dfs.namenode.%s-address%s" % (scheme, suffix))
        # As Hadoop does, from the address of the other interface.
        other = hadoop_site.value(found, "dfs.namenode.rpc-address" + suffix)
        host = other.rpartition(":")[0] or ("" if suffix else root.hostname)
        address = address or "0.0.0.0:%d" % port
        if host or not address.startswith("0.0.0.0:"):
            addresses.append("%s://%s" % (scheme, address.replace("0.0.0.0", host)))  # noqa: S104
    return addresses


def _program(spark):
    """The words of the command with the operations of files."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    folders += [os.path.join(os.environ.get(name, "/usr/lib/hadoop"), "bin") for name in ("HADOOP_HOME",)]
    for folder in folders:
        for name in ("hadoop", "hdfs"):
            path = os.path.join(folder, name)
            if os.access(path, os.X_OK):
                return [path, "fs" if name == "hadoop" else "dfs"]
    return [os.path.join(spark, "bin", "spark-class"), "org.apache.hadoop.fs.FsShell"]


def _error(text):
    """The line of the command's standard error that tells the error; "" if it is empty.

    A connector's own words at its end may follow it.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"-?(stat|put|get|mv|mkdir|rm|touchz): ", line)]
    return (told or lines or [""])[-1][:1000]


class Files:
    """Operations on paths, which are addresses such as `hdfs://host:8020/user/ada/x`."""

    def __init__(self, namenodes, program):
        """Without NameNodes, each operation is a call of `program`, if there is one.

        `why` tells afterwards why no NameNode could be asked, "" if one could.
        """
        self.namenodes, self.program, self.why = namenodes, program, ""

    def _rest(self, method, path, operation, body=None, **options):
        """The answer of the active NameNode; None if none answers: then, none is asked any more."""
        words = dict(options, op=operation)
        words["user.name"] = hadoop_site.user()
        query = urllib.parse.urlencode(sorted(words.items()))
        where = urllib.parse.quote(urllib.parse.urlsplit(path).path)
        timeout = _DATA_S if operation in ("CREATE", "OPEN") else hadoop_site.TIMEOUT_S
        for number, address in enumerate(list(self.namenodes)):
            if body is not None and number > 0:
                body.seek(0)  # the one before may have read from it
            try:
                url = "%s/webhdfs/v1%s?%s" % (address, where, query)
                status, answer = hadoop_site.request(method, url, body, timeout=timeout)
                if operation != "OPEN" or status != 200:
                    answer = hadoop_site.parsed(status, answer)
            except HadoopError as error:
                if error.kind in _PASSED_OVER:
                    self.why = str(error)
                    continue
                hadoop_site.prefer(self.namenodes, address)
                raise
            except (OSError, ValueError) as error:
                self.why = "%s: %s" % (address, error)
                continue
            hadoop_site.prefer(self.namenodes, address)
            self.why = ""
            return answer
        self.namenodes = []
        return None

    def _call(self, *words):
        """The output of the command. Raises HadoopError."""
        if not self.program:
            raise HadoopError(self.why or "no NameNode is known")
        process = subprocess.Popen(
            self.program + list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            output, errors = process.communicate(timeout=_SLOW_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise HadoopError("%s has not ended after %d s" % (self.program[0], _SLOW_S)) from None
        if process.returncode != 0:
            hadoop_site.must_be_let_in(errors)
            told = _error(errors.decode("utf-8", "replace"))
            raise HadoopError(told or "exit code %d" % process.returncode)
        return output

    def size(self, path):
        """The size of a file; None if it does not exist."""
        if self.namenodes:
            try:
                answer = self._rest("GET", path, "GETFILESTATUS")
            except HadoopError as error:
                if error.kind == "FileNotFoundException":
                    return None
                raise
            if answer is not None:
                return int(answer["FileStatus"]["length"])
        try:
            return int(self._call("-stat", "%b", path).split()[-1])
        except HadoopError as error:
            if "No such file" in str(error):
                return None
            raise

    def put(self, local, path):
        """Write a file, atomically, unless it exists: its name says what is in it."""
        new = "%s/.%s.%d.%d.new" % (
            path.rpartition("/")[0],
            path.rpartition("/")[2],
            os.getpid(),
            time.time(),
        )
        self._make(path.rpartition("/")[0])
        try:
            with open(local, "rb") as file:
                if not self.namenodes or self._rest("PUT", new, "CREATE", file, overwrite="true") is None:
                    self._call("-put", local, new)  # fails if it can't write all
                elif self.size(new) != os.path.getsize(local):
                    raise HadoopError("%s was not written completely" % new)
            self._rename(new, path)
        except HadoopError:
            self.delete(new)
            raise
        self._tidy(path.rpartition("/")[0])

    def _tidy(self, folder):
        """Remove what killed processes have left in a folder, where that is fast to find."""
        try:
            answer = self.namenodes and self._rest("GET", folder, "LISTSTATUS") or {}
        except HadoopError:
            return
        for one in answer.get("FileStatuses", {}).get("FileStatus", []):
            name, age = one["pathSuffix"], time.time() - one["modificationTime"] / 1000
            if name.startswith(".") and name.endswith(".new") and age > _LEFT_S:
                self.delete("%s/%s" % (folder, name))

    def _make(self, path):
        if not self.namenodes or self._rest("PUT", path, "MKDIRS") is None:
            self._call("-mkdir", "-p", path)

    def _rename(self, source, target):
        if self.namenodes:
            answer = self._rest("PUT", source, "RENAME", destination=urllib.parse.urlsplit(target).path)
            if answer is not None:
                if not answer.get("boolean"):
                    self.delete(source)  # another process was faster
                return
        try:
            self._call("-mv", source, target)
        except HadoopError:
            # Not every file system says that another process was faster.
            if self.size(target) is None:
                raise
            self.delete(source)

    def get(self, path, local):
        """Copy a file from the cluster. Returns whether it exists."""
        if self.namenodes:
            size = self.size(path)
            if size is None:
                return False
            answer = self.namenodes and self._rest("GET", path, "OPEN")
            if answer is not None and len(answer) == size:
                with open(local, "wb") as file:
                    file.write(answer)
                return True
        try:
            self._call("-get", "-f", path, local)
        except HadoopError as error:
            if "No such file" in str(error):
                return False
            raise
        return True

    def delete(self, *paths):
        """Remove files and folders; errors are ignored: nothing depends on it."""
        try:
            left = [
                path
                for path in paths
                if not self.namenodes or self._rest("DELETE", path, "DELETE", recursive="true") is None
            ]
            if left:
                self._call("-rm", "-r", "-f", "-skipTrash", *left)
        except (HadoopError, OSError):
            pass

"""Hadoop's configuration on this machine, and HTTP requests to its daemons."""

import getpass
import http.client
import json
import os
import re
import subprocess
import urllib.parse

TIMEOUT_S = 20
NO_TICKET = "the cluster uses Kerberos, and you have no valid ticket on the head node: run kinit there"
_MOST_BYTES = 64 << 20


class HadoopError(Exception):
    """A daemon's answer that is an error; `kind` is the name of Java's exception, or ""."""

    def __init__(self, message, kind=""):
        """`message` is one line."""
        Exception.__init__(self, message)
        self.kind = kind


def settings(*names, folders=None):
    """The properties of these files, in HADOOP_CONF_DIR and YARN_CONF_DIR unless in `folders`."""
    import xml.etree.ElementTree as ET  # slow to import

    found = {}
    for folder in folders or [os.environ.get(name) for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR")]:
        for name in names if folder else ():
            try:
                root = ET.parse(os.path.join(folder, name)).getroot()  # noqa: S314
            except (IOError, OSError, ET.ParseError):
                continue
            for one in root.iter("property"):
                found.setdefault((one.findtext("name") or "").strip(), (one.findtext("value") or "").strip())
    return found


def value(found, name, default=""):
    """A property, with the properties that it refers to."""
    text = found.get(name, default)
    for _ in range(20):
        match = re.search(r"\$\{([^}]+)\}", text)
        if not match:
            break
        text = text.replace(match.group(0), found.get(match.group(1), ""))
    return text


def user():
    """The user's name for Hadoop."""
    return os.environ.get("HADOOP_USER_NAME") or getpass.getuser()


def is_secure(found):
    """Whether the cluster uses Kerberos."""
    return value(found, "hadoop.security.authentication", "simple").lower() == "kerberos"


def request(method, url, body=None, headers=(), timeout=TIMEOUT_S):
    """The status and the bytes of an answer. Redirections are followed; no proxy is used.

    Raises OSError.
    """
    for _ in range(5):
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname, parts.port, timeout=timeout)
        try:
            path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
            # The redirection to a DataNode comes before the data.
            is_first = body is not None and "op=CREATE" in url and "namenoderpcaddress" not in url
            connection.request(method, path, None if is_first else body, dict(headers))
            answer = connection.getresponse()
            if answer.status in (301, 302, 303, 307, 308) and answer.getheader("Location"):
                url = urllib.parse.urljoin(url, answer.getheader("Location"))
                continue
            if answer.status == 401 and "negotiate" in (answer.getheader("WWW-Authenticate") or "").lower():
                return _negotiated(method, url, body, headers)
            return answer.status, answer.read(_MOST_BYTES)
        except http.client.HTTPException as error:
            raise OSError("%s: %s" % (parts.netloc, error or type(error).__name__)) from None
        finally:
            connection.close()
    raise OSError("%s redirects again and again" % url)


def _negotiated(method, url, body, headers):
    """The same with the user's Kerberos ticket, by curl. Raises HadoopError without one."""
    words = ["curl", "-s", "--negotiate", "-u", ":", "--noproxy", "*", "-X", method, "-w", "\n%{http_code}"]
    for name, text in headers:
        words += ["-H", "%s: %s" % (name, text)]
    if body is not None:
        words += ["--data-binary", "@-"]
    process = subprocess.Popen(words + [url], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output = process.communicate(body)[0]
    text, _, status = output.rpartition(b"\n")
    if process.returncode != 0 or not status.isdigit():
        raise OSError("curl ended with %d" % process.returncode)
    if int(status) == 401:
        raise HadoopError(NO_TICKET, "AuthenticationException")
    return int(status), text


def parsed(status, body):
    """The value of an answer in JSON. Raises HadoopError if it is an error, ValueError if it is not JSON."""
    found = json.loads(body.decode("utf-8", "replace")) if body else {}
    if isinstance(found, dict) and isinstance(found.get("RemoteException"), dict):
        error = found["RemoteException"]
        lines = str(error.get("message", "")).strip().splitlines() or ["no message"]
        raise HadoopError(lines[0][:1000], str(error.get("exception", "")))
    if status >= 400:
        raise HadoopError("HTTP status %d" % status)
    return found

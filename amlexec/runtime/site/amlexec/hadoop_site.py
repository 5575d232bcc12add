"""Hadoop's configuration, the user's Kerberos ticket, and HTTP requests to Hadoop's daemons."""

import getpass
import http.client
import json
import os
import re
import subprocess
import urllib.parse

import hadoop_tls

TIMEOUT_S = 20
NO_TICKET = "the cluster uses Kerberos, and you have no valid ticket on the head node: run kinit there"
EXPIRED = "the cluster uses Kerberos, and your ticket on the head node has expired: run kinit there"
REFUSED = "the cluster uses Kerberos, and does not accept your ticket on the head node: see klist there"
NO_CURL = "the cluster's web interfaces need Kerberos, and the head node has no curl with GSS-API to ask them"
KERBEROS = "AuthenticationException"
"""The kind of an error that a ticket would cure."""
UNTRUSTED = "CertificateError"
"""The kind of an error of a daemon whose certificate is not trusted."""
CLOSED = (KERBEROS, UNTRUSTED)
"""The kinds of errors with which no request can succeed."""
SENT = "__spark_conf__/__hadoop_conf__"
"""The configuration of Hadoop of the head node, in a container: Spark sends it with the application."""
_MOST_BYTES = 64 << 20
_NOT_BUILT_IN = 2
"""The exit code of a curl without `--negotiate`."""
_NOT_TRUSTED = 60
_COOKIES = {}
"""By daemon: its own proof that Kerberos has let us in. A process for each request would be slow."""


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


def user(found=()):
    """The user's name for Hadoop; in a cluster with Kerberos, the first part of the ticket's principal."""
    if found and is_secure(found):
        match = re.search(r"[Pp]rincipal: ?([^@/\s]+)", _klist())
        return match.group(1) if match else getpass.getuser()
    return os.environ.get("HADOOP_USER_NAME") or getpass.getuser()


def _klist():
    """What klist prints; "" without it."""
    try:
        process = subprocess.Popen(
            ["klist"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError:
        return ""
    return process.communicate()[0].decode("utf-8", "replace")


def must_be_let_in(errors):
    """Raise HadoopError if a program of Hadoop says on standard error that Kerberos refuses it."""
    if b"GSSException" in errors or b"via:[TOKEN, KERBEROS]" in errors:
        raise no_ticket()


def has_ticket():
    """Whether the user has a valid ticket."""
    try:
        return subprocess.call(["klist", "-s"], stdin=subprocess.DEVNULL) == 0
    except OSError:
        return False


def no_ticket():
    """The error of a daemon that does not let us in."""
    return HadoopError(REFUSED if has_ticket() else EXPIRED if _klist() else NO_TICKET, KERBEROS)


def is_secure(found):
    """Whether the cluster uses Kerberos."""
    return value(found, "hadoop.security.authentication", "simple").lower() == "kerberos"


def request(method, url, body=None, headers=(), timeout=TIMEOUT_S):
    """The status and the bytes of an answer. Redirections are followed; no proxy is used.

    Raises OSError; HadoopError, of a kind in CLOSED, if the daemon or we don't trust the other one.
    """
    for _ in range(5):
        parts = urllib.parse.urlsplit(url)
        connection = _connected(parts)
        connection.sock.settimeout(timeout)
        try:
            path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
            # The redirection to a DataNode comes before the data.
            is_first = body is not None and "op=CREATE" in url and "namenoderpcaddress" not in url
            fields = dict(headers)
            if parts.netloc in _COOKIES:
                fields["Cookie"] = _COOKIES[parts.netloc]
            connection.request(method, path, None if is_first else body, fields)
            with connection.getresponse() as answer:
                if answer.status in (301, 302, 303, 307, 308) and answer.getheader("Location"):
                    url = urllib.parse.urljoin(url, answer.getheader("Location"))
                    continue
                challenge = answer.getheader("WWW-Authenticate") or ""
                if answer.status == 401 and "negotiate" in challenge.lower():
                    return _negotiated(method, url, body, headers)
                return answer.status, answer.read(_MOST_BYTES)
        except http.client.HTTPException as error:
            raise OSError("%s: %s" % (parts.netloc, error or type(error).__name__)) from None
        finally:
            connection.close()
    raise OSError("%s redirects again and again" % url)


def _connected(parts):
    """A connection to a daemon. Raises OSError, HadoopError."""
    if parts.scheme != "https":
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
        connection.connect()
        return connection
    try:
        return hadoop_tls.connected(parts.hostname, parts.port, TIMEOUT_S, _authorities)
    except hadoop_tls.UntrustedError as error:
        told = "the certificate of https://%s is not trusted: %s" % (parts.netloc, error)
        raise HadoopError(told, UNTRUSTED) from None


def _authorities():
    """Those of Hadoop's own truststore; "" if there is none that can be read."""
    folders = [os.environ.get("HADOOP_CONF_DIR"), os.environ.get("YARN_CONF_DIR"), SENT]
    name = value(settings("core-site.xml", folders=folders), "hadoop.ssl.client.conf", "ssl-client.xml")
    found = settings(name, folders=folders)
    path = value(found, "ssl.client.truststore.location")
    return hadoop_tls.authorities(path, value(found, "ssl.client.truststore.password")) if path else ""


def _negotiated(method, url, body, headers):
    """The same with the user's Kerberos ticket, by curl. Raises HadoopError without one."""
    words = ["curl", "-s", "-m", str(TIMEOUT_S), "--negotiate", "-u", ":", "--noproxy", "*", "-X", method]
    words += ["-D", "/dev/stderr", "-w", "\n%{http_code}"]
    for name, text in headers:
        words += ["-H", "%s: %s" % (name, text)]
    if body is not None:
        words += ["--data-binary", "@-"]
    pipe = subprocess.PIPE
    with hadoop_tls.trusted_file() as trusted:
        words += ["--cacert", trusted] if trusted else []
        try:
            process = subprocess.Popen(words + [url], stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError:
            raise HadoopError(NO_CURL, KERBEROS) from None
        output, told = process.communicate(body)
    if process.returncode == _NOT_BUILT_IN:
        raise HadoopError(NO_CURL, KERBEROS)
    if process.returncode == _NOT_TRUSTED:
        told = "curl does not trust the certificate of %s; add its authority to the machine's certificates"
        raise HadoopError(told % url.partition("?")[0], UNTRUSTED)
    text, _, status = output.rpartition(b"\n")
    if process.returncode != 0 or not status.isdigit():
        raise OSError("curl ended with %d" % process.returncode)
    if int(status) == 401:
        raise no_ticket()
    cookies = re.findall(rb"^Set-Cookie: *(hadoop\.auth=[^;\s]+)", told, re.IGNORECASE | re.MULTILINE)
    if cookies:
        _COOKIES[urllib.parse.urlsplit(url).netloc] = cookies[-1].decode("ascii", "replace")
    return int(status), text


def prefer(addresses, address):
    """Let one of a pair's addresses be the first that is asked from now on: the other one may hang."""
    addresses.remove(address)
    addresses.insert(0, address)


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

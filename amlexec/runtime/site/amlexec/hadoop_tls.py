"""TLS to Hadoop's daemons, whose certificates are always checked.

Their authority may be one of the machine's, whatever Python runs this, or one of Hadoop's own truststore.
"""

import contextlib
import http.client
import os
import re
import subprocess

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
"""The machine's authorities: a Python of conda has others of its own."""
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
_NO_AUTHORITY = (18, 19, 20, 21)
"""OpenSSL's codes for a certificate whose authority is not known."""
_MOST_S = 60
_PASSWORD = "AMLEXEC_STOREPASS"  # noqa: S105 - the name of a variable
_MADE = {}
"""`context`; and `more` once Hadoop's truststore was read."""


class UntrustedError(Exception):
    """A certificate that can't be trusted, and why."""


def connected(host, port, timeout, more):
    """A connection. `more` returns further authorities, and is called only if they are needed.

    Raises OSError, UntrustedError.
    """
    import ssl  # slow to import, and HTTPS is rare

    while True:
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=_context())
        try:
            connection.connect()
        except (ssl.SSLError, ssl.CertificateError) as error:
            connection.close()
            is_refused = isinstance(error, ssl.CertificateError)
            if not is_refused and getattr(error, "reason", "") != "CERTIFICATE_VERIFY_FAILED":
                raise
            if not _added(more):
                raise UntrustedError(_why(error)) from None
        else:
            return connection


def _context():
    import ssl

    if "context" not in _MADE:
        made = _MADE["context"] = ssl.create_default_context()
        for path in _BUNDLES:
            try:
                made.load_verify_locations(path)
            except (IOError, OSError):
                continue  # it is another system's, or empty
    return _MADE["context"]


def _added(more):
    """Whether there are further authorities now."""
    if "more" in _MADE:
        return False
    blocks = _MADE["more"] = _BLOCK.findall(more())
    if not blocks:
        return False
    _context().load_verify_locations(cadata="\n".join(blocks))
    return True


@contextlib.contextmanager
def trusted_file():
    """The path of a file with all authorities, for another program; "" if the machine's were enough."""
    if not _MADE.get("more"):
        yield ""
        return
    import tempfile  # slow to import

    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write("\n".join(_MADE["more"] + [""]).encode("ascii"))
        for path in _BUNDLES:
            if os.path.exists(path):
                with open(path, "rb") as bundle:
                    file.write(bundle.read())
        file.flush()
        yield file.name


def _why(error):
    """The reason, and what to do."""
    why = getattr(error, "verify_message", "") or str(error)
    if getattr(error, "verify_code", _NO_AUTHORITY[0]) not in _NO_AUTHORITY:
        return why.rstrip(".")
    return why + "; add its authority to the machine's certificates, or to the truststore of ssl-client.xml"


def authorities(path, password):
    """The certificates of one of Java's truststores, as text; "" if it can't be read."""
    folders = [os.path.join(os.environ.get("JAVA_HOME", ""), "bin")]
    for folder in folders + os.environ.get("PATH", "").split(os.pathsep):
        program = os.path.join(folder, "keytool")
        if os.path.isabs(program) and os.access(program, os.X_OK):
            break
    else:
        return ""
    words = [program, "-list", "-rfc", "-keystore", path]
    # Not on the command line, which everybody can read.
    words += ["-storepass:env", _PASSWORD] if password else []
    process = subprocess.Popen(
        words,
        env=dict(os.environ, **{_PASSWORD: password}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        return process.communicate(timeout=_MOST_S)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return ""

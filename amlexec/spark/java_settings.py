"""The user's proxies and certificates, as Java takes them: it reads none of what other programs read."""

from __future__ import annotations

import hashlib
import ssl
import struct
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from amlexec.packages.network import Network

__all__ = ["files", "key_store", "variables"]

_STORE = "trusted.jks"
_PASSWORD = "changeit"  # noqa: S105 - Java's own; a store of certificates has no secret in it


def files(network: Network) -> dict[str, bytes]:
    """The files that `variables` name."""
    if not network.ca_bundle:
        return {}
    return {_STORE: key_store(Path(network.ca_bundle).read_text("utf-8", "replace"))}


def variables(network: Network, folder: str) -> dict[str, str]:
    """Environment variables for a Java program that finds the files in `folder`.

    Java has no way to be told a proxy's user and password from outside of a program.
    """
    options = []
    if network.ca_bundle:
        options += [
            f"-Djavax.net.ssl.trustStore={folder}/{_STORE}",
            f"-Djavax.net.ssl.trustStorePassword={_PASSWORD}",
        ]
    proxies = dict(network.proxies)
    for scheme in ("http", "https"):
        proxy = urlsplit(proxies.get(f"{scheme}_proxy") or proxies.get("all_proxy") or "")
        if proxy.hostname:
            options += [f"-D{scheme}.proxyHost={proxy.hostname}", f"-D{scheme}.proxyPort={proxy.port or 80}"]
    if no_proxy := proxies.get("no_proxy"):
        hosts = [one.strip() for one in no_proxy.split(",") if one.strip()]
        told = [f"*{one}" if one.startswith(".") else one for one in hosts]
        options.append(f"-Dhttp.nonProxyHosts={'|'.join([*told, 'localhost', '127.*'])}")
    return {"JAVA_TOOL_OPTIONS": " ".join(options)} if options else {}


def key_store(certificates: str) -> bytes:
    """Certificates in PEM as a Java key store that trusts them.

    The format (JKS, version 2) is that of OpenJDK's `sun.security.provider.JavaKeyStore`, which every Java
    reads; its digest is over the password as UTF-16, a phrase and the content.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    blocks = [block.partition(end)[0] for block in certificates.split(begin)[1:]]
    found = dict.fromkeys(ssl.PEM_cert_to_DER_cert(f"{begin}{block}{end}") for block in blocks)
    content = struct.pack(">III", 0xFEEDFEED, 2, len(found))
    for number, data in enumerate(found):
        content += struct.pack(">I", 2) + _text(f"ca-{number}") + struct.pack(">Q", 0)
        content += _text("X.509") + struct.pack(">I", len(data)) + data
    phrase = _PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    return content + hashlib.sha1(phrase + content, usedforsecurity=False).digest()


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()

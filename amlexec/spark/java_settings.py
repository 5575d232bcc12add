"""The user's proxies and certificates for Java, which ignores the settings of other programs."""

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
_PASSWORD = "changeit"  # noqa: S105 - Java's default; a store of certificates holds no secret


def files(network: Network) -> dict[str, bytes]:
    """The files that `variables` name."""
    if not network.ca_bundle:
        return {}
    return {_STORE: key_store(Path(network.ca_bundle).read_text("utf-8", "replace"))}


def variables(network: Network, folder: str) -> dict[str, str]:
    """Environment variables for a Java program that finds the files in `folder`.

    A proxy's user and password are left out: Java can't get them from outside of a program.
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
        hosts = [host.strip() for host in no_proxy.split(",") if host.strip()]
        patterns = [f"*{host}" if host.startswith(".") else host for host in hosts]
        options.append(f"-Dhttp.nonProxyHosts={'|'.join([*patterns, 'localhost', '127.*'])}")
    return {"JAVA_TOOL_OPTIONS": " ".join(options)} if options else {}


def key_store(certificates: str) -> bytes:
    """Certificates in PEM as a Java key store that trusts them.

    The format (JKS, version 2) is that of OpenJDK's `sun.security.provider.JavaKeyStore`, which every Java
    can read; its digest covers the password as UTF-16, a phrase and the content.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    blocks = [block.partition(end)[0] for block in certificates.split(begin)[1:]]
    certificates_der = dict.fromkeys(ssl.PEM_cert_to_DER_cert(f"{begin}{block}{end}") for block in blocks)
    content = struct.pack(">III", 0xFEEDFEED, 2, len(certificates_der))
    for number, data in enumerate(certificates_der):
        content += struct.pack(">I", 2) + _text(f"ca-{number}") + struct.pack(">Q", 0)
        content += _text("X.509") + struct.pack(">I", len(data)) + data
    phrase = _PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    return content + hashlib.sha1(phrase + content, usedforsecurity=False).digest()


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode()

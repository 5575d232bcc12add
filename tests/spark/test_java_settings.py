"""The user's proxies and certificates for Java."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from amlexec.packages.network import Network
from amlexec.packages.urls import Secret
from amlexec.spark import java_settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.spark import Installed


def test_java_reads_the_certificates(spark_parts: Installed, tmp_path: Path) -> None:
    for name in ("one", "two"):
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"]
        command += ["-keyout", f"{tmp_path}/{name}.key", "-out", f"{tmp_path}/{name}.pem"]
        subprocess.run(command, check=True, capture_output=True)
    bundle = tmp_path / "bundle.pem"
    one, two = ((tmp_path / f"{name}.pem").read_text() for name in ("one", "two"))
    bundle.write_text(f"# The first.\n{one}\n# Again, and the second.\n{one}{two}")
    network = Network(ca_bundle=str(bundle))
    ((name, content),) = java_settings.files(network).items()
    (tmp_path / name).write_bytes(content)
    keytool = [f"{spark_parts.java}/bin/keytool", "-list", "-v", "-keystore", str(tmp_path / name)]
    done = subprocess.run([*keytool, "-storepass", "changeit"], check=True, capture_output=True, text=True)
    owners = [line for line in done.stdout.splitlines() if line.startswith("Owner: ")]
    assert owners == ["Owner: CN=one", "Owner: CN=two"]
    told = java_settings.variables(network, "/x")
    assert told["JAVA_TOOL_OPTIONS"].startswith(f"-Djavax.net.ssl.trustStore=/x/{name} ")


def test_proxies() -> None:
    proxies = {
        "https_proxy": "http://ada:hush-hush@proxy.example.org:3128",
        "http_proxy": "http://other.example.org",
        "no_proxy": ".example.org, localhost",
    }
    network = Network(proxies=tuple((name, Secret(value)) for name, value in proxies.items()))
    assert java_settings.variables(network, "/x") == {
        "JAVA_TOOL_OPTIONS": "-Dhttp.proxyHost=other.example.org -Dhttp.proxyPort=80 "
        "-Dhttps.proxyHost=proxy.example.org -Dhttps.proxyPort=3128 "
        "-Dhttp.nonProxyHosts=*.example.org|localhost|localhost|127.*"
    }
    assert java_settings.variables(Network(), "/x") == java_settings.files(Network()) == {}

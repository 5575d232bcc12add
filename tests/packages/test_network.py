"""The user's settings of pip and conda, and what they give access to."""

from __future__ import annotations

import functools
import http.server
import os
import ssl
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from amlexec.errors import ConfigurationError, TargetError
from amlexec.packages import network
from tests.support.declared import Declared, failed, package

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.usefixtures("own_network")


class TestNetwork:
    def test_no_secret_is_printed(self, tmp_path: Path) -> None:
        bundle = tmp_path / "ca.pem"
        bundle.write_text("")
        found = network.settings(
            {
                "HOME": str(tmp_path),
                "PIP_CONFIG_FILE": os.devnull,
                "https_proxy": "http://me:hidden@127.0.0.1:3128",
                "HTTP_PROXY": "127.0.0.1:3128",
                "PIP_INDEX_URL": "https://me:hidden@h/simple",
                "PIP_EXTRA_INDEX_URL": "https://hidden@e/simple https://f/simple",
                "PIP_CERT": str(bundle),
                "UV_DEFAULT_INDEX": "https://other/simple",
                "UV_PRERELEASE": "allow",
            }
        )
        assert "hidden" not in repr(found)
        assert network.uv_variables(found) == {
            "HOME": str(tmp_path),
            "HTTPS_PROXY": "http://me:hidden@127.0.0.1:3128",
            "HTTP_PROXY": "http://127.0.0.1:3128",
            "SSL_CERT_FILE": str(bundle),
        }
        assert (
            network.build_variables(found)["PIP_EXTRA_INDEX_URL"]
            == "https://hidden@e/simple https://f/simple"
        )
        assert "hidden" not in repr(network.build_variables(found))
        network.client(found)

    def test_pip_settings_nearest_first(self, tmp_path: Path) -> None:
        (tmp_path / ".config/pip").mkdir(parents=True)
        (tmp_path / ".config/pip/pip.conf").write_text(
            "[global]\nindex-url = https://user/simple\nextra_index_url =\n  https://a/simple\n  https://b/simple\n"
            "[install]\nno-index = true\n"
        )
        own = tmp_path / "own.conf"
        own.write_text("[global]\nindex-url = https://own/simple\n")
        home = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "none")}
        found = network.settings(home)
        assert found.index_url == "https://user/simple"
        assert found.extra_index_urls == ("https://a/simple", "https://b/simple")
        assert found.no_index
        assert network.settings(home | {"PIP_CONFIG_FILE": str(own)}).index_url == "https://own/simple"
        assert network.settings(home | {"PIP_INDEX_URL": "https://v/simple"}).index_url == "https://v/simple"

    def test_conda_settings(self, tmp_path: Path) -> None:
        """Files in conda's order; variables are expanded, and the environment takes precedence."""
        bundle = tmp_path / "ca.pem"
        bundle.write_text("certificates")
        (tmp_path / ".condarc").write_text(
            "proxy_servers:\n  https: http://u:${HUSH}@proxy:3128\n  http: http://proxy:3128\n"
            f"ssl_verify: {bundle}\nchannel_alias: https://${{HOST}}/conda\ndefault_channels: [https://$HOST/d]\n"
        )
        variables = {"HOME": str(tmp_path), "HUSH": "hidden", "HOST": "h", "PIP_CONFIG_FILE": os.devnull}
        found = network.settings(variables)
        assert dict(found.channel_proxies) == {
            "https_proxy": "http://u:hidden@proxy:3128",
            "http_proxy": "http://proxy:3128",
        }
        assert found.proxies == found.channel_proxies, "where nobody else says one, pip needs it too"
        assert (found.channel_ca_bundle, found.ca_bundle) == (str(bundle), str(bundle))
        assert (found.channel_alias, found.default_channels) == ("https://h/conda", ("https://h/d",))
        assert "hidden" not in repr(found)
        assert 'https = "http://u:hidden@proxy:3128"' in network.rattler_settings(found)
        told = network.settings({**variables, "PIP_PROXY": "pip:1"})
        assert dict(told.proxies)["https_proxy"] == "http://pip:1"
        assert told.channel_proxies == found.channel_proxies
        told = network.settings({**variables, "HTTPS_PROXY": "own:1"})
        assert dict(told.proxies) == dict(told.channel_proxies) == {"https_proxy": "http://own:1"}
        (tmp_path / "other").write_text("ssl_verify: false\n")
        told = network.settings({**variables, "CONDARC": str(tmp_path / "other")})
        assert (told.verifies_channels, told.channel_ca_bundle) == (False, "")
        assert "tls-no-verify = true" in network.rattler_settings(told)
        assert dict(told.channel_proxies) == dict(found.channel_proxies), "the files come together"
        with pytest.raises(
            ConfigurationError, match="there is no CA bundle /nowhere, which conda's ssl_verify"
        ):
            network.settings({**variables, "CONDA_SSL_VERIFY": "/nowhere"})

    @pytest.mark.parametrize(("verify", "is_reached"), [("true", False), ("false", True), ("{bundle}", True)])
    def test_a_channel_with_its_own_certificate(
        self,
        declared: Declared,
        own_channel: Callable[..., Path],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        verify: str,
        is_reached: bool,
    ) -> None:
        key, bundle, leaf = (tmp_path / name for name in ("key.pem", "ca.pem", "leaf.pem"))
        new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        own_ca = ["-subj", "/CN=ca", "-keyout", str(tmp_path / "ca.key"), "-out", str(bundle)]
        signed = ["-CA", str(bundle), "-CAkey", str(tmp_path / "ca.key"), "-subj", "/CN=localhost"]
        signed += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        for more in (own_ca, [*signed, "-keyout", str(key), "-out", str(leaf)]):
            subprocess.run([*new, *more], check=True, capture_output=True)
        own = own_channel(package("thing", "1.0"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf, key)
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(own))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (tmp_path / "condarc").write_text(f"ssl_verify: {verify.format(bundle=bundle)}\n")
        monkeypatch.setenv("CONDARC", str(tmp_path / "condarc"))
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        declared.write([f"https://127.0.0.1:{server.server_port}"], ["thing"])
        try:
            if is_reached:
                assert "thing 1.0" in declared.names()
            else:
                assert "cannot be reached" in failed(declared, TargetError)[0]
        finally:
            server.shutdown()
            server.server_close()
        assert "SSL_CERT_FILE" not in os.environ

    def test_missing_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError) as caught:
            network.settings({"HOME": str(tmp_path), "SSL_CERT_FILE": "/nowhere/ca.pem"})
        assert caught.value.message == "there is no CA bundle /nowhere/ca.pem, which SSL_CERT_FILE names"

    def test_unreadable_settings(self, tmp_path: Path) -> None:
        (tmp_path / "pip.conf").write_text("index-url = x\n")
        with pytest.raises(ConfigurationError, match="pip's settings cannot be read"):
            network.settings({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})

    def test_cache(self, tmp_path: Path) -> None:
        assert network.cache_folder({"AMLEXEC_CACHE": str(tmp_path)}) == tmp_path
        assert network.cache_folder({}).name == "amlexec"

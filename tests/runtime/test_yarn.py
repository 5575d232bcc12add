"""What stays with an application of YARN on a head node: its reading of settings, answers and logs."""

from __future__ import annotations

import importlib
import json
import os
import ssl
import subprocess
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.site_scripts import SITE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines.spark import Installed

ID = "application_1521077190506_0042"
APP = {
    "id": ID,
    "state": "RUNNING",
    "finalStatus": "UNDEFINED",
    "applicationTags": "amlexec-5f,ours",
    "queue": "default",
    "amContainerLogs": "http://node1:8042/node/containerlogs/container_1521077190506_0042_01_000001/ada",
}
# As a NodeManager of Hadoop 3.3 answers.
LOG = (
    "Container: container_1521077190506_0042_01_000001 on node1_8041\nLogAggregationType: LOCAL\n"
    "==================================================\nLogType:stdout\n"
    "LogLastModifiedTime:Mon Nov 30 20:42:39 +0000 2026\nLogLength:{}\nLogContents:\n{}\n"
    "End of LogType:stdout.This log file belongs to a running container "
    "(container_1521077190506_0042_01_000001) and so may not be complete.\n*******************\n\n"
)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The modules, as they find each other on a head node."""
    hadoop = ("hadoop_tls", "hadoop_site", "hadoop_files", "hadoop_archives")
    names = (*hadoop, "yarn_rest", "yarn_kill", "yarn_errors", "yarn_output", "yarn_submit")
    monkeypatch.setattr(sys, "path", [str(SITE / "amlexec"), *sys.path])
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        del sys.modules[name]


class Served:
    """An HTTP server with these answers: paths to a status and a body."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.challenge = self.cookie = ""
        self.moves: dict[str, str] = {}
        self.sent: list[bytes] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.command, self.path))
                outer.sent.append(self._body())
                if self.path in outer.moves:
                    self.send_response(307)
                    self.send_header("Location", outer.address + outer.moves[self.path])
                    self.end_headers()
                    return
                status, body = outer.answers.get(self.path, (404, b"{}"))
                if not status:
                    self.close_connection = True
                    return
                is_known = outer.cookie and outer.cookie in self.headers.get("Cookie", "")
                self.send_response(401 if outer.challenge and not is_known else status)
                if outer.challenge:
                    self.send_header("WWW-Authenticate", outer.challenge)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_PUT = do_GET  # noqa: N815 - the server's name for it

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                found = b""
                while size := int(self.rfile.readline(), 16):
                    found += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return found

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Nothing: clients leave as they like."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    thread = Thread(target=found.server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def program(name: str, text: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    return program


class TestSettings:
    """Of the files in HADOOP_CONF_DIR."""

    def test_files(self, modules: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = (
            "<configuration><property><name> a </name><value>\n x:${b}\n</value></property></configuration>"
        )
        (tmp_path / "core-site.xml").write_text(text)
        (tmp_path / "yarn-site.xml").write_text("no XML")
        monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
        monkeypatch.delenv("YARN_CONF_DIR", raising=False)
        site = modules["hadoop_site"]
        found = site.settings("core-site.xml", "hdfs-site.xml", "yarn-site.xml")
        assert found == {"a": "x:${b}"}
        assert site.value({**found, "b": "1"}, "a") == "x:1"

    @pytest.mark.parametrize(
        ("found", "addresses"),
        [
            ({}, []),
            ({"yarn.resourcemanager.hostname": "rm"}, ["http://rm:8088"]),
            (
                {
                    "yarn.resourcemanager.hostname": "rm",
                    "yarn.resourcemanager.webapp.address": "${yarn.resourcemanager.hostname}:80",
                },
                ["http://rm:80"],
            ),
            (
                {
                    "yarn.http.policy": "HTTPS_ONLY",
                    "yarn.resourcemanager.ha.enabled": "true",
                    "yarn.resourcemanager.ha.rm-ids": "a, b",
                    "yarn.resourcemanager.hostname.a": "one",
                    "yarn.resourcemanager.webapp.https.address.b": "two:1",
                },
                ["https://one:8090", "https://two:1"],
            ),
            (
                {
                    "yarn.resourcemanager.ha.rm-ids": "a, b",
                    "yarn.resourcemanager.hostname.a": "one",
                    "yarn.resourcemanager.hostname": "rm",
                },
                ["http://rm:8088"],
            ),
        ],
    )
    def test_resource_managers(
        self, modules: dict[str, Any], found: dict[str, str], addresses: list[str]
    ) -> None:
        assert modules["yarn_rest"].resource_managers(found) == addresses

    @pytest.mark.parametrize(
        ("found", "addresses"),
        [
            ({"fs.defaultFS": "hdfs://h:8020"}, ["http://h:9870"]),
            ({"fs.defaultFS": "hdfs://h:8020", "dfs.http.policy": "HTTPS_ONLY"}, ["https://h:9871"]),
            (
                {
                    "fs.defaultFS": "hdfs://pair/",
                    "dfs.ha.namenodes.pair": "a, b,c",
                    "dfs.namenode.http-address.pair.a": "one:1",
                    "dfs.namenode.rpc-address.pair.a": "one:8020",
                    "dfs.namenode.http-address.pair.b": "0.0.0.0:2",
                    "dfs.namenode.rpc-address.pair.b": "two:8020",
                    "dfs.namenode.rpc-address.pair.c": "three:8020",
                    "dfs.ha.namenodes.other": "d",
                    "dfs.namenode.http-address.other.d": "four:1",
                },
                ["http://one:1", "http://two:2", "http://three:9870"],
            ),
            (
                {
                    "fs.defaultFS": "hdfs://pair",
                    "dfs.http.policy": "HTTPS_ONLY",
                    "dfs.ha.namenodes.pair": "a,b",
                    "dfs.namenode.http-address.pair.a": "one:1",
                    "dfs.namenode.https-address.pair.a": "one:2",
                    "dfs.namenode.http-address.pair.b": "two:1",
                },
                ["https://one:2"],
            ),
        ],
    )
    def test_name_nodes(self, modules: dict[str, Any], found: dict[str, str], addresses: list[str]) -> None:
        assert modules["hadoop_files"].files(found, "/opt/spark").namenodes == addresses

    @pytest.mark.parametrize(
        ("system", "home"),
        [
            ("hdfs://head:8020", "hdfs://head:8020/user/ada"),
            (
                "abfs://data@account.dfs.core.windows.net/",
                "abfs://data@account.dfs.core.windows.net/user/ada",
            ),
            (
                "wasbs://data@account.blob.core.windows.net",
                "wasbs://data@account.blob.core.windows.net/user/ada",
            ),
        ],
    )
    def test_the_home_folder_is_in_the_default_file_system(
        self, modules: dict[str, Any], monkeypatch: pytest.MonkeyPatch, system: str, home: str
    ) -> None:
        monkeypatch.setenv("HADOOP_USER_NAME", "ada")
        files = modules["hadoop_files"]
        assert files.home({"fs.defaultFS": system}) == home
        has_rest = bool(files.files({"fs.defaultFS": system}, "/opt/spark").namenodes)
        assert has_rest == system.startswith("hdfs")


class TestTheResourceManager:
    """Its answers."""

    def test_one_that_is_down_or_stands_by_is_passed_over(
        self, modules: dict[str, Any], served: Served
    ) -> None:
        served.answers[f"/ws/v1/cluster/apps/{ID}"] = (200, json.dumps({"app": APP}).encode())
        served.answers[f"/standby/ws/v1/cluster/apps/{ID}"] = (200, b"This is standby RM. Redirecting")
        addresses = ["http://127.0.0.1:9", f"{served.address}/standby", served.address]
        yarn = modules["yarn_rest"].Yarn(addresses)
        assert yarn.application(ID)["state"] == "RUNNING"
        assert yarn.addresses[0] == served.address
        assert modules["yarn_rest"].Yarn(["http://127.0.0.1:9"]).application(ID) == {}

    @pytest.mark.parametrize("apps", [{"app": [APP]}, [APP]])
    def test_an_application_is_found_by_its_tag(
        self, modules: dict[str, Any], served: Served, apps: object
    ) -> None:
        path = "/ws/v1/cluster/apps?applicationTags="
        served.answers[f"{path}amlexec-5f"] = (200, json.dumps({"apps": apps}).encode())
        served.answers[f"{path}amlexec-5"] = (200, json.dumps({"apps": apps}).encode())
        served.answers[f"{path}amlexec-6"] = (200, b'{"apps": null}')
        yarn = modules["yarn_rest"].Yarn([served.address])
        assert yarn.tagged("amlexec-5f")["id"] == ID
        # Some versions ignore what they don't know.
        assert (yarn.tagged("amlexec-5"), yarn.tagged("amlexec-6")) == ({}, {})

    def test_what_an_application_waits_for(self, modules: dict[str, Any], served: Served) -> None:
        asked = [
            {"resourceName": "*", "numContainers": 2, "capability": {"memory": 896, "vCores": 1}},
            {"resourceName": "node1", "numContainers": 2, "capability": {"memory": 896, "vCores": 1}},
            "x",
        ]
        app = {**APP, "state": "ACCEPTED", "resourceRequests": asked}
        served.answers[f"/ws/v1/cluster/apps/{ID}"] = (200, json.dumps({"app": app}).encode())
        yarn = modules["yarn_rest"].Yarn([served.address])
        assert yarn.application(ID)["waiting"] == "2 vcores and 1792 MB"

    def test_an_id_of_another_form(self, modules: dict[str, Any], served: Served) -> None:
        served.answers["/ws/v1/cluster/apps/x"] = (200, b'{"app": {"id": "../x", "state": "RUNNING"}}')
        assert modules["yarn_rest"].Yarn([served.address]).application("x") == {}


class TestTheNameNodes:
    """Of a pair: their answers, and the data that they are sent."""

    def test_the_one_that_answers_is_asked_first_from_then_on(
        self, modules: dict[str, Any], served: Served
    ) -> None:
        standby = {"exception": "StandbyException", "message": "Operation category READ is not supported"}
        of_file = {"FileStatus": {"length": 3, "pathSuffix": "", "modificationTime": 0}}
        where = f"/webhdfs/v1/x?op=GETFILESTATUS&user.name={modules['hadoop_site'].user()}"
        served.answers[f"/standby{where}"] = (403, json.dumps({"RemoteException": standby}).encode())
        served.answers[where] = (200, json.dumps(of_file).encode())
        addresses = ["http://127.0.0.1:9", f"{served.address}/standby", served.address]
        files = modules["hadoop_files"].Files(addresses, [])
        assert [files.size("hdfs://pair/x") for _ in range(2)] == [3, 3]
        assert [path for _, path in served.asked] == [f"/standby{where}", where, where]
        assert files.why == ""
        # An answer that says no is one, too.
        gone = {"exception": "FileNotFoundException", "message": "File does not exist: /x"}
        served.answers[where] = (404, json.dumps({"RemoteException": gone}).encode())
        assert files.size("hdfs://pair/x") is None
        served.answers[where] = served.answers[f"/standby{where}"]
        with pytest.raises(modules["hadoop_site"].HadoopError, match=r"^Operation category READ"):
            files.size("hdfs://pair/x")
        assert files.namenodes == []

    def test_the_other_one_gets_the_data_from_the_beginning(
        self, modules: dict[str, Any], served: Served, tmp_path: Path
    ) -> None:
        """The first one has taken it, and is lost before it answers."""
        (tmp_path / "x").write_bytes(b"all of it")
        query = f"/webhdfs/v1/x?op=CREATE&overwrite=true&user.name={modules['hadoop_site'].user()}"
        # To the redirection, no data is sent.
        served.moves[f"/one{query}"] = "/one?op=CREATE&namenoderpcaddress=pair"
        served.moves[query] = "/two?op=CREATE&namenoderpcaddress=pair"
        served.answers["/one?op=CREATE&namenoderpcaddress=pair"] = (0, b"")
        served.answers["/two?op=CREATE&namenoderpcaddress=pair"] = (201, b"")
        files = modules["hadoop_files"].Files([f"{served.address}/one", served.address], [])
        with (tmp_path / "x").open("rb") as file:
            assert files._rest("PUT", "hdfs://pair/x", "CREATE", file, overwrite="true") == {}
        assert served.sent == [b"", b"all of it", b"", b"all of it"]


class TestCertificates:
    """Of daemons that are asked by HTTPS: a real authority, and a real truststore of Java's."""

    @pytest.fixture
    def secured(self, served: Served, tmp_path: Path) -> str:
        """The address of that server with TLS; `authority.pem` is who has signed its certificate."""
        signed = [
            "-CA",
            "authority.pem",
            "-CAkey",
            "authority.key",
            "-addext",
            "subjectAltName=DNS:localhost",
        ]
        for name, more in (("authority", []), ("server", signed)):
            words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
            words += ["-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key"]
            # Without it, no authority to a Python from 3.13 on.
            words += ["-addext", "keyUsage=digitalSignature,keyCertSign"]
            words += ["-out", f"{name}.pem", *more]
            subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
        # The handshake is a thread's; all of them end with the server.
        served.server.daemon_threads = False
        served.server.socket = context.wrap_socket(
            served.server.socket, server_side=True, do_handshake_on_connect=False
        )
        served.answers[f"/ws/v1/cluster/apps/{ID}"] = (200, json.dumps({"app": APP}).encode())
        return f"https://localhost:{served.server.server_port}"

    def test_an_authority_that_is_not_known(
        self,
        modules: dict[str, Any],
        served: Served,
        secured: str,
        program: Callable[[str, str], None],
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        tmp_path: Path,
    ) -> None:
        monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
        monkeypatch.setenv("AMLEXEC_RUN_FOLDER", str(tmp_path))
        where = secured.removeprefix("https://")
        refused = (
            rf"^the certificate of https://{where} is not trusted: .*; add its authority to the machine's"
        )
        yarn = modules["yarn_rest"].Yarn([secured])
        for ask in (yarn.free, lambda: yarn.application(ID), lambda: yarn.tagged("amlexec-5f")):
            with pytest.raises(modules["hadoop_site"].HadoopError, match=refused):
                ask()
        log = modules["yarn_rest"].Log("stdout")
        assert (log.new(secured, "c"), log.failures) == (b"", modules["yarn_rest"].FAILURES)
        assert log.why.startswith("the certificate of")
        # HDFS has another way, which does without HTTPS.
        program("hadoop", "echo 3")
        files = modules["hadoop_files"].Files([secured], ["hadoop", "fs"])
        assert files.size("hdfs://h/x") == 3
        assert files.why.startswith("the certificate of")
        # And `yarn application` ends what has to end.
        program("yarn", f'[ "$2" != -list ] || echo {ID}')
        assert modules["yarn_kill"].killed(yarn, "/opt/spark", "amlexec-5f", {})["id"] == ID
        made = modules["yarn_submit"].Submission("cluster", "amlexec-5f", ["spark-submit"])
        made.yarn = yarn
        made.stay(0)
        assert made.error == ""
        (tmp_path / "stderr.log").write_text('Exception in thread "main" a.B: no such queue\n')
        made.stay(1)
        assert made.error == "spark-submit: no such queue"
        said = capfd.readouterr().err.splitlines()
        words = "amlexec: YARN does not tell how the application has ended: the certificate of https://"
        assert [line[: len(words)] for line in said] == [words] * 2
        assert served.asked == []

    def test_one_of_the_machine(
        self, modules: dict[str, Any], secured: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Whatever the authorities of the Python are."""
        tls = modules["hadoop_tls"]
        monkeypatch.setattr(tls, "_BUNDLES", (str(tmp_path / "none.pem"), str(tmp_path / "authority.pem")))
        yarn = modules["yarn_rest"].Yarn([secured, secured.replace("localhost", "127.0.0.1")])
        assert yarn.application(ID)["state"] == "RUNNING"
        # The name has to be the certificate's, too.
        with pytest.raises(modules["hadoop_site"].HadoopError, match=r"127\.0\.0\.1'$"):
            modules["yarn_rest"].Yarn(yarn.addresses[1:]).free()

    @pytest.mark.parametrize("kind", ["jks", "pkcs12"])
    def test_one_of_hadoop_s_truststore(
        self,
        modules: dict[str, Any],
        served: Served,
        secured: str,
        spark_parts: Installed,
        program: Callable[[str, str], None],
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        kind: str,
    ) -> None:
        words = [f"{spark_parts.java}/bin/keytool", "-importcert", "-noprompt", "-alias", "a", "-file"]
        words += [str(tmp_path / "authority.pem"), "-keystore", str(tmp_path / "trusted"), "-storetype", kind]
        subprocess.run([*words, "-storepass", "hush-hush"], check=True, capture_output=True)
        told = {"location": f"{tmp_path}/${{name}}", "password": "hush-hush", "type": kind}
        sites = {
            "core-site": {"hadoop.ssl.client.conf": "client.xml"},
            "client": {"name": "trusted", **{f"ssl.client.truststore.{key}": told[key] for key in told}},
        }
        for name, found in sites.items():
            lines = [f"<property><name>{key}</name><value>{found[key]}</value></property>" for key in found]
            (tmp_path / f"{name}.xml").write_text(f"<configuration>{''.join(lines)}</configuration>")
        monkeypatch.setenv("HADOOP_CONF_DIR", str(tmp_path))
        monkeypatch.setenv("JAVA_HOME", str(spark_parts.java))
        yarn = modules["yarn_rest"].Yarn([secured])
        assert yarn.application(ID)["state"] == "RUNNING"
        # With Kerberos, curl needs it, too.
        served.challenge = "Negotiate"
        authority = (tmp_path / "authority.pem").read_text()
        taken = f'while [ "$1" != --cacert ]; do shift; done\ncp "$2" {tmp_path}/sent'
        program("curl", f"{taken}\nprintf '\\n401'")
        program("klist", "exit 1")
        with pytest.raises(modules["hadoop_site"].HadoopError, match="no valid ticket"):
            yarn.application(ID)
        assert authority in (tmp_path / "sent").read_text()
        program("curl", "exit 60")
        with pytest.raises(
            modules["hadoop_site"].HadoopError, match=f"^curl does not trust the certificate of {secured}/"
        ):
            yarn.application(ID)


class TestKerberos:
    """What `targets/test_yarn_secure.py` does not do with a real one."""

    def test_no_ticket(
        self, modules: dict[str, Any], served: Served, program: Callable[[str, str], None]
    ) -> None:
        served.challenge = "Negotiate"
        program("klist", "exit 1")
        program("curl", "cat >/dev/null\nprintf 'Unauthorized\\n401'")
        program("hadoop", "echo 'stat: GSSException: No valid credentials provided' >&2; exit 1")
        yarn = modules["yarn_rest"].Yarn([served.address])
        secure = {"hadoop.security.authentication": "kerberos", "fs.defaultFS": "hdfs://h"}
        files = modules["hadoop_files"].files(secure, "/opt/spark")
        for ask in (yarn.free, lambda: files.size("hdfs://h/x")):
            with pytest.raises(
                modules["hadoop_site"].HadoopError, match="no valid ticket on the head node: run"
            ):
                ask()
        program("klist", "echo Ticket cache; [ $# = 0 ]")
        with pytest.raises(
            modules["hadoop_site"].HadoopError, match="your ticket on the head node has expired"
        ):
            yarn.application(ID)

    def test_curl_is_started_once(
        self, modules: dict[str, Any], served: Served, program: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        """A daemon gives a cookie to those whom Kerberos has let in."""
        served.challenge, served.cookie = "Negotiate", 'hadoop.auth="u=ada&s=x="'
        served.answers[f"/ws/v1/cluster/apps/{ID}"] = (200, json.dumps({"app": APP}).encode())
        told = f"HTTP/1.1 200 OK\\r\\nSet-Cookie: {served.cookie}; Path=/; HttpOnly\\r\\n"
        body = json.dumps({"app": APP})
        program("curl", f"echo x >>{tmp_path}/calls; printf '{told}' >&2; printf '%s\\n200' '{body}'")
        yarn = modules["yarn_rest"].Yarn([served.address])
        assert [yarn.application(ID)["state"] for _ in range(3)] == ["RUNNING"] * 3
        assert (tmp_path / "calls").read_text() == "x\n"

    @pytest.mark.parametrize("curl", ["exit 2", ""])
    def test_a_curl_without_kerberos(
        self,
        modules: dict[str, Any],
        served: Served,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        curl: str,
    ) -> None:
        served.challenge = "Negotiate"
        monkeypatch.setenv("PATH", str(tmp_path))
        if curl:
            (tmp_path / "curl").write_text(f"#!/bin/sh\n{curl}\n")
            (tmp_path / "curl").chmod(0o755)
        with pytest.raises(modules["hadoop_site"].HadoopError, match="no curl with GSS-API"):
            modules["yarn_rest"].Yarn([served.address]).free()

    def test_the_home_folder_is_the_principal_s(
        self, modules: dict[str, Any], program: Callable[[str, str], None]
    ) -> None:
        program("klist", "echo 'Default principal: svc/head@EXAMPLE.ORG'")
        secure = {"hadoop.security.authentication": "kerberos", "fs.defaultFS": "hdfs://h"}
        assert modules["hadoop_files"].home(secure) == "hdfs://h/user/svc"


class TestAnotherFileSystem:
    """One that is asked by `hadoop fs`."""

    def test_a_connector_s_last_words_are_no_error(self, modules: dict[str, Any], tmp_path: Path) -> None:
        told = (
            "stat: `wasb://a@b/c': No such file or directory\\n26/12/01 INFO MetricsSystemImpl: shutdown.\\n"
        )
        (tmp_path / "hadoop").write_text(f'#!/bin/sh\nprintf "{told}" >&2\nexit 1\n'.replace("`", "\\`"))
        (tmp_path / "hadoop").chmod(0o755)
        files = modules["hadoop_files"].Files([], [str(tmp_path / "hadoop"), "fs"])
        assert files.size("wasb://a@b/c") is None
        assert not files.get("wasb://a@b/c", str(tmp_path / "c"))
        with pytest.raises(modules["hadoop_site"].HadoopError, match=r"^stat: .*No such file or directory$"):
            files.put(str(tmp_path / "hadoop"), "wasb://a@b/c")

    def test_an_archive_that_was_deleted_is_stored_again(
        self,
        modules: dict[str, Any],
        program: Callable[[str, str], None],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """There, only spark-submit finds out: the marker on the head node is believed."""
        for name in ("HOME", "AMLEXEC_RUN_FOLDER", "HADOOP_CONF_DIR"):
            monkeypatch.setenv(name, str(tmp_path))
        monkeypatch.delenv("YARN_CONF_DIR", raising=False)
        (tmp_path / "control").mkdir()
        (tmp_path / "e.tar.gz").write_bytes(b"x")
        site = "<configuration><property><name>fs.defaultFS</name><value>wasb://a@b</value></property>"
        (tmp_path / "core-site.xml").write_text(f"{site}</configuration>")
        marker = tmp_path / ".amlexec/archives/e.tar.gz.cluster"
        marker.parent.mkdir(parents=True)
        marker.touch()
        address = f"wasb://a@b/user/{modules['hadoop_site'].user()}/.amlexec/archives/e.tar.gz"
        stored = tmp_path / "stored"
        program(
            "hadoop", f"case $2 in -stat) echo 'No such file' >&2; exit 1;; -mv) echo $4 >>{stored};; esac"
        )
        gone = (
            f'Exception in thread "main" java.io.FileNotFoundException: {address}: No such file or directory.'
        )
        failed = f"echo '{gone}' >{tmp_path}/stderr.log; exit 1"
        submit = f'[ -e {stored} ] || {{ {failed}; }}\necho "$@" >{tmp_path}/said'
        program("spark-submit", submit)
        words = [str(tmp_path / "spark-submit"), "--conf", "spark.yarn.jars=x"]
        words += ["--archives", f"{tmp_path}/e.tar.gz#environment"]
        assert modules["yarn_submit"].Submission("client", "amlexec-5f", words).run() == 0
        assert stored.read_text() == f"{address}\n"
        assert (tmp_path / "said").read_text().endswith(f"={address}#environment\n")


class TestTheKill:
    """Of an application."""

    def test_where_nobody_answers_the_command_does_it(
        self, modules: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        script = f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n[ "$2" != -list ] || echo "{ID}  demo  SPARK"\n'
        (tmp_path / "yarn").write_text(script)
        (tmp_path / "yarn").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        yarn = modules["yarn_rest"].Yarn(["http://127.0.0.1:9"])
        found = modules["yarn_kill"].killed(yarn, "/opt/spark", "amlexec-5f", {})
        assert (found["id"], found["state"]) == (ID, "KILLED")
        calls = (tmp_path / "calls").read_text().splitlines()
        assert calls == ["application -list -appTags amlexec-5f", f"application -kill {ID}"]
        (tmp_path / "yarn").write_text("#!/bin/sh\necho 'no ResourceManager' >&2\nexit 1\n")
        with pytest.raises(modules["hadoop_site"].HadoopError, match="no ResourceManager"):
            modules["yarn_kill"].killed(yarn, "/opt/spark", "amlexec-5f", {})


class TestLogs:
    """Of containers, on their nodes."""

    def test_what_is_new(self, modules: dict[str, Any], served: Served) -> None:
        path = "/ws/v1/node/containerlogs/c/stdout?size=-{}"
        log = modules["yarn_rest"].Log("stdout")

        def has(text: str, window: int) -> None:
            last = text[-window:]
            served.answers[path.format(window)] = (200, LOG.format(len(text), last).encode())

        window = 1 << 16
        has("", window)
        assert log.new(served.address, "c") == b""
        has("one\n", window)
        assert log.new(served.address, "c") == b"one\n"
        assert log.new(served.address, "c") == b""
        # YARN's own words are not taken for the script's, nor the other way round.
        has("one\nLogContents:\nEnd of LogType:stdout", window)
        assert log.new(served.address, "c") == b"LogContents:\nEnd of LogType:stdout"
        # More than the last bytes that are asked for.
        text = "one\nLogContents:\nEnd of LogType:stdout" + "x" * 3 * window
        has(text, window)
        has(text, 4 * window)
        assert log.new(served.address, "c") == b"x" * 3 * window

    @pytest.mark.parametrize(
        "answer", [(404, b"{}"), (200, b""), (200, b"<html>Failed while trying to construct"), (500, b"x")]
    )
    def test_no_log(self, modules: dict[str, Any], served: Served, answer: tuple[int, bytes]) -> None:
        served.answers["/ws/v1/node/containerlogs/c/stdout?size=-65536"] = answer
        log = modules["yarn_rest"].Log("stdout")
        assert (log.new(served.address, "c"), log.new("http://127.0.0.1:9", "c"), log.position) == (
            b"",
            b"",
            0,
        )

    def test_a_node_that_fails_is_asked_less_often(self, modules: dict[str, Any], served: Served) -> None:
        """As a NodeManager of a cluster with Kerberos that has no native library of Hadoop's."""
        served.answers["/ws/v1/node/containerlogs/c/stdout?size=-65536"] = (500, b"x")
        log = modules["yarn_rest"].Log("stdout")
        for _ in range(100):
            assert log.new(served.address, "c") == b""
        assert len(served.asked) == 10
        served.answers["/ws/v1/node/containerlogs/c/stdout?size=-65536"] = (200, LOG.format(1, "x").encode())
        assert b"x" in [log.new(served.address, "c") for _ in range(60)]

    def test_an_archive_shows_what_was_not_shown(
        self,
        modules: dict[str, Any],
        served: Served,
        tmp_path: Path,
        capfdbinary: pytest.CaptureFixture[bytes],
    ) -> None:
        """Of the container that has sent it; what an earlier attempt has printed stays."""
        earlier, container = (f"container_1521077190506_0042_0{number}_000001" for number in (1, 2))
        path = "/ws/v1/node/containerlogs/{}/{}?size=-65536"
        served.answers[path.format(earlier, "amlexec.stdout")] = (200, LOG.format(4, "old\n").encode())
        served.answers[path.format(container, "amlexec.stdout")] = (200, LOG.format(4, "one\n").encode())
        logs = modules["yarn_output"].DriverLogs()
        for name in (earlier, container):
            logs.follow({"amContainerLogs": f"{served.address}/node/containerlogs/{name}/ada"})
        assert logs.attempts() == 2
        for name, text in (("container", container), ("stdout.log", "one\ntwo\n"), ("stderr.log", "oh\n")):
            (tmp_path / name).write_text(text)
        with tarfile.open(tmp_path / "results.tar", "w") as archive:
            for name in ("container", "stdout.log", "stderr.log"):
                archive.add(tmp_path / name, name)
        with tarfile.open(tmp_path / "results.tar") as archive:
            logs.show_rest(archive)
        shown = capfdbinary.readouterr()
        assert shown.out == b"old\none\ntwo\n"
        assert shown.err == b"amlexec: YARN starts the driver again, as attempt 2\noh\n"

    def test_the_container_of_the_driver(self, modules: dict[str, Any]) -> None:
        container_of = modules["yarn_rest"].container_of
        assert container_of(APP) == ("http://node1:8042", "container_1521077190506_0042_01_000001")
        assert container_of({"amContainerLogs": ""}) == ("", "")


class TestTheEnd:
    """Of a run whose driver was on a node."""

    def test_success_needs_the_script_s_exit_code(
        self, modules: dict[str, Any], served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AMLEXEC_RUN_FOLDER", str(tmp_path))
        for name in ("HADOOP_CONF_DIR", "YARN_CONF_DIR"):
            monkeypatch.delenv(name, raising=False)
        absent = {"exception": "FileNotFoundException", "message": "File does not exist"}
        made = modules["yarn_submit"].Submission("cluster", "amlexec-5f", ["spark-submit"])
        made.files = modules["hadoop_files"].Files([served.address], ["false"])
        path = f"/webhdfs/v1{made.folder}/runs/amlexec-5f/results.tar?op=GETFILESTATUS&user.name="
        path += modules["hadoop_site"].user()
        served.answers[path] = (404, json.dumps({"RemoteException": absent}).encode())
        # spark-submit says 0 although the script has never begun.
        assert [made.result(code) for code in (0, 3)] == [1, 3]
        assert [asked for _, asked in served.asked] == [path, path]

    def test_packages_that_no_repository_has(self, modules: dict[str, Any], tmp_path: Path) -> None:
        missing = [f"unresolved dependency: {one}: not found" for one in ("org.example#a_2.12;1.0", "o#b;2")]
        line = f"java.lang.RuntimeException: [{', '.join(missing)}]\n"
        assert modules["yarn_errors"].why(str(tmp_path)) == ""
        (tmp_path / "stderr.log").write_text(f'Exception in thread "main" {line}')
        reason = "no repository has the Maven packages o:b:2, org.example:a_2.12:1.0"
        assert modules["yarn_errors"].why(str(tmp_path)) == reason


class TestArguments:
    """The archives of a command line."""

    def test_a_path_with_blanks_and_a_fragment(self, modules: dict[str, Any], tmp_path: Path) -> None:
        words = ["spark-submit", "--archives", "../p.tar.gz#project,/a b#c/d.tar.gz#environment", "x.py"]
        made = modules["hadoop_archives"].Archives(None, "hdfs://h", print)
        made.stored = lambda local, name, *_: f"hdfs://h/{name} from {local}"
        words = made.store(words, str(tmp_path), str(tmp_path))
        told = "../p.tar.gz#project,hdfs://h/d.tar.gz from /a b#c/d.tar.gz#environment"
        assert words[1:3] == ["--conf", f"spark.yarn.dist.archives={told}"]

    def test_the_user_s_own_archives_stay(self, modules: dict[str, Any], tmp_path: Path) -> None:
        own = ["--conf", "spark.yarn.dist.archives=hdfs:///model.zip#model"]
        words = ["spark-submit", "--archives", "../p.tar.gz#project", *own, "x.py", "--archives", "a"]
        told = "spark.yarn.dist.archives=hdfs:///model.zip#model,../p.tar.gz#project"
        made = modules["hadoop_archives"].placed(words, str(tmp_path), str(tmp_path), None)
        assert made == ["spark-submit", "--conf", told, "--conf", told, "x.py", "--archives", "a"]

    def test_what_begins_before_the_cluster_is_asked(
        self, modules: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only what has a marker of every archive."""
        monkeypatch.setenv("HOME", str(tmp_path))
        archives = modules["hadoop_archives"]
        words = ["spark-submit", "--archives", "/home/ada/d.tar.gz#environment", "x.py"]
        asked = (words, str(tmp_path), str(tmp_path))
        assert archives.known(*asked) is None
        (tmp_path / ".amlexec/archives").mkdir(parents=True)
        (tmp_path / ".amlexec/archives/d.tar.gz.cluster").write_text("hdfs://h/d.tar.gz\nhadoop\nfs\n1\n")
        told = "spark.yarn.dist.archives=hdfs://h/d.tar.gz#environment"
        assert archives.known(*asked) == ["spark-submit", "--conf", told, "x.py"]
        (tmp_path / "jars").mkdir()
        assert archives.known(*asked) is None, "Spark's own jars"
        assert words[1] == "--archives"

    def test_what_has_begun_ends_before_something_is_stored(
        self, modules: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A large archive takes longer than Java to start: the script would begin meanwhile."""
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "d.tar.gz").write_bytes(b"x")
        order: list[str] = []
        files = SimpleNamespace(
            namenodes=["head:9870"],
            program=["hadoop", "fs"],
            size=lambda _: order.append("size"),
            put=lambda *_: order.append("put"),
        )
        made = modules["hadoop_archives"].Archives(
            files, "hdfs://h/a", lambda _: order.append("say"), lambda: order.append("end")
        )
        assert (
            made.stored(str(tmp_path / "d.tar.gz"), "d", "the environment", False) == "hdfs://h/a/archives/d"
        )
        assert order == ["size", "end", "say", "put"]

    @pytest.mark.parametrize(
        ("words", "settings", "has_jars"),
        [
            ([], "", False),
            ([], "# spark.yarn.jars x\nspark.yarn.jars.more x\n", False),
            ([], "spark.master yarn\n spark.yarn.jars=local:/opt/spark/jars/*\n", True),
            (["--conf", "spark.yarn.archive=hdfs:///x"], "", True),
        ],
    )
    def test_where_spark_s_jars_are(
        self,
        modules: dict[str, Any],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        words: list[str],
        settings: str,
        has_jars: bool,
    ) -> None:
        monkeypatch.delenv("SPARK_CONF_DIR", raising=False)
        (tmp_path / "jars").mkdir()
        (tmp_path / "conf").mkdir()
        (tmp_path / "conf/spark-defaults.conf").write_text(settings)
        found = modules["hadoop_archives"].has_jars(["spark-submit", *words], str(tmp_path))
        assert found == has_jars

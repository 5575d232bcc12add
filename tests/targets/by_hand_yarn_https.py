"""Runs on a YARN and an HDFS that answer by HTTPS alone, with certificates of an authority of their own.

pytest runs them only if it is given the path of this file.
"""

from __future__ import annotations

import base64
import re
import ssl
import subprocess
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.conftest import PATIENCE
from tests.support.yarn import _SITES, NODES, YarnCluster, YarnProject, seldom, yarn_cluster, yarn_project_on
from tests.targets.test_yarn import HOME, PRINTED, SUBMIT, begun, prepared, tag_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.docker.client import Engine
    from tests.engines.spark import Installed
    from tests.support.hosts import Client
    from tests.support.places import Shop

_KEYS = "/etc/hadoop/keys"
_PASSWORD = "hush-hush"
_UNTRUSTED = (
    r"the certificate of https://{} is not trusted: .*; add its authority to the machine's certificates"
)
_SERVER = {
    "location": f"{_KEYS}/server.p12",
    "password": _PASSWORD,
    "keypassword": _PASSWORD,
    "type": "pkcs12",
}
_HTTPS: dict[str, dict[str, str]] = {
    "hdfs-site": {"dfs.http.policy": "HTTPS_ONLY"},
    "yarn-site": {"yarn.http.policy": "HTTPS_ONLY"},
    "ssl-server": {
        **{f"ssl.server.keystore.{key}": value for key, value in _SERVER.items()},
        "ssl.server.truststore.location": f"{_KEYS}/trusted.jks",
        "ssl.server.truststore.password": _PASSWORD,
    },
    "ssl-client": {
        "ssl.client.truststore.location": f"{_KEYS}/client.jks",
        "ssl.client.truststore.password": _PASSWORD,
    },
}
_TRUSTED = f"""\
"$JAVA_HOME/bin/keytool" -importcert -noprompt -alias authority -file {_KEYS}/authority.pem \\
  -keystore {_KEYS}/trusted.jks -storetype jks -storepass {_PASSWORD} 2>&1
"""


class HttpsCluster(YarnCluster):
    """Its nodes have one certificate for all their names; nobody trusts its authority at first."""

    scheme = "https"
    ports: ClassVar[dict[str, int]] = {"yarn": 8090, "hdfs": 9871}
    sites: ClassVar[dict[str, dict[str, str]]] = {
        name: {**_SITES.get(name, {}), **_HTTPS.get(name, {})} for name in {**_SITES, **_HTTPS}
    }

    def _begin(self) -> None:
        names = ",".join(f"DNS:{node}" for node in ("head", *NODES))
        signed = ["-CA", "authority.pem", "-CAkey", "authority.key", "-addext", f"subjectAltName={names}"]
        for name, more in (("authority", []), ("server", signed)):
            words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
            self._openssl(*words, "-keyout", f"{name}.key", "-out", f"{name}.pem", *more)
        words = ["pkcs12", "-export", "-in", "server.pem", "-inkey", "server.key", "-certfile"]
        self._openssl(*words, "authority.pem", "-out", "server.p12", "-passout", f"pass:{_PASSWORD}")
        for node in ("head", *NODES):
            self.run(node, f"mkdir -p {_KEYS}")
            for name in ("authority.pem", "server.p12"):
                text = base64.b64encode((self.folder / name).read_bytes()).decode()
                self.run(node, f"base64 -d >{_KEYS}/{name} <<'END'\n{text}\nEND")
            self.run(node, _TRUSTED)
        self.trusted = ssl.create_default_context(cafile=str(self.folder / "authority.pem"))
        self.trusted.check_hostname = False  # the tests ask by the addresses of the containers
        super()._begin()

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.folder, check=True, capture_output=True)

    def trust(self, store: str) -> None:
        """Let the head node trust the authority by one of its stores, "" for none."""
        where = "/usr/local/share/ca-certificates/cluster.crt"
        self.run("head", f"rm -f {where} {_KEYS}/client.jks")
        if store == "system":
            self.run("head", f"cp {_KEYS}/authority.pem {where}")
        if store == "hadoop":
            self.run("head", f"cp {_KEYS}/trusted.jks {_KEYS}/client.jks")
        self.run("head", "update-ca-certificates --fresh >/dev/null 2>&1")


@pytest.fixture(scope="module")
def https_of_module(
    ssh_image: str, machines: Engine, hadoop_parts: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[YarnCluster]:
    with yarn_cluster(machines, hadoop_parts, tmp_path_factory.mktemp("https"), HttpsCluster) as found:
        yield found


@pytest.fixture
def cluster(https_of_module: HttpsCluster, client: Client) -> HttpsCluster:
    client.lets_in(https_of_module)
    return https_of_module


@pytest.fixture
def project(cluster: HttpsCluster, shop: Shop, tmp_path: Path) -> YarnProject:
    found = yarn_project_on(cluster, shop, tmp_path)
    found.is_managed = True
    found.configure()
    return found


@pytest.mark.parametrize("store", ["", "system", "hadoop"])
def test_the_check(project: YarnProject, cluster: HttpsCluster, store: str) -> None:
    cluster.trust(store)
    done = project.amlexec("computetarget", "check", "cluster")
    assert done.code == 0, done.out
    where = rf"hdfs://head:8020{HOME} can be written"
    if store:
        assert re.search(r"YARN's nodes +ok +2, with \d+ MB and \d+ vcores free", done.out), done.out
        assert re.search(rf"file system +ok +{where}\n", done.out), done.out
    else:
        assert re.search(
            rf"YARN's nodes +warning +YARN does not tell: {_UNTRUSTED.format('head:8090')}", done.out
        ), done.out
        slow = rf"{where}, but only by `hadoop fs`: {_UNTRUSTED.format('head:9871')}"
        assert re.search(rf"file system +warning +{slow}", done.out), done.out


@pytest.mark.parametrize("store", ["system", "hadoop"])
@pytest.mark.parametrize("mode", ["cluster", "client"])
def test_a_run(project: YarnProject, cluster: HttpsCluster, mode: str, store: str) -> None:
    """Its output is shown while it runs."""
    cluster.trust(store)
    project.mode = mode
    go = prepared(project)
    following = project.start(*SUBMIT, "--prepare", "train.py", "x y")
    line = begun(following)
    for node in ("head", *NODES):
        cluster.run(node, f"touch {go}")
    out, err = following.communicate(timeout=2 * PATIENCE)
    assert (following.returncode, line[:5]) == (1, b"begun"), err
    assert out.startswith(PRINTED), out
    assert b"is not trusted" not in err, err
    (run_id,) = project.run_ids()
    record = project.record(run_id)
    assert (record["exit_code"], record["metrics"]) == (7, {"loss": 1}), err
    assert record["application"]["state"] == "FINISHED"
    assert cluster.listed(f"{HOME}/.amlexec/runs") == []


def test_a_run_where_nobody_trusts_it(project: YarnProject, cluster: HttpsCluster) -> None:
    """It has its results, since these don't need HTTPS; that nobody can be asked is said once."""
    cluster.trust("")
    go = prepared(project)
    for node in NODES:
        cluster.run(node, f"touch {go}")
    code, out, err = project.submitted("--prepare", "train.py", "x y")
    assert code == 1, err
    assert PRINTED in out, out
    told = re.findall(rf"YARN does not tell .*: {_UNTRUSTED.format('head:8090')}", err.decode())
    assert len(told) == 1, err
    (run_id,) = project.run_ids()
    assert project.record(run_id)["exit_code"] == 7, err


def test_a_cancel_where_nobody_trusts_it(project: YarnProject, cluster: HttpsCluster) -> None:
    cluster.trust("")
    project.settings(spark_yarn_queue="narrow")
    project.write("train.py", "")
    done = project.submit("--async", "--prepare", "train.py")
    assert done.code == 0, done.err
    tag = tag_of(project, done.run_id)

    def states() -> list[str]:
        return [one["state"] for one in cluster.applications(tag)]

    seldom(lambda: states() == ["ACCEPTED"], "YARN has it")
    canceled = project.amlexec("experiment", "cancel", "-r", done.run_id)
    assert canceled.code == 0, canceled.err
    seldom(lambda: states() == ["KILLED"], "it is killed")

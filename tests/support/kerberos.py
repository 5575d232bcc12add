"""A YARN cluster with Kerberos: its server, HDFS and YARN on one machine, which is the head node, too.

What it has not, as Hadoop's tests: privileged ports or encryption for the blocks, and a setuid program that
starts the containers. See `ignore.secure.ports.for.testing`, and DefaultContainerExecutor.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.conftest import PATIENCE
from tests.engines import kerberos
from tests.engines.fixtures import need
from tests.engines.ssh_host import QUIET
from tests.support.yarn import _SITES, YarnCluster, yarn_cluster, yarn_project_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from amlexec.docker.client import Engine
    from tests.engines.spark import Installed
    from tests.support.hosts import Client
    from tests.support.places import Shop
    from tests.support.yarn import YarnProject

__all__ = ["REALM", "SecureCluster", "secure", "secure_of_module", "secure_project"]

REALM = "EXAMPLE.ORG"
_KEYS = "/etc/keys"
_PASSWORD = "secret"
_KRB5 = f"""\
[libdefaults]
default_realm = {REALM}
rdns = false
dns_canonicalize_hostname = false
[realms]
{REALM} = {{
  kdc = head:88
}}
"""
_KDC = f"""\
[realms]
{REALM} = {{
  max_life = 10h
}}
"""
_MADE = f"""\
set -e
cat >/etc/krb5.conf <<'END'
{_KRB5}END
cat >/etc/krb5kdc/kdc.conf <<'END'
{_KDC}END
kdb5_util create -s -P {_PASSWORD} >/dev/null
for one in hdfs/head yarn/head HTTP/head; do
  printf 'addprinc -randkey %s\\nktadd -k {_KEYS} %s\\n' $one $one
done | kadmin.local >/dev/null
echo 'addprinc -pw {_PASSWORD} {QUIET}' | kadmin.local >/dev/null
cp /usr/bin/curl /root/curl
krb5kdc
kinit -k -t {_KEYS} yarn/head
"""
_CALMED = """\
for one in /proc/$(cat /tmp/resourcemanager.pid)/task/*; do
  case $(cat $one/comm) in DelegationToken*) chrt -i -p 0 ${one##*/} ;; esac
done
"""
"""A thread of the ResourceManager of Hadoop 3.3 never waits, with Kerberos: it gets what is left over."""


def _of(service: str, *keys: str) -> dict[str, str]:
    """The settings with a principal and the file of its key, by the beginnings of their names."""
    made = {}
    for key in keys:
        principal, _, keytab = key.partition("|")
        made |= {principal: f"{service}/head@{REALM}", keytab: _KEYS}
    return made


_SECURE = {
    "core-site": {
        "hadoop.security.authentication": "kerberos",
        "hadoop.http.filter.initializers": "org.apache.hadoop.security.AuthenticationFilterInitializer",
        "hadoop.http.authentication.type": "kerberos",
        **_of(
            "HTTP",
            "hadoop.http.authentication.kerberos.principal|hadoop.http.authentication.kerberos.keytab",
        ),
    },
    "hdfs-site": {
        "dfs.block.access.token.enable": "true",
        "ignore.secure.ports.for.testing": "true",
        # Home folders are made by their users.
        "dfs.permissions.enabled": "false",
        **_of(
            "hdfs",
            "dfs.namenode.kerberos.principal|dfs.namenode.keytab.file",
            "dfs.datanode.kerberos.principal|dfs.datanode.keytab.file",
        ),
        **_of("HTTP", "dfs.web.authentication.kerberos.principal|dfs.web.authentication.kerberos.keytab"),
    },
    "yarn-site": {
        **_of(
            "yarn",
            "yarn.resourcemanager.principal|yarn.resourcemanager.keytab",
            "yarn.nodemanager.principal|yarn.nodemanager.keytab",
        ),
        **_of(
            "HTTP",
            "yarn.resourcemanager.webapp.spnego-principal|yarn.resourcemanager.webapp.spnego-keytab-file",
            "yarn.nodemanager.webapp.spnego-principal|yarn.nodemanager.webapp.spnego-keytab-file",
        ),
    },
}


class SecureCluster(YarnCluster):
    """That machine."""

    image = kerberos.REFERENCE
    nodes: ClassVar[tuple[str, ...]] = ()
    sites: ClassVar[dict[str, dict[str, str]]] = {
        name: {**found, **_SECURE.get(name, {})} for name, found in _SITES.items()
    }

    def _begin(self) -> None:
        self.run("head", _MADE)
        self.daemon("head", "resourcemanager", "nodemanager")
        self.format()
        self.daemon("head", "namenode", "datanode")
        self.until_nodes(1)
        self.run("head", _CALMED)
        until = time.monotonic() + 2 * PATIENCE
        while not self._has_data_node():
            assert time.monotonic() < until, self.run("head", "tail -n 8 /tmp/namenode.log /tmp/datanode.log")
            time.sleep(0.5)

    def _has_data_node(self) -> bool:
        asked = "http://head:9870/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState"
        try:
            return any(one["NumLiveDataNodes"] == 1 for one in json.loads(self._got(asked))["beans"])
        except (ValueError, KeyError):
            return False  # it is starting

    def rest(self, path: str) -> Any:
        """See `YarnCluster.rest`."""
        return json.loads(self._got(f"http://head:8088/ws/v1/cluster/{path}"))

    def _got(self, address: str) -> str:
        return self.run("head", f"/root/curl -s --negotiate -u : '{address}' || :")

    def kinit(self, life: str = "1h") -> None:
        """Get a ticket for the user who logs in."""
        self.run("head", f"echo {_PASSWORD} | kinit -l {life} {QUIET}", user=QUIET)

    def kdestroy(self) -> None:
        """Take it away."""
        self.run("head", "kdestroy -q || :", user=QUIET)


@pytest.fixture(scope="module")
def secure_of_module(
    machines: Engine, hadoop_parts: Installed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[YarnCluster]:
    """One cluster for a file of tests; take `secure`."""
    need("kerberos", f"the image {kerberos.REFERENCE}", kerberos.is_there)
    with yarn_cluster(machines, hadoop_parts, tmp_path_factory.mktemp("secure"), SecureCluster) as found:
        yield found


@pytest.fixture
def secure(secure_of_module: SecureCluster, client: Client) -> Iterator[SecureCluster]:
    """A cluster that runs; without a ticket."""
    client.lets_in(secure_of_module)
    yield secure_of_module
    secure_of_module.kdestroy()


@pytest.fixture
def secure_project(secure: SecureCluster, shop: Shop, tmp_path: Path) -> YarnProject:
    """A project that runs on that cluster, with a Python that the user manages."""
    return yarn_project_on(secure, shop, tmp_path)

"""The engines that the suite can be run against, and how each is started on a machine of the tests.

AMLEXEC_TEST_ENGINE names one. Without it, the suite is run against this machine's own engine, and the other
machines of the tests have Docker 20.10.
"""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

from .tools import MissingError

__all__ = ["KINDS", "PLAIN_PORTS", "USUAL", "Kind", "chosen"]

VARIABLE = "AMLEXEC_TEST_ENGINE"
PLAIN_PORTS = range(45000, 45040)
"""Ports of the loopback where Podman takes a registry without a certificate; Docker does so on all."""

_DOCKER = """\
{network}
rm -f /run/engine.docker.pid /var/run/docker/containerd/containerd.pid
exec {alone}dockerd --host=unix://{socket} --group={group} --pidfile=/run/engine.docker.pid \\
  --bridge={bridge} --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \\
  --shutdown-timeout=5 --cgroup-parent=/{name} --exec-opt=native.cgroupdriver=cgroupfs {options}
"""
_BRIDGE = """\
ip link show {bridge} >/dev/null 2>&1 || {{
  ip link add name {bridge} type bridge
  ip addr add {address} dev {bridge}
  ip link set {bridge} up
}}
"""
# crun wants control groups of version 2. A service that is started by hand has no journal to write to.
_PODMAN = """\
runtime=crun
[ -e /sys/fs/cgroup/cgroup.controllers ] || runtime=runc
mkdir -p /etc/containers
cat >/etc/containers/containers.conf <<END
[engine]
runtime = "$runtime"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
firewall_driver = "none"
default_subnet = "{address}"
END
for port in $(seq {first} {last}); do
  printf '[[registry]]\\nlocation = "127.0.0.1:%s"\\ninsecure = true\\n' "$port"
done >/etc/containers/registries.conf
mkdir -p "$(dirname {socket})"
rm -f {socket}
"""
_ROOTFUL = """\
(
  until [ -S {socket} ]; do sleep 0.05; done
  chgrp {group} {socket}
  chmod 660 {socket}
) &
exec {alone}podman system service --time=0 unix://{socket}
"""
_ROOTLESS = """\
user=$(getent passwd {uid} | cut -d: -f1)
[ -n "$user" ] || {{ user=runner; useradd --create-home --uid {uid} $user; }}
home=$(getent passwd {uid} | cut -d: -f6)
grep -q "^$user:" /etc/subuid || echo "$user:100000:65536" | tee -a /etc/subuid >>/etc/subgid
mkdir -p /run/user/{uid} $home/.local/share
[ -e $home/.local/share/containers ] || ln -s {data} $home/.local/share/containers
# For everybody, as udev makes them: without the former, no container has a network of its own.
for device in /dev/net/tun /dev/fuse; do [ ! -e $device ] || chmod 666 $device; done
chown {uid} /run/user/{uid} {data} "$(dirname {socket})"
chown -R {uid} $home/.local
cd /
exec setpriv --reuid={uid} --regid="$(id -g $user)" --clear-groups \\
  env -i HOME=$home USER=$user PATH="$PATH" XDG_RUNTIME_DIR=/run/user/{uid} \\
  podman system service --time=0 unix://{socket}
"""


class Kind(NamedTuple):
    """An engine of Debian's."""

    name: str
    what: str
    suite: str
    packages: tuple[str, ...]
    data: str
    """The folder that must not be in a layered file system."""
    is_podman: bool = False
    is_rootless: bool = False

    @property
    def survives(self) -> bool:
        """Whether containers go on when the engine ends: it only starts them."""
        return self.is_podman

    def bridge(self, name: str) -> str:
        """The bridge in this machine's network that the engine of a machine of that name has."""
        return f"axt{_number(name)}"

    def script(
        self,
        socket: str,
        name: str,
        *options: str,
        alone: bool = False,
        group: str = "docker",
        uid: int = 0,
    ) -> str:
        """A script for `sh` that becomes the engine; `name` is the machine's.

        With `alone`, it is in a network name space of its own, and its containers have no network, but for a
        rootless one, which is the user `uid`'s.
        """
        number = _number(name)
        told = {
            "socket": socket,
            "name": name,
            "group": group,
            "uid": uid,
            "data": self.data,
            "options": " ".join(options),
            "bridge": "none" if alone else self.bridge(name),
            "address": f"198.18.{number}.{'0' if self.is_podman else '1'}/24",
            "alone": "unshare --net " if alone else "",
            "first": PLAIN_PORTS[0],
            "last": PLAIN_PORTS[-1],
        }
        if not self.is_podman:
            # An engine without a bridge removes the one that another engine in the same network has.
            told["network"] = "" if alone else _BRIDGE.format(**told)
            return _DOCKER.format(**told)
        return (_PODMAN + (_ROOTLESS if self.is_rootless else _ROOTFUL)).format(**told)


def _number(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[0]


_DOCKER_DATA, _PODMAN_DATA = "/var/lib/docker", "/var/lib/containers"
_PODMAN_PACKAGES = (
    "podman",
    *("catatonit", "crun", "fuse-overlayfs", "iproute2", "netavark", "nftables", "passt", "runc", "uidmap"),
)
KINDS = {
    kind.name: kind
    for kind in (
        Kind("20.10", "Docker 20.10", "bookworm", ("docker.io", "iproute2", "iptables"), _DOCKER_DATA),
        Kind("26.1", "Docker 26.1", "trixie", ("docker.io", "iproute2", "iptables"), _DOCKER_DATA),
        Kind("podman", "Podman 5.4", "trixie", _PODMAN_PACKAGES, _PODMAN_DATA, is_podman=True),
        Kind(
            "podman-rootless",
            "Podman 5.4 without root",
            "trixie",
            _PODMAN_PACKAGES,
            _PODMAN_DATA,
            is_podman=True,
            is_rootless=True,
        ),
    )
}
USUAL = KINDS["20.10"]


def chosen() -> Kind | None:
    """The engine that AMLEXEC_TEST_ENGINE names; None for this machine's own. Raises MissingError."""
    name = os.environ.get(VARIABLE, "")
    if name and name not in KINDS:
        raise MissingError(f"{VARIABLE}={name}: there is {', '.join(KINDS)}")
    return KINDS.get(name)

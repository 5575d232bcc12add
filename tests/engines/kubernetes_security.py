"""The Pod Security Standard `restricted`, as Kubernetes publishes it, for what Pods of the tests have."""

from __future__ import annotations

from typing import Any

__all__ = ["refusal"]

_VOLUMES = frozenset(
    {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"),
        "secret",
    }
)
_PROFILES = frozenset({"RuntimeDefault", "Localhost"})


def refusal(pod: dict[str, Any]) -> str:
    """What is against it in the specification of a Pod; "" if nothing is."""
    found = []
    of_pod = pod.get("securityContext", {})
    found += [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    for volume in pod.get("volumes", ()):
        (kind,) = volume.keys() - {"name"}
        if kind not in _VOLUMES:
            found.append(f'restricted volume types (volume "{volume["name"]}" uses {kind})')
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        own = container.get("securityContext", {})
        name = f'container "{container["name"]}" must set securityContext.'
        capabilities = own.get("capabilities", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            found.append(f"allowPrivilegeEscalation != false ({name}allowPrivilegeEscalation=false)")
        if "ALL" not in capabilities.get("drop", ()) or {*capabilities.get("add", ())} - {"NET_BIND_SERVICE"}:
            found.append(f'unrestricted capabilities ({name}capabilities.drop=["ALL"])')
        if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
            found.append(f"runAsNonRoot != true ({name}runAsNonRoot=true)")
        if 0 in (own.get("runAsUser"), of_pod.get("runAsUser")):
            found.append("runAsUser=0")
        profile = own.get("seccompProfile", of_pod.get("seccompProfile", {})).get("type")
        if profile not in _PROFILES:
            found.append(f'seccompProfile ({name}seccompProfile.type to "RuntimeDefault")')
    return ", ".join(dict.fromkeys(found))

"""Applications of YARN, and the logs of their containers, by the REST interfaces of its daemons.

https://hadoop.apache.org/docs/stable/hadoop-yarn/hadoop-yarn-site/ResourceManagerRest.html
"""

import json
import re
import urllib.parse

import hadoop_site
from hadoop_site import HadoopError

FINAL = ("FINISHED", "FAILED", "KILLED")
_KEPT = ("id", "state", "finalStatus", "diagnostics", "trackingUrl", "queue", "amContainerLogs", "user")
_LOG_BYTES = 1 << 16
_MOST_LEFT_OUT = 60
FAILURES = 5
"""Of a node in a row to read a log, before it is asked less often."""


def resource_managers(found):
    """The addresses of the ResourceManagers' web interfaces."""
    is_https = hadoop_site.value(found, "yarn.http.policy").upper() == "HTTPS_ONLY"
    scheme, key, port = (
        ("https", "webapp.https.address", 8090) if is_https else ("http", "webapp.address", 8088)
    )
    is_pair = hadoop_site.value(found, "yarn.resourcemanager.ha.enabled").lower() == "true"
    ids = hadoop_site.value(found, "yarn.resourcemanager.ha.rm-ids") if is_pair else ""
    addresses = []
    for suffix in ["." + one.strip() for one in ids.split(",") if one.strip()] or [""]:
        address = hadoop_site.value(found, "yarn.resourcemanager.%s%s" % (key, suffix))
        host = hadoop_site.value(found, "yarn.resourcemanager.hostname" + suffix)
        if not address and host:
            address = "%s:%d" % (host, port)
        if address:
            addresses.append("%s://%s" % (scheme, address))
    return addresses


class Yarn:
    """The ResourceManager that answers."""

    def __init__(self, addresses):
        """No I/O."""
        self.addresses, self.is_silent = addresses, False

    def _asked(self, method, path, body=None):
        """The value of an answer; None if no ResourceManager answers with JSON. Raises HadoopError."""
        headers = [("Accept", "application/json"), ("Content-Type", "application/json")]
        self.is_silent, refused = True, None
        for address in list(self.addresses):
            try:
                found = hadoop_site.request(method, address + "/ws/v1/cluster/" + path, body, headers)
                answer = hadoop_site.parsed(*found)
            except HadoopError as error:
                if error.kind != hadoop_site.UNTRUSTED:
                    raise
                refused = error
                continue
            except (OSError, ValueError):
                continue  # it is down, or stands by
            hadoop_site.prefer(self.addresses, address)
            self.is_silent = False
            return answer
        if refused:
            raise refused
        return None

    def application(self, identity):
        """What is known of an application; {} if nobody answers.

        Raises HadoopError if it is unknown, or if nobody can be asked: of a kind in CLOSED.
        """
        try:
            answer = self._asked("GET", "apps/" + identity) or {}
        except HadoopError as error:
            if error.kind == "NotFoundException" or error.kind in hadoop_site.CLOSED:
                raise
            return {}
        return _application(answer.get("app", answer))

    def tagged(self, tag):
        """The application with this tag; {} if there is none yet. YARN's tags are lower case.

        `is_silent` tells afterwards whether nobody has answered. Raises HadoopError if nobody can be asked.
        """
        query = urllib.parse.urlencode([("applicationTags", tag)])
        try:
            answer = self._asked("GET", "apps?" + query) or {}
        except HadoopError as error:
            if error.kind in hadoop_site.CLOSED:
                raise
            return {}
        # Some versions leave out the outermost name.
        found = answer.get("apps") or []
        for one in found.get("app") or [] if isinstance(found, dict) else found:
            if isinstance(one, dict) and tag in str(one.get("applicationTags", "")).split(","):
                return _application(one)
        return {}

    def free(self):
        """The number of nodes, and the MB and the cores that are free; None if no ResourceManager answers."""
        answer = self._asked("GET", "metrics")
        found = answer.get("clusterMetrics", answer) if isinstance(answer, dict) else {}
        names = ("activeNodes", "availableMB", "availableVirtualCores")
        return tuple(int(found.get(name, 0)) for name in names) if found else None

    def queues(self):
        """The names of the queues that take applications; none if the scheduler does not tell."""
        answer = self._asked("GET", "scheduler") or {}
        found, waiting = [], [(answer.get("scheduler") or {}).get("schedulerInfo") or {}]
        while waiting:
            queue = waiting.pop()
            for part in (queue.get("queues"), queue.get("childQueues"), queue.get("rootQueue")):
                inner = part.get("queue", []) if isinstance(part, dict) and "queue" in part else part or []
                waiting += [one for one in (inner if isinstance(inner, list) else [inner]) if one]
            if "queueName" in queue and not queue.get("queues") and not queue.get("childQueues"):
                found.append(str(queue["queueName"]))
        return sorted(set(found))

    def kill(self, identity):
        """Whether the ResourceManager takes the request."""
        path = "apps/%s/state?%s" % (identity, urllib.parse.urlencode([("user.name", hadoop_site.user())]))
        try:
            return self._asked("PUT", path, json.dumps({"state": "KILLED"}).encode("ascii")) is not None
        except HadoopError:
            return False


def _application(found):
    if not isinstance(found, dict) or not re.match(r"application_\d+_\d+$", str(found.get("id", ""))):
        return {}
    made = {key: str(found.get(key) or "") for key in _KEPT}
    asked = found.get("resourceRequests")
    if isinstance(asked, dict):
        asked = [asked]
    made["waiting"] = _waiting(asked if isinstance(asked, list) else [])
    return made


def _waiting(requests):
    """The cores and memory that an application waits for, as text."""
    cores = memory = 0
    for one in requests:
        capability = one.get("capability") if isinstance(one, dict) else None
        if not isinstance(capability, dict) or one.get("resourceName", "*") != "*":
            continue
        try:
            count = int(one.get("numContainers", 0))
            cores += count * int(capability.get("vCores", 0))
            memory += count * int(capability.get("memory", capability.get("memorySize", 0)))
        except (TypeError, ValueError):
            continue
    return "%d vcores and %d MB" % (cores, memory) if memory else ""


class Log:
    """A log of a container, which is read from where the last reading ended."""

    def __init__(self, name):
        """`name` is `stdout` or `stderr`."""
        self.name, self.position = name, 0
        self.failures = self.pause = 0
        """How often in a row the node has failed to read it, and how many readings to leave out for that."""
        self.why = ""
        """Why it can't be asked at all."""

    def new(self, address, container):
        """The bytes that have been added; b"" if there are none, or the node does not answer."""
        window = _LOG_BYTES
        if self.pause:
            self.pause -= 1
            return b""
        for _ in range(4):
            url = "%s/ws/v1/node/containerlogs/%s/%s?size=-%d" % (address, container, self.name, window)
            try:
                status, body = hadoop_site.request("GET", url, headers=[("Accept", "text/plain")])
            except OSError:
                return b""
            except HadoopError as error:
                status, body, self.why = 599, b"", str(error)
                self.failures = max(self.failures, FAILURES - 1)
            self.failures = self.failures + 1 if status >= 500 else 0
            if self.failures >= FAILURES:
                # The node's own log has a page of text for each.
                self.pause = min(2 ** min(self.failures - FAILURES + 1, 9), _MOST_LEFT_OUT)
            found = parsed_log(body, window) if status == 200 else None
            if found is None:
                return b""
            size, data = found
            missing = size - self.position
            if missing <= len(data):
                self.position = max(size, self.position)
                return data[len(data) - missing :] if missing > 0 else b""
            window = missing + _LOG_BYTES
        return b""


def parsed_log(body, window):
    """The size of a log and its last bytes, at most `window`, from a NodeManager's answer; None if not.

    Before and after the bytes there are lines of YARN's own, and at the end there may be other logs.
    """
    start = re.search(rb"(?:^|\n)LogLength: ?(\d+)\n(?:[^\n]*\n)*?LogContents:\n", body)
    if start is None:
        return None
    size = int(start.group(1))
    length = min(size, window)
    data = body[start.end() : start.end() + length]
    return (size, data) if len(data) == length else None


def container_of(application):
    """The address of the node with the driver, and the driver's container; ("", "") if there is none."""
    match = re.match(
        r"(https?://[^/]+)/node/containerlogs/(container_\w+)/", application.get("amContainerLogs", "")
    )
    return match.groups() if match else ("", "")

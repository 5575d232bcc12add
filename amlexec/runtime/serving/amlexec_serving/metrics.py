"""Counters of the server, in Prometheus' text format, and the latencies of the last requests."""

from __future__ import annotations

import bisect
import collections
import time
from typing import Any, Callable, Iterator, Mapping, Sequence

from .protocols import INFER, INVOCATIONS

__all__ = ["Metrics", "text"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECENT = 1000
_SCORED = {"/score", INVOCATIONS, INFER}


class Metrics:
    """Counters; all changes happen on the server's loop."""

    def __init__(self, name: str, models: str, replica: str = "") -> None:
        """`replica` is its name beside the others of its service."""
        self._replica = replica
        self._labels = {"service": name, "models": models}
        self.began = time.time()
        self.answers: dict[tuple[str, int], int] = {}
        """Number of answers by route and status."""
        self._buckets = [0] * (len(_BUCKETS) + 1)
        self._seconds = 0.0
        self._recent: collections.deque[float] = collections.deque(maxlen=_RECENT)
        self.in_flight = 0
        self.not_logged = 0

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        key = (route, status)
        self.answers[key] = self.answers.get(key, 0) + 1
        if route not in _SCORED:
            return
        self._buckets[bisect.bisect_left(_BUCKETS, seconds)] += 1
        self._seconds += seconds
        self._recent.append(seconds)

    def latencies(self) -> Mapping[str, float]:
        """Quantiles of the last requests' latencies, in milliseconds."""
        found = sorted(self._recent)
        if not found:
            return {}
        return {
            name: round(1000 * found[min(len(found) - 1, int(share * len(found)))], 3)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        }

    def counters(self, *, ready: bool, waiting: int) -> dict[str, Any]:
        """All of it as JSON, for `text` of any replica."""
        return {
            "replica": self._replica,
            "info": self._labels,
            "answers": [[route, status, count] for (route, status), count in sorted(self.answers.items())],
            "buckets": self._buckets,
            "seconds": self._seconds,
            "gauges": {
                "ready": int(ready),
                "requests_in_flight": self.in_flight,
                "requests_waiting": waiting,
                "start_time_seconds": self.began,
            },
            "not_logged": self.not_logged,
        }


def text(replicas: Sequence[Any]) -> str:
    """The counters of replicas as Prometheus reads them; each is named if the service has several."""
    lines: list[str] = []

    def family(
        name: str, kind: str, rows: Callable[[Any], Iterator[tuple[str, Mapping[str, str], float]]]
    ) -> None:
        lines.append("# TYPE amlexec_service_{} {}".format(name, kind))
        for one in replicas:
            own = {"replica": one["replica"]} if one["replica"] else {}
            for end, labels, value in rows(one):
                lines.append(_line("amlexec_service_{}{}".format(name, end), {**own, **labels}, value))

    family("info", "gauge", lambda one: iter([("", one["info"], 1)]))
    family(
        "requests_total",
        "counter",
        lambda one: (
            ("", {"route": route, "status": str(status)}, count) for route, status, count in one["answers"]
        ),
    )
    family("request_seconds", "histogram", _histogram)
    for name in ("ready", "requests_in_flight", "requests_waiting", "start_time_seconds"):
        family(name, "gauge", lambda one, name=name: iter([("", {}, one["gauges"][name])]))  # type: ignore[misc]
    family("requests_not_logged_total", "counter", lambda one: iter([("", {}, one["not_logged"])]))
    return "\n".join(lines) + "\n"


def _histogram(one: Any) -> Iterator[tuple[str, Mapping[str, str], float]]:
    total = 0
    for bound, count in zip((*map(str, _BUCKETS), "+Inf"), one["buckets"]):
        total += count
        yield "_bucket", {"le": bound}, total
    yield "_sum", {}, one["seconds"]
    yield "_count", {}, total


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join('{}="{}"'.format(key, _escaped(text)) for key, text in labels.items())
    return "{}{} {!r}".format(name, "{%s}" % inside if inside else "", value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

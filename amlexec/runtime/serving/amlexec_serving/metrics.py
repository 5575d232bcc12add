"""Counters of the server, in Prometheus' text format, and the latencies of the last requests."""

from __future__ import annotations

import bisect
import collections
import time
from typing import Mapping

__all__ = ["Metrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RECENT = 1000


class Metrics:
    """Counters; all changes happen on the server's loop."""

    def __init__(self, name: str, models: str) -> None:
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
        if route != "/score":
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

    def text(self, *, ready: bool, waiting: int) -> str:
        """All of it as Prometheus reads it."""
        lines = ["# TYPE amlexec_service_info gauge", _line("amlexec_service_info", self._labels, 1)]
        lines.append("# TYPE amlexec_service_requests_total counter")
        for (route, status), count in sorted(self.answers.items()):
            labels = {"route": route, "status": str(status)}
            lines.append(_line("amlexec_service_requests_total", labels, count))
        lines.append("# TYPE amlexec_service_request_seconds histogram")
        total = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self._buckets):
            total += count
            lines.append(_line("amlexec_service_request_seconds_bucket", {"le": bound}, total))
        lines.append(_line("amlexec_service_request_seconds_sum", {}, self._seconds))
        lines.append(_line("amlexec_service_request_seconds_count", {}, total))
        gauges = {
            "ready": int(ready),
            "requests_in_flight": self.in_flight,
            "requests_waiting": waiting,
            "start_time_seconds": self.began,
        }
        for name, value in gauges.items():
            lines += [
                "# TYPE amlexec_service_{} gauge".format(name),
                _line("amlexec_service_" + name, {}, value),
            ]
        lines.append("# TYPE amlexec_service_requests_not_logged_total counter")
        lines.append(_line("amlexec_service_requests_not_logged_total", {}, self.not_logged))
        return "\n".join(lines) + "\n"


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join('{}="{}"'.format(key, _escaped(text)) for key, text in labels.items())
    return "{}{} {!r}".format(name, "{%s}" % inside if inside else "", value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""Numbers about this process in the Prometheus text format.

What it is for: one registry per app; `HttpMeter` counts requests by route template, method and status class.
What it is not: the library's global registry, which two apps in one process would share.
Invariant: the number of series is bounded by the routes of the app: what matched no route counts as `unmatched`,
a made-up method as `other`. Everything runs on the event loop's thread; the meter takes no lock.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shared.errors import Failure

METRICS_MEDIA = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMeter(Collector):
    """Requests and seconds until the answer starts. `observe` costs under a microsecond."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, int], list[float]] = {}

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """`route` is the template ("/bookings/{id}"), never the path."""
        key = (route, method, status // 100)
        series = self._series.get(key)
        if series is None:
            if method not in METHODS:
                key = (route, "other", status // 100)
            series = self._series.setdefault(key, [0.0] * (len(LATENCY_BOUNDS_S) + 2))
        series[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        series[-1] += seconds

    def collect(self) -> Iterator[Metric]:
        labels = ["route", "method", "status"]
        total = CounterMetricFamily("http_requests", "Requests answered.", labels=labels)
        took = HistogramMetricFamily("http_request_seconds", "Seconds until the answer starts.", labels=labels)
        for (route, method, status), series in self._series.items():
            values = [route, method, f"{status}xx"]
            buckets, running = [], 0.0
            for bound, count in zip((*map(str, LATENCY_BOUNDS_S), "+Inf"), series, strict=False):
                running += count
                buckets.append((bound, running))
            total.add_metric(values, running)
            took.add_metric(values, buckets, sum_value=series[-1])
        yield total
        yield took


class WatchedGauge(Gauge):
    """A gauge whose function may fail, as one that reads the books does when their disk fails: then it is NaN, and the others are told."""

    def set_function(self, f: Callable[[], float]) -> None:
        def value() -> float:
            try:
                return f()
            except Failure:
                return nan

        super().set_function(value)


class Metrics:
    """One app's registry. Names get the app's prefix: `Metrics("hub").counter("sales", …)` is `hub_sales_total`."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.registry = CollectorRegistry()
        self.http = HttpMeter()
        self.registry.register(self.http)
        ProcessCollector(registry=self.registry)

    def counter(self, name: str, about: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(f"{self._prefix}_{name}", about, labels, registry=self.registry)

    def gauge(self, name: str, about: str, labels: Sequence[str] = ()) -> Gauge:
        return WatchedGauge(f"{self._prefix}_{name}", about, labels, registry=self.registry)

    def render(self) -> bytes:
        """The whole registry as text, for the `/metrics` handler (`METRICS_MEDIA`)."""
        return generate_latest(self.registry)

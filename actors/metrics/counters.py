"""The figures that grow while the host runs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client import Counter, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase

from actors.delivery import Delivered
from actors.figures import RECOVERY_BOUNDS, Durations
from actors.session.stats import Stats
from supervisor.otp import Notice

LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 1800, 3600, 21600, 86400)
REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper bounds in seconds."""

PATHS = 5000
"""Actors whose restarts are kept; beyond it the one that was restarted longest ago is dropped."""

RESULTS = {"delivered": "delivered", "failed": "failed", "pending": "retried"}
"""What became of an attempt, by the status that it left the delivery in."""


class Metrics:
    """One for each host: older than its tree, so that no restart of a part makes a counter fall.

    Its methods may be called from any thread, and never block.
    """

    def __init__(self) -> None:
        self._stats: dict[str, Stats] = {}
        self._of_deleted = Durations()
        self._restarts: dict[str, int] = {}
        self._deliveries = Counter(
            "zapvisor_webhook_deliveries",
            "Attempts to deliver an event: delivered, failed for good, or to be retried.",
            ["result"],
            registry=None,
        )
        for result in RESULTS.values():
            self._deliveries.labels(result)
        self._lag = Histogram(
            "zapvisor_webhook_lag_seconds",
            "From the commit of an event to its delivery.",
            buckets=LAG_BUCKETS,
            registry=None,
        )
        self._requests = Histogram(
            "zapvisor_api_request_seconds",
            "From a request to the control API to its answer.",
            buckets=REQUEST_BUCKETS,
            registry=None,
        )

    def stats(self, instance: str) -> Stats:
        """The counters of an instance, for its session to keep."""
        return self._stats.setdefault(instance, Stats())

    def forget(self, instance: str) -> None:
        """An instance is deleted: its series end. What it added to a total stays. Called by the roster alone."""
        stats = self._stats.pop(instance, None)
        if stats is not None:
            self._of_deleted.absorb(stats.durations)
        places = f"instances/{instance}", f"chatwoot/notifiers/{instance}"
        for path in list(self._restarts):
            if any(path == place or path.startswith(f"{place}/") for place in places):
                self._restarts.pop(path, None)

    def noticed(self, notice: Notice) -> None:
        """Count the restart of an actor; for `System.subscribe`, where each actor has one thread that tells."""
        if notice.restart:
            self._restarts[notice.path] = self._restarts.pop(notice.path, 0) + 1
            if len(self._restarts) > PATHS:
                self._restarts.pop(next(iter(self._restarts)), None)

    def delivered(self, delivered: Delivered) -> None:
        """Count an attempt at a delivery; for `Delivery(observe=…)`."""
        self._deliveries.labels(RESULTS[delivered.status]).inc()
        if delivered.status == "delivered":
            self._lag.observe(max(0.0, delivered.lag))

    def answered(self, seconds: float) -> None:
        """Count a request to the API."""
        self._requests.observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Everything, as it is now (the protocol of prometheus_client)."""
        yield from self._of_instances()
        yield _of_paths(list(self._restarts.items()))
        yield self._recovery()
        for metric in (self._deliveries, self._lag, self._requests):
            yield from _without_created(metric)

    def _of_instances(self) -> Iterable[Metric]:
        disconnections = CounterMetricFamily(
            "zapvisor_disconnections", "Lost connections.", labels=["instance", "code", "action"]
        )
        recoveries = CounterMetricFamily(
            "zapvisor_recoveries",
            "Attempts to bring a lost connection back, by what was tried and whether it did.",
            labels=["instance", "strategy", "result"],
        )
        codes = CounterMetricFamily("zapvisor_qr_codes", "QR codes shown.", labels=["instance"])
        for instance, stats in list(self._stats.items()):
            figures = stats.figures()
            for (code, action), count in figures.by_code_and_action.items():
                disconnections.add_metric([instance, str(code), action], count)
            for (strategy, result), count in figures.by_strategy_and_result.items():
                recoveries.add_metric([instance, strategy, result], count)
            codes.add_metric([instance], figures.qr_codes)
        yield from (disconnections, recoveries, codes)

    def _recovery(self) -> Metric:
        family = HistogramMetricFamily(
            "zapvisor_recovery_seconds", "From the loss of a connection to the next open one."
        )
        every = Durations()
        for durations in [self._of_deleted, *(stats.durations for stats in list(self._stats.values()))]:
            every.absorb(durations)
        bounds = [*(str(float(bound)) for bound in RECOVERY_BOUNDS), "+Inf"]
        family.add_metric([], list(zip(bounds, accumulate(every.counts), strict=True)), every.total)
        return family


def _of_paths(restarts: Iterable[tuple[str, int]]) -> Metric:
    family = CounterMetricFamily(
        "zapvisor_actor_restarts", "Restarts of an actor by its supervisor.", labels=["path"]
    )
    for path, count in restarts:
        family.add_metric([path], count)
    return family


def _without_created(metric: MetricWrapperBase) -> Iterable[Metric]:
    """Leave out the times at which series began: one more series for each, and nobody asks for them."""
    for family in metric.collect():
        family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        yield family

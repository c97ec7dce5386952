"""Gauges: what is true at the moment of a scrape, read off what others have published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric

from actors.views import InstanceView, Phase
from supervisor import __version__
from supervisor.otp import TreeNode


@dataclass(frozen=True, slots=True)
class Backlog:
    """The outbox.

    Attributes:
        pending: deliveries that wait.
        oldest: when the one that waits longest was committed, in seconds since the epoch; None when none waits.
    """

    pending: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a scrape is made of.

    Attributes:
        tree: the supervision tree.
        fenced: actors that were killed while busy and whose threads still run.
        unwritable: for how many seconds the database has not taken what is written; 0 while it does.
        backlog: None when the database could not be read in time; its gauges are then absent.
        now: seconds since the epoch.
        cleanups: how much is noted to be deleted; None as with the backlog.
    """

    views: Sequence[InstanceView]
    tree: TreeNode
    fenced: int
    backlog: Backlog | None
    now: float
    unwritable: float = 0.0
    cleanups: int | None = None

    def collect(self) -> Iterable[Metric]:
        """The gauges (the protocol of prometheus_client)."""
        yield _build_info()
        yield self._instances()
        yield self._memory()
        yield self._mailboxes()
        yield GaugeMetricFamily(
            "zapvisor_fenced_actors", "Actors killed while busy whose threads still run.", value=self.fenced
        )
        yield GaugeMetricFamily(
            "zapvisor_database_unwritable_seconds",
            "How long the database has not taken what is written; 0 while it does.",
            value=self.unwritable,
        )
        yield from self._outbox()
        if self.cleanups is not None:
            yield GaugeMetricFamily(
                "zapvisor_cleanups_pending",
                "Deletions of credentials and caches that are noted and not finished.",
                value=self.cleanups,
            )

    def _instances(self) -> Metric:
        family = GaugeMetricFamily("zapvisor_instances", "Instances by phase.", labels=["phase"])
        counts = Counter(view.phase for view in self.views)
        for phase in Phase:
            family.add_metric([str(phase)], counts[phase])
        return family

    def _memory(self) -> Metric:
        family = GaugeMetricFamily(
            "zapvisor_port_rss_bytes", "Resident memory of an instance's process.", labels=["instance"]
        )
        for view in self.views:
            if view.rss_bytes is not None:
                family.add_metric([view.name], view.rss_bytes)
        return family

    def _mailboxes(self) -> Metric:
        family = GaugeMetricFamily(
            "zapvisor_mailbox_length", "Messages that an actor has not taken yet.", labels=["path"]
        )
        for node in _running(self.tree):
            family.add_metric([node.path], node.mailbox)
        return family

    def _outbox(self) -> Iterable[Metric]:
        if self.backlog is None:
            return
        oldest = self.backlog.oldest
        waited = 0.0 if oldest is None else max(0.0, self.now - oldest)
        yield GaugeMetricFamily(
            "zapvisor_outbox_pending", "Deliveries that wait.", value=self.backlog.pending
        )
        yield GaugeMetricFamily(
            "zapvisor_outbox_oldest_seconds", "How long the oldest of them has waited.", value=waited
        )


def _running(node: TreeNode) -> Iterator[TreeNode]:
    if node.path and node.state == "running":
        yield node
    for child in node.children:
        yield from _running(child)


def _build_info() -> Metric:
    """Which zapvisor this is."""
    family = GaugeMetricFamily("zapvisor_build_info", "1, labelled with the version.", labels=["version"])
    family.add_metric([__version__], 1)
    return family

"""What Prometheus is told: counters that only grow, and gauges that are read off published snapshots at each scrape.

No actor is asked: a scrape answers while any part of the tree is busy, restarting or gone.
"""

from __future__ import annotations

from actors.metrics.counters import Metrics
from actors.metrics.exposition import SCRAPE_DEADLINE, exposition
from actors.metrics.snapshot import Backlog, Snapshot

__all__ = ["SCRAPE_DEADLINE", "Backlog", "Metrics", "Snapshot", "exposition"]

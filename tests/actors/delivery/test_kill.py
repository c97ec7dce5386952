"""A host that is killed at any moment delivers everything that it had committed."""

from __future__ import annotations

import random
from pathlib import Path

from tests.actors.delivery.kills import check, kill_again_and_again


def test_every_committed_event_arrives_in_order_through_kills(store_url: str, tmp_path: Path) -> None:
    """Invariant 13."""
    committed, receivers = kill_again_and_again(store_url, tmp_path, 4, random.randrange(10**6))
    counts = check(committed, receivers)
    assert counts["committed"] > 0

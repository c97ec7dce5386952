"""A day of history for an instance, so that its page has something to show."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from actors.store import HistoryEntry, Tx, history, open_backend

HOUR = 3600.0
LOSSES = (
    # Hours ago, code, name, cause, seconds it lasted, what brought it back.
    (21.5, 428, "connectionClosed", "closed", 0.41, "self"),
    (16.2, 408, "timedOut", "keepalive", 74.0, "reconnect"),
    (11.0, 503, "unavailable", "refused", 2700.0, "clear-cache"),
    (6.4, 428, "connectionClosed", "closed", 0.38, "self"),
    (1.3, 440, "connectionReplaced", "replaced", 6.2, "reconnect"),
)


def live_through(data_dir: Path, instance_id: str) -> None:
    """Write the day down, before a host is started on the directory."""
    database = open_backend("sqlite:///zapvisor.db", data_dir).writer()
    database.connect()
    now = time.time()
    opened = now - 30 * HOUR
    with database.atomic():
        tx = Tx(database, now)
        for ago, code, name, cause, seconds, strategy in LOSSES:
            lost = now - ago * HOUR
            what: dict[str, Any] = {"instance_id": instance_id, "code": code, "name": name, "cause": cause}
            history.append(
                tx,
                HistoryEntry(
                    kind="disconnection",
                    at=lost,
                    action="grace",
                    duration_s=lost - opened,
                    previous_phase="open",
                    **what,
                ),
            )
            opened = lost + seconds
            history.append(
                tx,
                HistoryEntry(
                    kind="recovery",
                    at=opened,
                    duration_s=seconds,
                    strategy=strategy,
                    result="success",
                    **what,
                ),
            )
    database.close()

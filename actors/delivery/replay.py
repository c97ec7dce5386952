"""Sending failed deliveries again, and following a webhook that was changed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from actors.events import own_target
from actors.store import Instance, StoreTimeout, Tx, deliveries, instances, write
from actors.store.outbox import Target
from supervisor.otp import System


def replay(
    system: System,
    *,
    event_ids: Sequence[str] | None = None,
    instance: str | None = None,
    instance_id: str | None = None,
    destination: str | None = None,
    timeout: float = 10.0,
) -> int:
    """Send failed deliveries again: those of some events, of an instance, to a destination, or all.

    It is done in chunks, each a unit of its own, and only with what there was when it began. They go behind what
    waits already, in their old order, with the event ids they had, and to where the instance's webhook points now.

    Args:
        event_ids: at most `MAX_EVENTS`.
        instance: of all instances that have, or had, this name.
        instance_id: of this one alone.
        destination: a URL, whole or as pages of deliveries show it.
        timeout: seconds for all of it.

    Returns:
        How many will be sent again.

    Raises:
        StoreUnavailable: the store is down or busy, or the time is up; the chunks before are replayed.
        ValueError: too many events; nothing is replayed.
    """
    deadline = time.monotonic() + timeout
    last: int | None = None
    total = 0

    def chunk(tx: Tx) -> tuple[int, int]:
        up_to = deliveries.newest(tx) if last is None else last
        moved = deliveries.replay(
            tx,
            event_ids=event_ids,
            instance=instance,
            instance_id=instance_id,
            destination=destination,
            up_to=up_to,
            retarget=_present_target,
        )
        return moved, up_to

    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise StoreTimeout(
                f"{total} deliveries were replayed within {timeout:g} s, and there may be more"
            )
        moved, last = write(system, chunk, left)
        total += moved
        if moved < deliveries.REPLAY_CHUNK:
            return total


def redirect(tx: Tx, instance: Instance) -> int:
    """After an instance's webhook was changed, in the same unit: what waits goes to the new place.

    Returns:
        How many deliveries were moved; with the webhook off they have failed, and can be replayed.
    """
    return deliveries.retarget_pending(tx, instance.id, own_target(instance.webhook))


def _present_target(tx: Tx, instance_id: str) -> Target | None:
    row = instances.get(tx, instance_id)
    return None if row is None else own_target(row.webhook)

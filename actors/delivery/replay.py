"""Sending failed deliveries again, and following a webhook that was changed."""

from __future__ import annotations

from collections.abc import Sequence

from actors.events import own_target
from actors.store import Instance, Tx, deliveries, instances, write
from actors.store.deliveries import REPLAY_CHUNK
from actors.store.outbox import Target
from supervisor.otp import System


def replay(
    system: System,
    *,
    event_ids: Sequence[str] | None = None,
    instance: str | None = None,
    destination: str | None = None,
    timeout: float = 10.0,
) -> int:
    """Send failed deliveries again: those of some events, of an instance, to a destination, or all.

    They go behind what waits already, in their old order, with the event ids they had, and to where the
    instance's webhook points now.

    Args:
        timeout: seconds for each chunk of deliveries.

    Returns:
        How many will be sent again.

    Raises:
        StoreUnavailable: the store is down or busy; the chunks before are replayed.
    """
    total = 0
    while True:
        moved = write(
            system,
            lambda tx: deliveries.replay(
                tx,
                event_ids=event_ids,
                instance=instance,
                destination=destination,
                retarget=_present_target,
            ),
            timeout,
        )
        total += moved
        if moved < REPLAY_CHUNK:
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

"""A delete under way, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.connection import KILL_DEADLINE
from actors.instance import CUT_DEADLINE
from actors.janitor import WIPE_DEADLINE
from actors.store import Instance
from actors.trace import current
from supervisor.config import Settings
from supervisor.otp import Caller, Timer

STORE_DEADLINE = 15.0
"""Seconds that the roster waits for the database."""
UNLINK_MARGIN = 1.0
"""Seconds that a session waits for a logout beyond the port's own deadline for it."""
PURGE_MARGIN = UNLINK_MARGIN + KILL_DEADLINE + WIPE_DEADLINE + 1.0
"""Seconds that a session has for its purge beyond the port's deadline for the logout.

A dead link is given up, its process ended, and a credential store and a cache asked of which neither answers.
"""


@dataclass(slots=True)
class Deletion:
    """A delete under way."""

    row: Instance
    timer: Timer
    callers: list[Caller] = field(default_factory=list)
    request_id: str | None = field(default_factory=current)


def longest_delete(settings: Settings) -> float:
    """Seconds after which a delete is answered at the latest while the host's own database is written, if slowly.

    The note, the purge that comes to nothing, the rows, and the wipe that comes to nothing.
    """
    each = (settings.instance(name).port.command_timeout for name in settings.instances)
    logout = max([settings.port.command_timeout, *each])
    return STORE_DEADLINE + logout + PURGE_MARGIN + CUT_DEADLINE + STORE_DEADLINE + WIPE_DEADLINE

"""Whether the database takes what is written, for whoever has to say so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """The database cannot be written now; what was to be written waits.

    Attributes:
        since: seconds of the system's monotonic clock.
        why: what the database says; never a stored value.
    """

    since: float
    why: str


class Condition:
    """Written by the store alone, read by anyone.

    Attributes:
        trouble: None while the database takes what it is given.
    """

    trouble: Trouble | None = None

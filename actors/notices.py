"""What instances and their supervisors tell the roster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settled:
    """An instance that was granted its turn at boot has come to something: a code, a link, a failure."""

    name: str


@dataclass(frozen=True, slots=True)
class Purged:
    """The session has ended its connection and deleted its credentials; only the row is left.

    Attributes:
        wiped: nothing is left of credentials and cache; else the next start of the host has to try again.
    """

    name: str
    wiped: bool


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A subtree used up its restart intensity and is down."""

    name: str
    reason: str

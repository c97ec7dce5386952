"""What instances, their supervisors and the janitor tell the roster, and what it tells itself."""

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


@dataclass(frozen=True, slots=True)
class Wiped:
    """The janitor has done what it could about a deleted instance, whose name may be another's by now."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Released:
    """The janitor is through with the former device of an instance, which may link a new one from now on."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Boot:
    """Bring back what is desired."""


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Time to try again what could not be started."""

    name: str


@dataclass(frozen=True, slots=True)
class Overdue:
    """A boot that came to nothing, a delete whose session did not answer, or a wipe, is not waited for any longer."""

    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Time to try again to remove the rows of what is deleted otherwise."""

    name: str
    wiped: bool | None

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
        wiped: nothing is left of credentials and cache; else it has to be tried again.
    """

    name: str
    wiped: bool


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A subtree used up its restart intensity and is down."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class GaveWay:
    """A session has ended its subtree: its former device could not be deleted, and nothing may connect before it is."""

    name: str


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A session could not delete a former device that is in nobody's way; it is noted in the database."""


@dataclass(frozen=True, slots=True)
class LookThrough:
    """Time to try again what is noted and not deleted yet."""


@dataclass(frozen=True, slots=True)
class Wiped:
    """The janitor has done what it could about a deleted instance, whose name may be another's by now."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Released:
    """The former device of an instance is gone, or cannot be taken for a new one: it may link one from now on."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class StillThere:
    """The former device of an instance could not be deleted now.

    Attributes:
        why: for people.
    """

    instance_id: str
    why: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Time to look after an instance whose former device has to go before it is started."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Struck:
    """The database has struck the notes of refused deletes, if it ever had any.

    Attributes:
        attempts: as their notes name them.
    """

    attempts: frozenset[str]


@dataclass(frozen=True, slots=True)
class StrikeAgain:
    """Time to see whether the notes of refused deletes are struck."""


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

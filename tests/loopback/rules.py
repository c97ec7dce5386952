"""What a loopback service has been told to do wrong, and for how many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeVar

Rule = TypeVar("Rule")


class Stage(StrEnum):
    """The steps of a connection, in order; a fault strikes when the client's first bytes of that step
    arrive.
    """

    TCP = "tcp"
    CONNECT = "connect"
    TLS = "tls"
    WEBSOCKET = "websocket"
    NOISE = "noise"
    LOGIN = "login"


How = Literal["refused", "closed", "reset", "hang", "status"]
"""``refused``: nothing listens. ``closed``: FIN. ``reset``: RST. ``hang``: no answer, ever. ``status``: an
HTTP error.
"""

Outcome = Literal["normal", "lose_515", "silence", "no_success"]
"""How a pairing goes on after a good scan; see ``PairingScript``."""


@dataclass(frozen=True, slots=True)
class ConnectionFault:
    """New connections end at ``stage``; ``status`` is the HTTP status of ``how="status"``."""

    stage: Stage
    how: How
    status: int = 503

    def __post_init__(self) -> None:
        if self.how == "refused" and self.stage is not Stage.TCP:
            raise ValueError(f"how='refused' is only possible at 'tcp', not at {self.stage.value!r}")
        if self.how == "status" and self.stage not in (Stage.CONNECT, Stage.WEBSOCKET):
            raise ValueError(
                f"how='status' is only possible at 'connect' and 'websocket', not at {self.stage.value!r}"
            )
        if not 400 <= self.status <= 599:
            raise ValueError(f"status={self.status} is not an HTTP error (400 to 599)")


@dataclass(frozen=True, slots=True)
class LoginRefusal:
    """Logins get ``<failure reason=…>``; ``jid`` (a device or a bare number) limits it, ``attrs`` are
    added.
    """

    reason: int
    jid: str | None = None
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegistrationRefusal:
    """Clients without a device get ``<failure reason=…>`` instead of QR references."""

    reason: int


@dataclass(frozen=True, slots=True)
class Silence:
    """After ``<success>`` the connection answers nothing more."""

    jid: str | None = None


@dataclass(frozen=True, slots=True)
class PairingScript:
    """How a registration goes.

    ``refs`` is the number of QR references in a batch. Without ``lifetimes`` the client alone decides how
    long it shows each: 60 s for the first of six, 20 s for every other, and it hangs up after the last.
    With ``lifetimes`` (seconds, one a code) the service pushes the next code when a lifetime is over, and
    hangs up after the last.

    ``outcome``: ``normal`` sends pair-success and, once it is confirmed, stream error 515. ``lose_515``
    hangs up in place of the 515. ``silence`` sends nothing after the confirmation. ``no_success`` does not
    even send pair-success.
    """

    refs: int = 6
    lifetimes: tuple[float, ...] = ()
    outcome: Outcome = "normal"

    def __post_init__(self) -> None:
        if not 0 <= self.refs <= 100:
            raise ValueError(f"refs={self.refs} is not between 0 and 100")
        if any(lifetime <= 0 for lifetime in self.lifetimes):
            raise ValueError(f"lifetimes={self.lifetimes} must all be greater than 0 seconds")


@dataclass(slots=True)
class Entry:
    number: int
    rule: Any
    left: int | None
    hits: int = 0


class RuleBook:
    """Numbered rules; the oldest matching one applies, and one with ``times`` is used up after so many
    hits.
    """

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}
        self._number = 0

    def add(self, rule: object, times: int | None) -> int:
        if times is not None and times < 1:
            raise ValueError(f"times={times} must be at least 1, or None for no limit")
        self._number += 1
        self._entries[self._number] = Entry(self._number, rule, times)
        return self._number

    def take(self, kind: type[Rule], matches: Callable[[Rule], bool] = lambda rule: True) -> Rule | None:
        """The rule that applies now, counting the hit."""
        for entry in self._entries.values():
            if isinstance(entry.rule, kind) and entry.left != 0 and matches(entry.rule):
                entry.hits += 1
                if entry.left is not None:
                    entry.left -= 1
                return entry.rule
        return None

    def any(self, matches: Callable[[object], bool]) -> bool:
        return any(entry.left != 0 and matches(entry.rule) for entry in self._entries.values())

    def hits(self, number: int) -> int:
        return self._entries[number].hits if number in self._entries else 0

    def remove(self, number: int) -> None:
        """End a rule; its hits stay readable."""
        if number in self._entries:
            self._entries[number].left = 0

    def clear(self) -> None:
        for entry in self._entries.values():
            entry.left = 0

"""What a session knows about its instance: one plain record, and the tray for what a transition asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from actors.disconnect import Disconnection
from actors.recovery import Policy, Rule, Step
from actors.session.effects import Commit, Effect
from actors.session.stats import Stats
from actors.views import Desired, Phase, QrView


class Link(StrEnum):
    """What the supervisor has of the connection, as far as the session was told."""

    ABSENT = "absent"
    RUNNING = "running"
    HELD = "held"
    STOPPING = "stopping"


class Purpose(StrEnum):
    """Why a link is being stopped."""

    LOGOUT = "logout"
    RESTART = "restart"
    RESET = "reset"
    PURGE = "purge"
    QR_LIMIT = "qr_limit"
    PERMANENT = "permanent"


class Rules(Protocol):
    """The configuration that the machine reads, already the instance's own."""

    @property
    def recovery(self) -> RecoveryPolicy: ...
    @property
    def qr_limit(self) -> int: ...
    @property
    def command_timeout(self) -> float: ...
    def rule(self, code: int) -> Rule: ...


class RecoveryPolicy(Policy, Protocol):
    """`[recovery]` as far as the machine reads it; durations in seconds."""

    @property
    def stable_after(self) -> float: ...
    @property
    def on_limit(self) -> str: ...
    @property
    def cooldown(self) -> float: ...


@dataclass(slots=True)
class Ending:
    """A stop under way: why, for whom, and what comes after it.

    Attributes:
        wipe: delete the credentials once the link is down.
        unlinked: whether the phone was told; None while nobody tried.
        disconnection: what ended it, if not a command.
        failed: it ends as failed, with its credentials, instead of closed.
        retry: it is tried again by itself after the cooldown.
        recovers: it is a step of a recovery, which is not over when the link is down.
        message: what the callers are told.
    """

    purpose: Purpose
    callers: list[int] = field(default_factory=list)
    wipe: bool = False
    unlinked: bool | None = None
    disconnection: Disconnection | None = None
    failed: bool = False
    retry: bool = False
    recovers: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Now:
    """The two clocks of one input: `mono` for durations, `wall` for what people read. Seconds."""

    mono: float
    wall: float


@dataclass(slots=True)
class Memory:
    """The state of one instance.

    `fallen` holds time (wall clock) and code of each disconnection that the client did not heal, since the connection
    was last stable or started with a fresh budget; `noted` is whether the history has any row of one since then.
    A restart that is put off runs the rung `step` at `due`, and not before `hurry_from` when somebody asks for it
    (monotonic); `restart_due` is the same for people (wall clock).

    `qr_losses` counts connections that were lost while they showed codes, one soon after the other.

    `changes`, `events`, `history` and `effects` are the tray of the transition at hand; `drain` empties it.
    """

    name: str
    rules: Rules
    phase: Phase
    desired: Desired
    logged_in: bool
    number: str | None = None
    owner_jid: str | None = None
    device_jid: str | None = None
    profile_name: str | None = None
    profile_pic_url: str | None = None
    failed_reason: str | None = None
    recovery_attempts: int = 0
    qr_count: int = 0

    link: Link = Link.ABSENT
    incarnation: int = 0
    began: float = 0.0
    pid: int | None = None
    rss_bytes: int | None = None
    heartbeat_at: float | None = None
    qr: QrView | None = None
    codes_shown: int = 0
    qr_losses: int = 0
    pairing_number: str | None = None
    opened: Now | None = None
    profile_of: int = 0
    down_since: Now | None = None
    last: Disconnection | None = None
    healing: bool = False
    strategy: str = "restart"
    restart_due: float | None = None
    due: float = 0.0
    hurry_from: float = 0.0
    step: Step = Step.RECONNECT
    replaced_at: list[float] = field(default_factory=list)
    fallen: list[tuple[float, int]] = field(default_factory=list)
    noted: bool = False
    banned_until: float | None = None
    last_code: int | None = None
    alive_at: float | None = None
    stats: Stats = field(default_factory=Stats)
    ending: Ending | None = None
    waiters: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    deferred: list[tuple[int, Any]] = field(default_factory=list)

    changes: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    history: list[Mapping[str, Any]] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    def ask(self, *effects: Effect) -> None:
        """Put effects on the tray."""
        self.effects += effects

    def event(self, name: str, **data: Any) -> None:
        """Put an event on the tray."""
        self.events.append((name, data))

    def store(self, **fields: Any) -> None:
        """Change columns of the instance's row, and the attributes of the same name."""
        for key, value in fields.items():
            setattr(self, key, value)
        self.changes |= fields

    def write(self, **fields: Any) -> None:
        """Change columns that the machine itself does not need again."""
        self.changes |= fields

    def enter(self, phase: Phase) -> None:
        """Change the phase; the database keeps it too."""
        if phase is not self.phase:
            self.store(phase=phase)
        if phase is not Phase.OPEN:
            self.opened = None
        if phase is not Phase.AWAITING_SCAN:
            self.qr = None

    def drain(self) -> list[Effect]:
        """Empty the tray: the transaction first, so that nothing is said that is not committed."""
        effects = self.effects
        if self.changes or self.events or self.history:
            commit = Commit(self.changes, tuple(self.events), tuple(self.history))
            effects = [commit, *effects]
        self.changes, self.events, self.history, self.effects = {}, [], [], []
        return effects

"""A machine on a desk: inputs by hand, time by hand, every effect kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from actors.disconnect import Disconnection
from actors.session import effects as do
from actors.session import inputs as be
from actors.session import machine
from actors.session.memory import Memory, Now
from actors.views import Desired, Phase
from supervisor.config import InstanceSettings, RecoverySettings

DEVICE = "5511999990001:7@s.whatsapp.net"
OWNER = "5511999990001@s.whatsapp.net"
DROP = Disconnection(428, "closed", heals=True)


@dataclass
class DeskRules:
    """Configuration without a file."""

    settings: InstanceSettings = field(
        default_factory=lambda: InstanceSettings(recovery=RecoverySettings(jitter=0.0))
    )
    qr_limit: int = 30
    command_timeout: float = 10.0

    @property
    def recovery(self) -> RecoverySettings:
        return self.settings.recovery

    def rule(self, code: int) -> Any:
        return self.settings.disconnect_rule(code)


class Desk:
    """Applies inputs to one machine and answers as a supervisor would where that has no choice."""

    def __init__(self, *, logged_in: bool = False, rules: DeskRules | None = None) -> None:
        self.m = Memory(
            name="sales",
            rules=rules or DeskRules(),
            phase=Phase.CLOSED,
            desired=Desired.DOWN,
            logged_in=logged_in,
            device_jid=DEVICE if logged_in else None,
            owner_jid=OWNER if logged_in else None,
        )
        self.time = self.wall = 1000.0
        self.effects: list[do.Effect] = []
        self.callers = 0

    # -- doing

    def input(self, item: be.Input) -> list[do.Effect]:
        effects = machine.handle(self.m, item, Now(self.time, self.wall))
        self.effects += effects
        return effects

    def command(self, message: Any) -> int:
        self.callers += 1
        self.effects += machine.command(self.m, self.callers, message, Now(self.time, self.wall))
        return self.callers

    def wait(self, seconds: float) -> None:
        self.time += seconds
        self.wall += seconds

    def set_clock(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.wall += seconds

    def started(self) -> int:
        number = self.m.incarnation + 1
        self.input(be.Started(number))
        return number

    def code(self, text: str = "2@code") -> list[do.Effect]:
        return self.input(be.CodeShown(self.m.incarnation, text))

    def opened(self) -> list[do.Effect]:
        return self.input(be.Opened(self.m.incarnation, DEVICE, "Ana"))

    def exited(self, disconnection: Disconnection) -> list[do.Effect]:
        return self.input(be.Exited(self.m.incarnation, disconnection))

    def open(self) -> None:
        """From rest to open."""
        from actors.messages import Connect

        self.command(Connect())
        self.started()
        self.opened()

    # -- looking

    def of(self, kind: type) -> list[Any]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def reply(self, caller: int) -> do.Reply | None:
        return next((reply for reply in self.of(do.Reply) if reply.caller == caller), None)

    def events(self) -> list[tuple[str, Any]]:
        return [event for commit in self.of(do.Commit) for event in commit.events]

    def event_names(self) -> list[str]:
        return [name for name, _ in self.events()]

    def clear(self) -> None:
        self.effects.clear()

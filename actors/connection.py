"""One connection: the owner of one port, from its start to its end, used once.

Whatever ends it is its exit reason: `Shutdown(Ended(...))` for a disconnection, a crash for a bug or a killed
port. What it learns meanwhile it tells the session, under its incarnation number.
"""

from __future__ import annotations

import os
import select
from dataclasses import dataclass
from typing import Any, NoReturn

from actors.context import InstanceContext
from actors.disconnect import RESTART_REQUIRED, TIMED_OUT, UNAVAILABLE, Disconnection, classify
from actors.port import events
from actors.port.handle import PortGone, PortHandle
from actors.port.messages import CommandResult, CommandTimeout, PortEvent, PortExited, PortStarted
from actors.port.ports import PortRefused, Spawn
from actors.port.spec import PortSpec
from actors.services import PORTS
from actors.session import inputs, report
from actors.session.effects import PortCommand
from actors.trace import current, traced, untraced, working_for
from actors.views import Awaits
from supervisor.config import DisconnectRule
from supervisor.otp import (
    IGNORE,
    Actor,
    CallError,
    ChildExit,
    Decision,
    Default,
    ExitReason,
    Hold,
    Recovery,
    Shutdown,
    Timer,
)

SPAWN_DEADLINE = 5.0
PAIRING_DEADLINE = 20.0
"""Seconds from the scan to `Connected`; the server takes one or two, and a lost 515 says nothing for ever."""
CODE_DEADLINE = 120.0
"""Seconds until a code must have been followed by another, or by a scan; the client shows none for more than 60."""
KILL_DEADLINE = 5.0
"""Seconds until a killed process must have ended; on a machine with far more to do than it can, that takes a while."""
LOGIN_SECONDS = 2.0
"""Seconds that a login takes at the most where all connections of a host log in at once."""
DROPS_LIMIT = 10
"""Drops that the client may heal by itself, one after another without a stable connection in between."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The term of an expected exit."""

    incarnation: int
    disconnection: Disconnection

    def __repr__(self) -> str:
        code, cause = self.disconnection.code, self.disconnection.cause
        return f"{code} {self.disconnection.name}, {cause}"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A timer of this connection is due: it ends with the disconnection."""

    disconnection: Disconnection


@dataclass(frozen=True, slots=True)
class Sent:
    """A command on its way to the port.

    Attributes:
        tag: what the session calls it.
        at: when it was sent, in monotonic seconds.
    """

    name: str
    tag: str
    at: float
    request_id: str | None


class PortDied(Exception):
    """The port ended without having said why: killed by a signal, or a bug in it."""


class Connection(Actor):
    """Child `connection` of an instance."""

    def init(self, context: InstanceContext) -> object:
        plan = context.plan
        if not plan.wanted:
            return IGNORE
        self._context = context
        self._incarnation = context.incarnation = next(context.numbers)
        self._settings = context.settings.port
        self._jid: str | None = None
        self._push_name: str | None = None
        self._opened_at: float | None = None
        self._drops = 0
        self._down: Disconnection | None = None
        self._commands: dict[int, Sent] = {}
        self._request_id = plan.request_id
        self._log = report.logger(context)
        self._deadline: Timer | None = None
        self._heartbeat: Timer | None = None
        self._port: PortHandle | None = None
        self._tell(inputs.Started(self._incarnation))
        spec = PortSpec(
            instance=context.name,
            session_url=context.services.credentials.url(context.id),
            jid=plan.jid,
            proxy_url=plan.proxy_url,
            heartbeat=self._settings.heartbeat,
        )
        self.ref.cast(Spawn(spec, self.ref, self._incarnation))
        return None

    def terminate(self, reason: ExitReason) -> None:
        """Whatever ended this connection, its process ends with it, before a next one is started."""
        if self._port is None:
            return
        self._port.kill()
        pid = self._port.pid
        if pid is not None and not ended(pid, KILL_DEADLINE):
            self.log.error("port %d did not end within %g s of its kill", pid, KILL_DEADLINE)

    def handle_cast(self, message: Any) -> None:
        message, request_id = untraced(message)
        with working_for(request_id):
            self._handle(message)

    def _handle(self, message: Any) -> None:
        match message:
            case Spawn():
                self._spawn(message)
            case PortEvent(event=event):
                self._on_event(event)
            case PortCommand():
                self._on_command(message)
            case CommandResult(request_id=request, value=value, error=error):
                self._on_result(request, value, error)
            case CommandTimeout(request_id=request, name=name):
                self._on_result(request, None, f"{name} missed its deadline")
            case PortStarted(pid=pid):
                self.owns(pid)
                with working_for(self._request_id):
                    self._tell(inputs.PortUp(self._incarnation, pid))
                self._alive()
            case PortExited():
                self._on_port_exit(message)
            case _:
                raise TypeError(f"unexpected {type(message).__name__}")

    def handle_info(self, message: Any) -> None:
        match message:
            case Deadline(disconnection=disconnection):
                self._finish(disconnection)

    def _spawn(self, spawn: Spawn) -> None:
        """Have a port started. None to be had now is a lost connection, not a bug of this instance's."""
        try:
            self._port = self.system.call(PORTS, spawn, SPAWN_DEADLINE)
        except (CallError, PortRefused) as error:
            self._finish(Disconnection(UNAVAILABLE, "ports", {"error": str(error)}))
        self._expect(self._settings.start_timeout, Disconnection(TIMED_OUT, "start"))

    # -- the port's events ----------------------------------------------------------------------------------

    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.Ready():
                hangs = Disconnection(TIMED_OUT, "slow", awaits=Awaits.NETWORK)
                self._expect(self._settings.start_timeout, hangs)
            case events.QrCode(code=code):
                self._expect(CODE_DEADLINE, Disconnection(TIMED_OUT, "qr"))
                self._tell(inputs.CodeShown(self._incarnation, code))
            case events.LoginStatus(status="success") | events.PairStatus(error=None) if (
                self._opened_at is not None
            ):
                pass  # told late: `Connected` has overtaken it and said the same
            case events.LoginStatus(status="success"):
                self._on_paired(None)
            case events.PairStatus(error=None, jid=jid):
                self._on_paired(jid)
            case events.PairStatus(error=error):
                self._finish(Disconnection(TIMED_OUT, "pairing", {"error": error}, signal="PairStatus"))
            case events.Connected(jid=jid, push_name=push_name):
                self._jid, self._push_name = jid, push_name
                self._opened()
            case events.KeepAliveRestored():
                self._on_restored()
            case events.Heartbeat(rss_bytes=rss):
                self._alive()
                self._tell(inputs.Alive(self._incarnation, rss, self.clock.wall()))
            case events.LoginStatus(status="timeout") | events.ConnectReturned() if self._down is not None:
                self._finish(self._down)  # the client gives up what it could have healed
            case _:
                self._on_ending(classify(event))

    def _on_paired(self, jid: str | None) -> None:
        self._tell(inputs.Paired(self._incarnation, jid))
        self._expect(PAIRING_DEADLINE, Disconnection(RESTART_REQUIRED, "pairing"))

    def _opened(self) -> None:
        self._opened_at = self.clock.monotonic()
        self._expect_nothing()
        self._down = None
        self._tell(inputs.Opened(self._incarnation, self._jid, self._push_name))

    def _on_restored(self) -> None:
        """The pings are answered again: if it was them alone that failed, the link is as good as before."""
        if self._down is not None and self._down.cause == "keepalive":
            self._opened()

    def _on_ending(self, disconnection: Disconnection | None) -> None:
        if disconnection is None:
            return
        if not disconnection.heals or self._rule(disconnection).permanent:
            self._finish(disconnection)
        if self._down is None:
            if self._flaps():
                self._finish(disconnection)
            self._down = disconnection
            self._tell(inputs.LinkDown(self._incarnation, disconnection))
            self._expect(self._grace(disconnection), disconnection)

    def _flaps(self) -> bool:
        """Whether this drop is one too many for the client to heal: it goes the way of those that it cannot."""
        now = self.clock.monotonic()
        if self._opened_at is None or now - self._opened_at >= self._context.settings.recovery.stable_after:
            self._drops = 0
        self._drops += 1
        return self._drops > DROPS_LIMIT

    def _grace(self, disconnection: Disconnection) -> float:
        """Seconds in which the client's own reconnect may succeed: the code's base delay, and time for a login.

        The client tries at once and 2 s later, which is the base delay of a closed socket: a grace that ended then
        would cut off the very try that it is for.
        """
        delay = self._rule(disconnection).delay
        return delay + min(delay, LOGIN_SECONDS)

    def _rule(self, disconnection: Disconnection) -> DisconnectRule:
        return self._context.settings.disconnect_rule(disconnection.code)

    def _on_port_exit(self, exited: PortExited) -> None:
        if self._down is not None:
            self._finish(self._down)
        raise PortDied(exited.reason)

    # -- commands to the port -------------------------------------------------------------------------------

    def _on_command(self, command: PortCommand) -> None:
        if self._port is None:
            raise TypeError("a command before there is a port")
        try:
            request = self._port.command(command.name, self._settings.command_timeout, **command.args)
        except PortGone as gone:
            self._log.warning("port command", command=command.name, error=str(gone))
            self._tell(inputs.CommandDone(self._incarnation, command.tag, error=str(gone)))
        else:
            self._commands[request] = Sent(command.name, command.tag, self.clock.monotonic(), current())

    def _on_result(self, request: int, value: Any, error: str | None) -> None:
        sent = self._commands.pop(request, None)
        if sent is None:
            return
        milliseconds = round((self.clock.monotonic() - sent.at) * 1000, 1)
        with working_for(sent.request_id):
            self._log.info("port command", command=sent.name, milliseconds=milliseconds, error=error)
            self._tell(inputs.CommandDone(self._incarnation, sent.tag, value or {}, error))

    # -- time -----------------------------------------------------------------------------------------------

    def _alive(self) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        patience = self._settings.heartbeat * self._settings.missed_heartbeats
        missed = Deadline(Disconnection(TIMED_OUT, "heartbeat"))
        self._heartbeat = self.send_after(patience, missed)

    def _expect(self, seconds: float, otherwise: Disconnection) -> None:
        """Something must happen within some seconds; there is one such expectation at a time."""
        self._expect_nothing()
        self._deadline = self.send_after(seconds, Deadline(otherwise))

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _finish(self, disconnection: Disconnection) -> NoReturn:
        self.exit(Shutdown(Ended(self._incarnation, disconnection)))

    def _tell(self, notice: inputs.Notice) -> None:
        self.system.cast(self._context.session_path, traced(notice))


def ended(pid: int, seconds: float) -> bool:
    """Wait for the end of a process that need not be a child. False if it still runs after some seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


class ConnectionRecovery(Recovery):
    """What the supervisor does about an ended connection: a disconnection is the session's to decide.

    A crash follows the supervisor's own rule (restart at once, counted in its intensity); the session is told.
    """

    def __init__(self, context: InstanceContext) -> None:
        self._context = context

    def decide(self, exit: ChildExit) -> Decision:
        context, reason = self._context, exit.reason
        if isinstance(reason, Shutdown) and isinstance(reason.term, Ended):
            ended = reason.term
            self._tell(inputs.Exited(ended.incarnation, ended.disconnection))
            return Hold()
        self._tell(inputs.Crashed(context.incarnation, str(reason)))
        return Default()

    def _tell(self, notice: inputs.Notice) -> None:
        self._context.services.system.cast(self._context.session_path, notice)

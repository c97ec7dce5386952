"""The actor that owns the forkserver and, through the reader thread, every port."""

from __future__ import annotations

import itertools
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from actors.port.handle import PortGone, PortHandle
from actors.port.launcher import Launcher
from actors.port.library import Preload
from actors.port.link import Link
from actors.port.reader import ForkserverGone, ForkserverReady, Notice, PortEnded, Reader
from actors.port.spec import PortSpec
from supervisor.otp import (
    NO_REPLY,
    SHUTDOWN,
    Actor,
    Caller,
    Down,
    ExitReason,
    Monitor,
    Ref,
    Refusal,
    Timer,
)

START_SECONDS = 60.0
"""How long the forkserver may take to preload."""

FORK_SECONDS = 30.0
"""How long it may take to fork once asked."""

_STOP_SECONDS = 3.0
_DESCRIPTORS = 65536


class PortRefused(Refusal):
    """A port cannot be started now."""


class ForkserverDied(Exception):
    """The forkserver ended, or no longer answers; its ports ended with it."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """A call: start a port. The reply is its `PortHandle`, at once; what becomes of it is told to the owner.

    The port is killed when its owner ends.

    Attributes:
        spec: the connection.
        owner: gets `PortStarted`, `PortEvent`, `CommandResult`, `CommandTimeout` and last, exactly once,
            `PortExited`, all as casts.
        incarnation: goes with all of them.
    """

    spec: PortSpec
    owner: Ref
    incarnation: int


@dataclass(frozen=True, slots=True)
class Echo:
    """A call: answered by the thread that reads every port's pipe, once it has come round to it."""


@dataclass(frozen=True, slots=True)
class GetStatus:
    """A call: the reply is a `PortsStatus`."""


@dataclass(frozen=True, slots=True)
class PortsStatus:
    """The forkserver and the ports that have not ended.

    Attributes:
        forkserver: its process id.
        pids: of each instance that has a port; None for one that has not started yet.
    """

    forkserver: int
    pids: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class _Arm:
    link: Link = field(repr=False)
    request_id: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Expired:
    link: Link = field(repr=False)
    request_id: int


@dataclass(frozen=True, slots=True)
class _StartDue:
    link: Link = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Port:
    link: Link
    owner: Monitor
    start_due: Timer


class Ports(Actor):
    """Starts ports. When the forkserver dies this actor crashes, and the ports that ran are dead.

    Args (of its child spec):
        preload: how much the forkserver loads; less is for comparison only.
        environment: for the forkserver and the ports; None for the host's own.
    """

    def init(self, preload: Preload = Preload.FULL, environment: Mapping[str, str] | None = None) -> None:
        """Start the forkserver, wait until it is ready.

        Raises:
            ForkserverDied: it does not start.
            OSError: the system has no room for it.
        """
        _allow_descriptors()
        self._numbers = itertools.count(1)
        self._ports: dict[int, _Port] = {}
        self._launcher = Launcher(preload, environment)
        self._reader = Reader(self._launcher, self._hear)
        self._reader.start()
        why_not = self._reader.wait_until_ready(START_SECONDS)
        if why_not is not None:
            self.terminate(SHUTDOWN)
            raise ForkserverDied(f"{why_not}; what it printed is in the log")

    def handle_call(self, message: object, caller: Caller) -> object:
        """Answer `Spawn`, `GetStatus` and `Echo`."""
        match message:
            case Echo():
                self._reader.echo(caller.reply)
                return NO_REPLY
            case Spawn():
                return self._spawn(message)
            case GetStatus():
                pids = {port.link.spec.instance: port.link.pid for port in self._ports.values()}
                return PortsStatus(self._launcher.pid, pids)
            case _:
                return super().handle_call(message, caller)

    def handle_cast(self, message: object) -> None:
        """Take the reader's notices, and the time limits of commands."""
        match message:
            case _Arm():
                self.send_after(message.seconds, _Expired(message.link, message.request_id))
            case PortEnded():
                port = self._ports.pop(message.number)
                port.start_due.cancel()
                self.demonitor(port.owner)
            case ForkserverReady(warning=None):
                self.log.info(
                    "the forkserver is ready (pid %d, preload %s)", self._launcher.pid, message.level
                )
            case ForkserverReady():
                self.log.warning("%s", message.warning)
            case ForkserverGone():
                raise ForkserverDied(f"{message.why} (exit code {self._launcher.exit_code(_STOP_SECONDS)})")
            case _:
                super().handle_cast(message)

    def handle_info(self, message: object) -> None:
        """A command's time is over, a port should have started, an owner ended."""
        match message:
            case _Expired():
                self._reader.expire(message.link, message.request_id)
            case _StartDue():
                if message.link.pid is None:
                    raise ForkserverDied(f"the forkserver did not fork within {FORK_SECONDS:g} s")
            case Down():
                self._owner_ended(message)
            case _:
                super().handle_info(message)

    def terminate(self, reason: ExitReason) -> None:
        """End the forkserver and, by that, all ports."""
        self._launcher.kill(_STOP_SECONDS)
        if not self._reader.join(_STOP_SECONDS):
            self.log.error("the port reader did not end within %g s", _STOP_SECONDS)

    def _spawn(self, request: Spawn) -> PortHandle:
        try:
            link = Link(next(self._numbers), request.spec, request.owner, request.incarnation)
        except OSError as error:
            raise PortRefused(f"no port for {request.spec.instance}: {error}") from None
        start_due = self.send_after(FORK_SECONDS, _StartDue(link))
        self._ports[link.number] = _Port(link, self.monitor(request.owner), start_due)
        self._reader.launch(link)
        return PortHandle(link, self._sender(link), lambda: self._kill(link))

    def _sender(self, link: Link) -> Callable[[int, str, bytes, float], None]:
        ports, reader = self.ref, self._reader

        def send(request_id: int, name: str, frame: bytes, seconds: float) -> None:
            if not ports.cast(_Arm(link, request_id, seconds)):
                raise PortGone(link.spec.instance, link.incarnation)
            reader.command(link, request_id, name, frame)

        return send

    def _kill(self, link: Link) -> None:
        link.alive = False
        self._reader.kill(link, requested=True)

    def _owner_ended(self, down: Down) -> None:
        for port in self._ports.values():
            if port.owner is down.monitor:
                self._kill(port.link)

    def _hear(self, notice: Notice) -> None:
        self.ref.cast(notice)


def _allow_descriptors() -> None:
    """A port costs the host three descriptors; the usual soft limit of 1024 is gone at about 300 ports."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""The real tree, from the store to the watchdog, on a clock moved by hand and with ports that a test speaks for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.board import Board
from actors.cache import MemoryCache
from actors.credentials import CredentialsUnavailable, FileCredentials
from actors.janitor import Janitor
from actors.port import events
from actors.port.handle import PortGone
from actors.port.messages import CommandResult, CommandTimeout, PortEvent, PortExited, PortStarted
from actors.port.ports import Spawn
from actors.port.spec import PortSpec
from actors.reachability import PATH as REACHABILITY
from actors.reachability import Reachability, Say
from actors.roster import Roster
from actors.services import INSTANCES, JANITOR, PORTS, ROSTER, Services
from actors.store import PATH as STORE
from actors.store import Reader, Store, Tx, open_backend
from actors.store.rows import Instance
from actors.watchdog import Manager, Watchdog
from supervisor.config import Settings
from supervisor.otp import (
    REST_FOR_ONE,
    ROOT,
    Actor,
    Caller,
    ChildSpec,
    Crash,
    CrashReport,
    Down,
    DynamicSupervisor,
    ManualClock,
    Monitor,
    Ref,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
)

NO_PROCESS = 5_000_000
"""Process ids from here on belong to nobody: the kernel gives none above 4,194,304."""
EPOCH = 1_700_000_000.0


@dataclass(eq=False)
class Port:
    """A port that does nothing by itself.

    Attributes:
        frozen: it sends no heartbeats.
        commands: request id and name of those that are not answered.
        found: what its session file held as it started.
    """

    number: int
    spec: PortSpec
    owner: Ref
    incarnation: int
    ports: Ref
    alive: bool = True
    frozen: bool = False
    linked: bool = False
    commands: dict[int, str] = field(default_factory=dict)
    requests: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    found: str | None = field(init=False)

    def __post_init__(self) -> None:
        file = Path(self.spec.session_url)
        self.found = file.read_text() if file.exists() else None

    @property
    def pid(self) -> int:
        return NO_PROCESS + self.number

    # -- as its owner sees it

    def command(self, name: str, timeout: float, **arguments: Any) -> int:
        if not self.alive:
            raise PortGone(self.spec.instance, self.incarnation)
        number = next(self.requests)
        self.commands[number] = name
        self.ports.cast(_Arm(self, number, timeout))
        return number

    def kill(self) -> None:
        self.alive = self.linked = False

    # -- as the test speaks for it

    def say(self, event: events.Event) -> None:
        self.owner.cast(PortEvent(self.incarnation, event))

    def answer(self, number: int, value: Any = None, error: str | None = None) -> None:
        if self.commands.pop(number, None) is not None:
            result = CommandResult(self.incarnation, number, value)
            if error is not None:
                result = CommandResult(self.incarnation, number, None, error, "refused")
            self.owner.cast(result)

    def die(self, number: int) -> None:
        """Killed by a signal."""
        if self.alive:
            self.kill()
            reason = f"killed by signal {number}"
            self.owner.cast(PortExited(self.incarnation, None, number, False, reason))


@dataclass(frozen=True)
class _Arm:
    port: Port
    request_id: int
    seconds: float


@dataclass(frozen=True)
class _Expired:
    port: Port
    request_id: int


class SimulatedPorts(Actor):
    """Child `ports`: hands out ports that the test finds in `made`."""

    def init(self, made: list[Port]) -> None:
        self._made = made
        self._owners: dict[Monitor, Port] = {}

    def handle_call(self, message: Any, caller: Caller) -> Any:
        if not isinstance(message, Spawn):
            return None
        port = Port(len(self._made) + 1, message.spec, message.owner, message.incarnation, self.ref)
        self._made.append(port)
        self._owners[self.monitor(message.owner)] = port
        message.owner.cast(PortStarted(message.incarnation, port.pid))
        return port

    def handle_cast(self, message: Any) -> None:
        self.send_after(message.seconds, _Expired(message.port, message.request_id))

    def handle_info(self, message: Any) -> None:
        match message:
            case Down():
                self._owners.pop(message.monitor).kill()
            case _Expired(port=port, request_id=number):
                name = port.commands.pop(number, None)
                if name is not None:
                    port.owner.cast(CommandTimeout(port.incarnation, number, name))

    def terminate(self, reason: Any) -> None:
        for port in self._owners.values():
            port.kill()


class Refusing(FileCredentials):
    """A store that deletes nothing while the tree says so."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(tree.directory / "sessions")
        self._tree = tree

    def delete(self, instance_id: str, jid: str | None = None) -> None:
        if self._tree.refusing:
            raise CredentialsUnavailable("Read-only file system")
        super().delete(instance_id, jid)


class Answer:
    """What came back of a message that nobody waits for."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.given = False

    def take(self, value: Any, error: BaseException | None) -> None:
        self.value, self.error, self.given = value, error, True


class Tree:
    """A host without its API and its webhooks.

    Args:
        directory: for the database and the credentials.
        settings: the host's.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory
        self.settings = settings
        self.now = EPOCH
        self.made: list[Port] = []
        self.looks: list[tuple[str | None, Say]] = []
        """At ways to WhatsApp, by their proxies, that are not answered yet."""
        self.crashes: list[CrashReport] = []
        self.refusing = False
        """Whether no credentials can be deleted."""
        self.start()

    def start(self) -> None:
        self.clock = ManualClock(wall=self.now)
        self.system = System(self.clock, on_crash=self.crashes.append)
        self.board = Board()
        self.credentials = Refusing(self)
        self.services = Services(self.system, self.settings, self.board, self.credentials, MemoryCache())
        backend = open_backend(self.settings.store.url.get_secret_value(), self.directory)
        self.reader = Reader(backend)
        supervision = self.settings.supervision
        flags = SupervisorFlags(intensity=supervision.intensity, period=supervision.period)
        children = [
            ChildSpec(STORE, Start(Store, backend)),
            ChildSpec(PORTS, Start(SimulatedPorts, self.made)),
            ChildSpec(INSTANCES, Start(DynamicSupervisor, flags)),
            ChildSpec(JANITOR, Start(Janitor, self.services)),
            ChildSpec(ROSTER, Start(Roster, self.services)),
            ChildSpec("watchdog", Start(Watchdog, self.services, Manager(lambda: None, None))),
            ChildSpec(REACHABILITY, Start(Reachability, self.services, self._begin_look)),
        ]
        # What the test kills is not what this supervisor is to give up for.
        patient = SupervisorFlags(REST_FOR_ONE, intensity=1000, period=60.0)
        self.root = self.system.start(Supervisor, patient, children, path=ROOT)
        self.settle()

    def stop(self) -> None:
        self.now = self.clock.wall()
        self.system.stop(self.root)
        left = self.system.shutdown()
        self.reader.close()
        assert left == [], left

    def settle(self) -> None:
        self.clock.advance(0)

    def advance(self, seconds: float, *, step: float = 9.0) -> None:
        """Let time pass, with the heartbeats of every port that is not frozen."""
        left = seconds
        while left > 0:
            self.clock.advance(min(step, left))
            left -= step
            for port in self.made:
                if port.alive and not port.frozen:
                    port.say(events.Heartbeat(17_000_000, 9, 30))
            self.settle()

    def _begin_look(self, proxy: str | None, say: Say) -> None:
        self.looks.append((proxy, say))

    def looked(self, *, reached: bool) -> list[str | None]:
        """Answer every look under way; the proxies that it went through."""
        self.looks, looks = [], self.looks
        for _, say in looks:
            say(reached)
        self.settle()
        return [proxy for proxy, _ in looks]

    # -- asking

    def ask(self, path: str, message: Any) -> Answer:
        """Send a message to whom it concerns, and go on."""
        answer = Answer()
        ref = self.system.whereis(path)
        if ref is None:
            answer.take(None, LookupError(path))
        else:
            ref.request(message, answer.take)
        return answer

    def tell(self, name: str, message: Any) -> Answer:
        return self.ask(f"{INSTANCES}/{name}/session", message)

    def kill(self, path: str) -> None:
        """End an actor as a bug in it would."""
        ref = self.system.whereis(path)
        if ref is not None:
            self.system.stop(ref, Crash(RuntimeError("injected by the test")))

    # -- looking

    def ports(self, name: str) -> list[Port]:
        """The living ports of an instance."""
        return [port for port in self.made if port.alive and port.spec.instance == name]

    def port(self, name: str) -> Port | None:
        found = self.ports(name)
        return found[-1] if found else None

    def query(self, question: Callable[[Tx], Any]) -> Any:
        return self.reader.query(question, 10.0)

    def row(self, name: str) -> Instance | None:
        from actors.store import instances

        found: Instance | None = self.query(lambda tx: instances.by_name(tx, name))
        return found

    def credentials_file(self, instance_id: str) -> Path:
        return Path(self.credentials.url(instance_id))

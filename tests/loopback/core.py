"""The loopback service itself: its listener, its accounts, its connections and what it was told to do
wrong.

Everything here runs in one event loop's thread. ``service`` and ``control`` put a thread-safe and a network
face on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .accounts import Accounts, Device
from .authority import Authority
from .binary import Jid, Node, covers
from .journal import Journal
from .link import RESET_ON_CLOSE, Drop
from .pairing import CodeExchange, Forgery, Offer, PairingError, QrCode, normalise_code, offer
from .rules import (
    ConnectionFault,
    LoginRefusal,
    PairingScript,
    RegistrationRefusal,
    RuleBook,
    Silence,
    Stage,
)
from .session import RECONNECT, Refused, Session, State

BACKLOG: Final = 1024
ACCEPT_BATCH: Final = 64
CLOSE_WITHIN: Final = 5.0


@dataclass(slots=True)
class CodeRequest:
    """A client that waits for its pairing code to be typed on the phone ``number``."""

    session: Session
    number: str
    ref: str
    wrapped_key: bytes
    finished: asyncio.Future[Node]


class Core:
    """A WhatsApp service on 127.0.0.1.

    ``port`` 0 takes a free port, which is kept until ``close``. ``linger`` is how long, in seconds, a
    client keeps its connection after it was told that the stream is over. ``credentials`` (user, password)
    are asked for by the proxy.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        port: int = 0,
        accounts_file: Path | None = None,
        credentials: tuple[str, str] | None = None,
        linger: float = 0.2,
    ) -> None:
        self.authority = authority
        self.tls = authority.tls_context()
        self.linger = linger
        self.journal = Journal()
        self.rules = RuleBook()
        self.accounts = Accounts(accounts_file)
        self.sessions: dict[int, Session] = {}
        self._credentials = credentials
        self._numbers = itertools.count(1)
        self._refs: dict[str, Session] = {}
        self._codes: dict[int, CodeRequest] = {}
        self._silent: list[socket.socket] = []
        self._adopting: set[asyncio.Task[None]] = set()
        self._running = False
        self._listening = False
        self._script = PairingScript()
        self._socket = _reserve(port)
        self.port: Final[int] = self._socket.getsockname()[1]

    # ---- listening

    def start(self) -> None:
        """Take connections; the devices are those that were known before ``stop``."""
        self._running = True
        self.update_listening()
        self.journal.record("service.started")

    def stop(self, how: Drop = "reset") -> None:
        """End every connection and refuse new ones, as a service that is restarted does; the port stays
        reserved.
        """
        self._running = False
        self.update_listening()
        self.drop_all(how)
        self.journal.record("service.stopped")

    async def close(self) -> None:
        """End everything; the port is free afterwards."""
        await asyncio.gather(*self._adopting, return_exceptions=True)
        self.stop()
        self._socket.close()
        self.accounts.save()
        await self.journal.wait_until(lambda: not self.sessions, CLOSE_WITHIN, "connections still open")

    def drop_all(self, how: Drop) -> None:
        for session in list(self.sessions.values()):
            session.drop(how)
        for sock in self._silent:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            sock.close()
        self._silent.clear()

    def update_listening(self) -> None:
        """Listen or not. A socket that was shut down keeps its port, and listens again when asked to."""
        refused = self.rules.any(lambda rule: isinstance(rule, ConnectionFault) and rule.how == "refused")
        wanted = self._running and not refused
        if wanted == self._listening:
            return
        self._listening = wanted
        loop = asyncio.get_running_loop()
        if wanted:
            self._socket.listen(BACKLOG)
            loop.add_reader(self._socket, self._accept)
        else:
            loop.remove_reader(self._socket)
            self._socket.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, _address = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(False)
            if not self._strike_tcp(sock):
                task = asyncio.get_running_loop().create_task(self._adopt(sock))
                self._adopting.add(task)
                task.add_done_callback(self._adopting.discard)

    def _strike_tcp(self, sock: socket.socket) -> bool:
        fault = self.fault_at(Stage.TCP)
        if fault is None:
            return False
        if fault.how == "hang":
            self._silent.append(sock)
            return True
        if fault.how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        sock.close()
        return True

    async def _adopt(self, sock: socket.socket) -> None:
        session = Session(self, next(self._numbers))
        self.sessions[session.number] = session
        self.record(session, "tcp")
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: session.link, sock)
        except BaseException:
            sock.close()
            self.lost(session)
            raise

    # ---- what sessions ask

    def record(self, session: Session, kind: str, **detail: Any) -> None:
        self.journal.record(kind, session.number, session.jid, **detail)

    def fault_at(self, stage: Stage) -> ConnectionFault | None:
        fault = self.rules.take(ConnectionFault, lambda rule: rule.stage is stage and rule.how != "refused")
        if fault is not None:
            self.journal.record("fault", stage=stage.value, how=fault.how)
        return fault

    def admits(self, credentials: tuple[str, str] | None) -> bool:
        return self._credentials is None or credentials == self._credentials

    def registration_rule(self) -> RegistrationRefusal | None:
        return self.rules.take(RegistrationRefusal)

    def pairing_script(self) -> PairingScript:
        return self.rules.take(PairingScript) or self._script

    def login_rule(self, jid: str) -> LoginRefusal | None:
        return self.rules.take(LoginRefusal, lambda rule: covers(rule.jid, jid))

    def silence_rule(self, jid: str) -> Silence | None:
        return self.rules.take(Silence, lambda rule: covers(rule.jid, jid))

    def find_device(self, jid: str) -> Device | None:
        return self.accounts.find(jid)

    def register_refs(self, session: Session, refs: list[str]) -> None:
        """These are the references that can be scanned now; those the session had before are over."""
        self._drop_refs(session)
        self._refs.update(dict.fromkeys(refs, session))

    def _drop_refs(self, session: Session) -> None:
        self._refs = {ref: owner for ref, owner in self._refs.items() if owner is not session}

    def logged_in(self, session: Session) -> None:
        """The newest connection of a device wins; the one before is told so."""
        for other in list(self.sessions.values()):
            if (
                other is not session
                and other.jid == session.jid
                and other.state in (State.AUTHENTICATED, State.OPEN)
            ):
                other.stream_error("409", "replaced")

    def lost(self, session: Session) -> None:
        self.sessions.pop(session.number, None)
        self._codes.pop(session.number, None)
        self._drop_refs(session)

    # ---- devices

    def remove_device(self, jid: str, *, tell: bool = False) -> bool:
        """Unlink a device; with ``tell`` its live connections hear of it, as when it is removed on the
        phone.
        """
        removed = self.accounts.forget(jid)
        if removed:
            self.journal.record("device.removed", jid=jid)
        for session in self.live(jid) if tell else ():
            session.stream_error("401", "device_removed")
        return removed

    def live(self, jid: str | None = None) -> list[Session]:
        """Connections that are logged in, of one device (or number) or of all."""
        states = (State.AUTHENTICATED, State.OPEN)
        return [s for s in self.sessions.values() if s.state in states and covers(jid, s.jid)]

    # ---- pairing

    async def scan(
        self, number: str, text: str, forge: Forgery | None, multidevice: bool, timeout: float
    ) -> dict[str, Any]:
        """Let the phone scan a QR code; see ``service.Phone.scan``."""
        code = QrCode.parse(text)
        session = self._refs.get(code.ref)
        if session is None:
            raise PairingError(
                "this QR code is not current: it is unknown, its life is over, or its connection is gone"
            )
        if (code.noise_key, code.identity_key) != (session.noise_key, session.identity_key):
            raise PairingError("this QR code names other keys than the device that shows it")
        self.record(session, "scanned", number=number)
        if not multidevice:
            session.scanned_without_multidevice()
            return _outcome("no_multidevice")
        return await self._link(session, number, code.secret, forge, timeout)

    async def _link(
        self, session: Session, number: str, secret: bytes, forge: Forgery | None, timeout: float
    ) -> dict[str, Any]:
        account = self.accounts.account(number)
        device = account.next_device(session.noise_key, session.identity_key)
        made = offer(
            account.key,
            session.identity_key,
            secret,
            key_index=device.key_index,
            now=time.time(),
            forge=forge,
        )
        if session.script.outcome == "no_success":
            return _outcome("unanswered")
        try:
            answer = await session.request(_pair_success(device, made), timeout)
        except Refused as refused:
            self.record(session, "pair.refused", code=refused.code, text=refused.text)
            return _outcome("refused", code=refused.code, text=refused.text)
        except (TimeoutError, ConnectionError) as error:
            return _outcome("unanswered", text=str(error))
        sign = answer.child("pair-device-sign")
        made.check(sign.data("device-identity") if sign else b"")
        self.accounts.link(number, device)
        self.record(session, "paired", device=device.jid)
        if session.script.outcome == "normal":
            session.stream_error(str(RECONNECT))
        elif session.script.outcome == "lose_515":
            session.drop("fin")
        return _outcome("paired", jid=device.jid)

    def code_hello(self, session: Session, request: Node) -> str:
        jid = request.attrs.get("jid")
        number = jid.user if isinstance(jid, Jid) else ""
        wrapped = request.data("link_code_pairing_wrapped_companion_ephemeral_pub")
        finished: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        ref = f"3@{secrets.token_urlsafe(24)}"
        self._codes[session.number] = CodeRequest(session, number, ref, wrapped, finished)
        return ref

    def code_finish(self, session: Session, request: Node) -> None:
        pending = self._codes.get(session.number)
        if pending is not None and not pending.finished.done():
            pending.finished.set_result(request)

    async def enter_code(self, number: str, text: str, timeout: float) -> dict[str, Any]:
        """Type a pairing code on the phone; see ``service.Phone.enter_code``."""
        code = normalise_code(text)
        pending = next((p for p in reversed(self._codes.values()) if p.number == number), None)
        if pending is None:
            raise PairingError(f"no device asked to be linked to {number} with a code")
        session = pending.session
        account = self.accounts.account(number)
        exchange = await asyncio.to_thread(CodeExchange, account.key, code, pending.wrapped_key)
        children = [
            Node("link_code_pairing_wrapped_primary_ephemeral_pub", content=exchange.wrapped_key),
            Node("primary_identity_pub", content=account.key.public),
            Node("link_code_pairing_ref", content=pending.ref.encode()),
        ]
        session.notify(
            "link_code_companion_reg", [Node("link_code_companion_reg", {"stage": "primary_hello"}, children)]
        )
        try:
            async with asyncio.timeout(timeout):
                answer = await pending.finished
            secret = exchange.finish(
                answer.data("link_code_pairing_wrapped_key_bundle"), session.identity_key
            )
        except TimeoutError:
            return _outcome("unanswered")
        except PairingError as error:
            self.record(session, "pair.refused", code="", text=str(error))
            return _outcome("refused", text=str(error))
        finally:
            self._codes.pop(session.number, None)
        return await self._link(session, number, secret, None, timeout)


def _reserve(port: int) -> socket.socket:
    """A socket that keeps its port even while it does not listen.

    Linux only does so for a port that was asked for by its number, so a free one (``port`` 0) is found with a
    second socket first.
    """
    with socket.socket() as probe, contextlib.ExitStack() as undo:
        reserved = undo.enter_context(socket.socket())
        for sock in (probe, reserved):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        reserved.bind(probe.getsockname())
        reserved.setblocking(False)
        undo.pop_all()
        return reserved


def _outcome(outcome: str, *, jid: str = "", code: str = "", text: str = "") -> dict[str, Any]:
    return {"outcome": outcome, "jid": jid, "code": code, "text": text}


def _pair_success(device: Device, made: Offer) -> Node:
    children = [
        Node("device-identity", content=made.identity),
        Node("device", {"jid": Jid.parse(device.jid), "lid": Jid.parse(device.lid)}),
        Node("platform", {"name": "android"}),
    ]
    return Node("pair-success", content=children)

"""The upper layers of one client's connection: the Noise handshake, registration or login, and stanzas."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from . import wire
from .accounts import Device
from .authority import Authority
from .binary import SERVER_JID, USER_SERVER, BinaryError, Jid, Node, pack, unpack
from .link import Drop, Link, LinkOwner
from .noise import HEADER, Finished, Frames, NoiseError, Responder, frame
from .rules import LoginRefusal, PairingScript, RegistrationRefusal, Silence, Stage

USERNAME, DEVICE, REGISTRATION = 1, 18, 19
E_IDENTITY: Final = 3
RECONNECT: Final = 515


Attrs: TypeAlias = dict[str, str | Jid]


class State(StrEnum):
    """How far a connection has come. ``open`` is reached when a logged-in client declares itself active."""

    CONNECTING = "connecting"
    REGISTERING = "registering"
    AUTHENTICATED = "authenticated"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class SessionOwner(LinkOwner, Protocol):
    """What a session needs from the service it belongs to."""

    authority: Authority
    linger: float

    def record(self, session: Session, kind: str, **detail: Any) -> None: ...

    def lost(self, session: Session) -> None: ...

    def registration_rule(self) -> RegistrationRefusal | None: ...

    def pairing_script(self) -> PairingScript: ...

    def register_refs(self, session: Session, refs: list[str]) -> None: ...

    def login_rule(self, jid: str) -> LoginRefusal | None: ...

    def silence_rule(self, jid: str) -> Silence | None: ...

    def find_device(self, jid: str) -> Device | None: ...

    def logged_in(self, session: Session) -> None: ...

    def remove_device(self, jid: str) -> bool: ...

    def code_hello(self, session: Session, request: Node) -> str: ...

    def code_finish(self, session: Session, request: Node) -> None: ...


class Refused(Exception):
    """The peer answered a request with an error."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        self.text = text


class Session:
    """One connection. Everything runs in the event loop's thread."""

    def __init__(self, owner: SessionOwner, number: int) -> None:
        self._owner = owner
        self.number = number
        self.state = State.CONNECTING
        self.stage = Stage.TCP
        self.opened_at = time.monotonic()
        self.jid = ""
        self.noise_key = b""
        self.identity_key = b""
        self.script = PairingScript()
        self.link = Link(owner, self._staged, self._received, self._lost)
        self._frames = Frames(HEADER)
        self._noise = Responder(owner.authority.static, owner.authority.certificate)
        self._handle: Callable[[bytes], None] = self._hello
        self._ciphers: Finished | None = None
        self._device: Device | None = None
        self._requests: dict[str, asyncio.Future[Node]] = {}
        self._ids = itertools.count(1)
        self._timers: list[asyncio.TimerHandle] = []
        self._mute = False

    def describe(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "state": self.state.value,
            "stage": self.stage.value,
            "jid": self.jid,
            "proxy_user": self.link.proxy_user,
            "age": time.monotonic() - self.opened_at,
        }

    # ---- below the stanzas

    def _staged(self, stage: Stage) -> None:
        self.stage = stage
        self._owner.record(self, stage.value)

    def _lost(self, reason: str) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        for timer in self._timers:
            timer.cancel()
        for future in self._requests.values():
            if not future.done():
                future.set_exception(ConnectionError("the client hung up"))
        self._requests.clear()
        self._owner.lost(self)
        self._owner.record(self, "closed", reason=reason)

    def _received(self, data: bytes) -> None:
        try:
            for body in self._frames.feed(data):
                if self.state is State.CLOSED:
                    return
                self._handle(body)
        except (NoiseError, BinaryError, wire.WireError) as error:
            self._owner.record(self, "protocol.error", error=str(error))
            self.drop("fin")

    def _hello(self, body: bytes) -> None:
        if self.link.strike(Stage.NOISE):
            return
        self.link.send(frame(self._noise.hello(body)))
        self._handle = self._finish

    def _finish(self, body: bytes) -> None:
        finished = self._noise.finish(body)
        self._ciphers, self.noise_key = finished, finished.peer
        self._handle = self._stanza
        self._staged(Stage.NOISE)
        if self.link.strike(Stage.LOGIN):
            return
        payload = wire.decode(finished.payload)
        if REGISTRATION in payload:
            self._register(wire.decode(wire.blob(payload, REGISTRATION, "client payload")))
        else:
            self._login(str(wire.number(payload, USERNAME)), wire.number(payload, DEVICE))

    # ---- stanzas out

    def send(self, node: Node) -> None:
        if self._ciphers is not None and self.state is not State.CLOSED:
            self.link.send(frame(self._ciphers.send.encrypt(pack(node))))

    async def request(self, content: Node, timeout: float) -> Node:
        """Send an ``<iq type="set">`` and return the answer; raises Refused, TimeoutError or
        ConnectionError.
        """
        if self.state in (State.CLOSING, State.CLOSED):
            raise ConnectionError("the client hung up")
        identifier = f"loopback-{next(self._ids)}"
        future: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._requests[identifier] = future
        try:
            attrs: Attrs = {
                "from": SERVER_JID,
                "type": "set",
                "id": identifier,
                "xmlns": "md",
                "t": str(int(time.time())),
            }
            self.send(Node("iq", attrs, [content]))
            async with asyncio.timeout(timeout):
                answer = await future
        finally:
            self._requests.pop(identifier, None)
        if answer.text("type") == "error":
            error = answer.child("error") or Node("error")
            raise Refused(error.text("code"), error.text("text"))
        return answer

    def notify(self, kind: str, content: list[Node]) -> None:
        """Send a notification; the client acknowledges it, which is not waited for."""
        attrs: Attrs = {
            "from": SERVER_JID,
            "type": kind,
            "id": f"loopback-{next(self._ids)}",
            "t": str(int(time.time())),
        }
        self.send(Node("notification", attrs, content))

    def _result(self, request: Node, content: list[Node] | None = None) -> None:
        self.send(Node("iq", {"from": SERVER_JID, "type": "result", "id": request.text("id")}, content))

    def _absent(self, request: Node) -> None:
        """What is asked for is not there: no account here has a picture."""
        attrs: Attrs = {"from": SERVER_JID, "type": "error", "id": request.text("id")}
        self.send(Node("iq", attrs, [Node("error", {"code": "404", "text": "item-not-found"})]))

    def later(self, seconds: float, action: Callable[..., None], *args: Any) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(seconds, action, *args))

    # ---- ends

    def drop(self, how: Drop) -> None:
        self.state = State.CLOSED if self.state is State.CLOSED else State.CLOSING
        self.link.drop(how)

    def _end(self, *, wait: float | None = None) -> None:
        """Say that the stream ends and hang up, after a moment in which the client can act on what came
        before.
        """
        self.state = State.CLOSING
        self.later(self._owner.linger if wait is None else wait, self._hang_up)

    def _hang_up(self) -> None:
        self.send(Node("xmlstreamend"))
        self.link.hang_up()

    def fail(self, reason: int, **attrs: str) -> None:
        """Refuse the login or registration with ``<failure>`` and hang up."""
        self._owner.record(self, "failure", reason=reason)
        self.send(Node("failure", {"reason": str(reason), "location": "lla", **attrs}))
        self._end()

    def stream_error(self, code: str, conflict: str | None = None) -> None:
        """Send ``<stream:error>`` and hang up; after 515 the client is the one that hangs up."""
        self._owner.record(self, "stream.error", code=code, conflict=conflict or "")
        children = [Node("conflict", {"type": conflict})] if conflict else None
        self.send(Node("stream:error", {"code": code}, children))
        self._end(wait=5.0 if code == str(RECONNECT) else None)

    # ---- registration

    def _register(self, data: wire.Fields) -> None:
        self.identity_key = wire.blob(data, E_IDENTITY, "registration", size=32)
        self.state = State.REGISTERING
        refusal = self._owner.registration_rule()
        if refusal is not None:
            self.fail(refusal.reason)
            return
        self.script = self._owner.pairing_script()
        self._owner.record(self, "registration")
        if self.script.lifetimes:
            self._push_code(0)
        else:
            self._offer_refs()

    def _push_code(self, index: int) -> None:
        """Show the next code when the one before has had its scripted life; hang up after the last.

        A client shows the first reference of a batch at once, even while it is still showing an earlier
        batch.
        """
        if index >= len(self.script.lifetimes):
            self._owner.record(self, "refs.over")
            self._hang_up()
            return
        self._offer_refs()
        self.later(self.script.lifetimes[index], self._push_code, index + 1)

    def _offer_refs(self) -> None:
        refs = [f"2@{secrets.token_urlsafe(72)}" for _ in range(self.script.refs)]
        self._owner.register_refs(self, refs)
        attrs: Attrs = {"from": SERVER_JID, "type": "set", "id": f"loopback-{next(self._ids)}", "xmlns": "md"}
        children = [Node("ref", content=ref.encode()) for ref in refs]
        self.send(Node("iq", attrs, [Node("pair-device", content=children)]))
        self._owner.record(self, "refs", count=len(refs))

    def scanned_without_multidevice(self) -> None:
        self.send(Node("ib", {"from": SERVER_JID}, [Node("downgrade_webclient")]))

    # ---- login

    def _login(self, user: str, device_number: int) -> None:
        self.jid = str(Jid(user, USER_SERVER, device_number))
        device = self._owner.find_device(self.jid)
        self._owner.record(self, "login")
        refusal = self._owner.login_rule(self.jid)
        if refusal is not None:
            self.fail(refusal.reason, **refusal.attrs)
        elif device is None or bytes.fromhex(device.noise_key) != self.noise_key:
            self.fail(401)
        else:
            self._admit(device)

    def _admit(self, device: Device) -> None:
        self._device = device
        self.state = State.AUTHENTICATED
        self._owner.logged_in(self)
        attrs: Attrs = {
            "t": str(int(time.time())),
            "location": "lla",
            "props": "27",
            "companion_enc_static": "loopback",
            "lid": Jid.parse(device.lid),
        }
        self.send(Node("success", attrs))
        self._owner.record(self, "success")
        self._mute = self._owner.silence_rule(self.jid) is not None

    def silence(self, on: bool) -> None:
        """Answer nothing while this is on; unlike a black hole, the connection itself goes on."""
        self._mute = on

    # ---- stanzas in

    def _stanza(self, body: bytes) -> None:
        assert self._ciphers is not None
        node = unpack(self._ciphers.receive.decrypt(body))
        if self._mute:
            return
        if node.tag == "iq":
            self._iq(node)
        elif node.tag in ("message", "receipt"):
            attrs: Attrs = {
                "class": node.tag,
                "id": node.text("id"),
                "from": node.attrs.get("to", SERVER_JID),
            }
            self.send(Node("ack", {**attrs, "t": str(int(time.time()))}))

    def _iq(self, node: Node) -> None:
        if node.text("type") in ("result", "error"):
            future = self._requests.get(node.text("id"))
            if future is not None and not future.done():
                future.set_result(node)
            return
        first = node.children[0] if node.children else Node("")
        match (node.text("xmlns"), node.text("type"), first.tag):
            case ("encrypt", "get", "count"):
                count = self._device.prekeys if self._device else 0
                self._result(node, [Node("count", {"value": str(count)})])
            case ("encrypt", "set", _):
                self._upload_prekeys(node)
            case ("passive", "set", "active"):
                self._result(node)
                self._open()
            case ("md", "set", "remove-companion-device"):
                self._log_out(node, first)
            case ("md", "set", "link_code_companion_reg"):
                self._link_code(node, first)
            case ("w:p", "get", _):
                self._result(node)
                self._owner.record(self, "ping")
            case ("w:profile:picture", "get", _):
                self._absent(node)
            case _:
                self._result(node)

    def _upload_prekeys(self, node: Node) -> None:
        listed = node.child("list")
        if self._device is not None and listed is not None:
            self._device.prekeys += len(listed.children)
        self._result(node)
        self._owner.record(self, "prekeys", count=len(listed.children) if listed else 0)

    def _open(self) -> None:
        if self.state is State.AUTHENTICATED:
            self.state = State.OPEN
            self.send(Node("ib", {"from": SERVER_JID}, [Node("offline", {"count": "0"})]))
            self._owner.record(self, "open")

    def _log_out(self, node: Node, request: Node) -> None:
        """A device unlinks itself: answer first, since it hangs up on the answer."""
        self._result(node)
        self._owner.record(self, "logout", reason=request.text("reason"))
        self.state = State.CLOSING
        self._owner.remove_device(self.jid)

    def _link_code(self, node: Node, request: Node) -> None:
        if request.text("stage") == "companion_hello":
            ref = self._owner.code_hello(self, request)
            answer = [Node("link_code_pairing_ref", content=ref.encode())]
            self._result(node, [Node("link_code_companion_reg", {"stage": "companion_hello"}, answer)])
            self._owner.record(self, "code.requested")
        else:
            self._result(node)
            self._owner.code_finish(self, request)

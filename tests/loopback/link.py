"""The lower layers of one client's connection: TCP, the proxy's CONNECT, TLS and the websocket.

A link is a sans-I/O stack on an asyncio transport: no task and no stream object for each connection, and
every layer can be made to fail at its first byte. What arrives in websocket messages is handed up as a byte
stream.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket
import ssl
import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Literal, Protocol

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from .authority import SERVER_NAME
from .noise import FRAME_MAX
from .rules import ConnectionFault, Stage

HEAD_MAX: Final = 16 * 1024
TLS_CHUNK: Final = 64 * 1024
BACKLOG_MAX: Final = 8 << 20
CLOSE_WAIT: Final = 1.0
RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Drop = Literal["reset", "close_frame", "fin"]


class LinkOwner(Protocol):
    """What a link needs from the service it belongs to."""

    tls: ssl.SSLContext

    def fault_at(self, stage: Stage) -> ConnectionFault | None: ...

    def admits(self, credentials: tuple[str, str] | None) -> bool: ...


class Link(asyncio.Protocol):
    """One client's connection up to the websocket.

    ``on_data`` gets the bytes of websocket messages, ``on_stage`` each stage as it is completed,
    ``on_lost`` is called once when the connection is gone. All run in the event loop's thread.
    """

    def __init__(
        self,
        owner: LinkOwner,
        on_stage: Callable[[Stage], None],
        on_data: Callable[[bytes], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._owner = owner
        self._on_stage = on_stage
        self._on_data = on_data
        self._on_lost = on_lost
        self._receive: Callable[[bytes], None] = self._receive_connect
        self._head = bytearray()
        self._held: list[bytes] | None = None
        self._hung = False
        self._hang_up_due = False
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        self._websocket = ServerProtocol(max_size=FRAME_MAX)
        self._transport: asyncio.Transport | None = None
        self._closer: asyncio.TimerHandle | None = None
        self._reason = ""
        self.proxy_user = ""

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._hung:
            self._receive(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._closer is not None:
            self._closer.cancel()
        self._on_lost(self._reason or (str(error) if error else ""))

    # ---- stages

    def strike(self, stage: Stage) -> bool:
        """Apply the fault that is in force for this stage, if any; True if the connection is not to go on."""
        fault = self._owner.fault_at(stage)
        if fault is None:
            return False
        if fault.how == "hang":
            self._hung = True
        elif fault.how == "reset":
            self.drop("reset")
        elif fault.how == "status":
            self._answer_status(fault)
        else:
            self.drop("fin")
        return True

    def _answer_status(self, fault: ConnectionFault) -> None:
        if fault.stage is Stage.CONNECT:
            self._refuse_proxying(fault.status)
            return
        self._websocket.send_response(self._websocket.reject(HTTPStatus(fault.status), "refused\n"))
        self._flush_websocket()

    def _receive_connect(self, data: bytes) -> None:
        if not self._head and self.strike(Stage.CONNECT):
            return
        self._head += data
        head, end, rest = bytes(self._head).partition(b"\r\n\r\n")
        if not end:
            if len(head) > HEAD_MAX:
                self._refuse_proxying(431)
            return
        request, *headers = head.decode("latin-1").split("\r\n")
        method, _, target = request.partition(" ")
        if method != "CONNECT":
            self._refuse_proxying(405)
        elif not self._owner.admits(credentials := _credentials(headers)):
            self._refuse_proxying(407, "Proxy-Authenticate: Basic realm=loopback\r\n")
        elif target.partition(" ")[0] != f"{SERVER_NAME}:443":
            self._refuse_proxying(502)
        else:
            self.proxy_user = credentials[0] if credentials else ""
            self._write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self._on_stage(Stage.CONNECT)
            self._receive = self._receive_tls
            if rest:
                self._receive(rest)

    def _refuse_proxying(self, status: int, header: str = "") -> None:
        reason = HTTPStatus(status).phrase
        self._write(f"HTTP/1.1 {status} {reason}\r\n{header}Content-Length: 0\r\n\r\n".encode())
        self.drop("fin")

    def _receive_tls(self, data: bytes) -> None:
        if self._tls is None:
            if self.strike(Stage.TLS):
                return
            self._tls = self._owner.tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
            self._receive = self._receive_handshake
        self._receive(data)

    def _receive_handshake(self, data: bytes) -> None:
        assert self._tls is not None
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush_tls()
            return
        except ssl.SSLError as error:
            self._flush_tls()
            self._abort(f"TLS: {error.reason}")
            return
        self._flush_tls()
        self._on_stage(Stage.TLS)
        self._receive = self._receive_record
        self._receive(b"")

    def _receive_record(self, data: bytes) -> None:
        assert self._tls is not None
        self._incoming.write(data)
        while self._transport is not None and not self._hung:
            try:
                plain = self._tls.read(TLS_CHUNK)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._abort(f"TLS: {error.reason}")
                return
            if not plain:
                self.drop("fin")
                return
            self._receive_websocket(plain)

    def _receive_websocket(self, data: bytes) -> None:
        self._websocket.receive_data(data)
        self._flush_websocket()
        for event in self._websocket.events_received():
            if self._transport is None or self._hung:
                return
            if isinstance(event, Request):
                self._upgrade(event)
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                self._on_data(bytes(event.data))

    def _upgrade(self, request: Request) -> None:
        if self.strike(Stage.WEBSOCKET):
            return
        response = self._websocket.accept(request)
        self._websocket.send_response(response)
        self._flush_websocket()
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._on_stage(Stage.WEBSOCKET)

    # ---- output

    def send(self, data: bytes) -> None:
        """Send one binary websocket message; nothing happens on a connection that is closing."""
        if self._transport is not None and not self._websocket.close_expected():
            self._websocket.send_binary(data)
            self._flush_websocket()

    def _flush_websocket(self) -> None:
        finished = False
        for chunk in self._websocket.data_to_send():
            if chunk and self._tls is not None:
                self._tls.write(chunk)
            finished = finished or not chunk
        self._flush_tls()
        if finished:
            self.drop("fin")

    def _flush_tls(self) -> None:
        if data := self._outgoing.read():
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._held is not None:
            self._held.append(data)
        elif self._transport is not None:
            self._transport.write(data)
            if self._transport.get_write_buffer_size() > BACKLOG_MAX:
                self._abort("the client does not read")

    # ---- ends

    def hang_up(self) -> None:
        """End the connection from the service's side; through a black hole it is only seen when that ends."""
        if self._held is None:
            self.drop("close_frame")
        else:
            self._hang_up_due = True

    def drop(self, how: Drop) -> None:
        """End the connection at once: with RST, with a websocket close frame, or with a bare FIN."""
        transport = self._transport
        if transport is None:
            return
        if how == "close_frame" and self._websocket.state is State.OPEN:
            self._websocket.send_close(1000)
            self._flush_websocket()
            loop = asyncio.get_running_loop()
            self._closer = loop.call_later(CLOSE_WAIT, self._abort, "no answer to the close frame")
        elif how == "fin":
            self.black_hole(False)
            transport.close()
        else:
            sock: socket.socket = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            transport.abort()

    def _abort(self, reason: str) -> None:
        if self._transport is not None:
            self._reason = reason
            self._transport.abort()

    def black_hole(self, on: bool) -> None:
        """Let nothing through in either direction, as a dead network path does; what is held arrives when
        it ends.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or on == (self._held is not None):
            return
        if on:
            self._held = []
            transport.pause_reading()
            return
        held, self._held = self._held or [], None
        for data in held:
            self._write(data)
        transport.resume_reading()
        if self._hang_up_due:
            self.drop("close_frame")


def _credentials(headers: list[str]) -> tuple[str, str] | None:
    """User and password of a ``Proxy-Authorization: Basic`` header."""
    for line in headers:
        name, _, value = line.partition(":")
        scheme, _, encoded = value.strip().partition(" ")
        if name.strip().lower() == "proxy-authorization" and scheme.lower() == "basic":
            try:
                user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return None
            return user, password
    return None

"""A client of the protocol without a WhatsApp library: fast, and free to break every rule."""

from __future__ import annotations

import contextlib
import ssl
from typing import Self

from websockets.sync.client import connect

from . import wire
from .binary import Node, pack, unpack
from .keys import KeyPair
from .noise import HEADER, Frames, Initiator, frame
from .service import LoopbackService

URL = "wss://web.whatsapp.com/ws/chat"


class RawClient:
    """One connection through the proxy, up to the encrypted stanzas; a context manager that closes it."""

    def __init__(self, wa: LoopbackService, noise_key: KeyPair | None = None) -> None:
        self.noise_key = noise_key or KeyPair.generate()
        self.identity_key = KeyPair.generate()
        trust = ssl.create_default_context(cafile=wa.authority.ca_file)
        dial = connect(URL, proxy=wa.proxy_url, ssl=trust, compression=None, open_timeout=5)
        self._dial = contextlib.ExitStack()
        self.websocket = self._dial.enter_context(dial)
        self._frames = Frames()
        self._waiting: list[bytes] = []

    def _receive_frame(self, timeout: float) -> bytes:
        while not self._waiting:
            message = self.websocket.recv(timeout)
            assert isinstance(message, bytes)
            self._waiting = self._frames.feed(message)
        return self._waiting.pop(0)

    def handshake(self, payload: bytes) -> Self:
        noise = Initiator(self.noise_key)
        self.websocket.send(HEADER + frame(noise.hello()))
        last, self.ciphers = noise.finish(self._receive_frame(5), payload)
        self.websocket.send(frame(last))
        return self

    def register(self) -> Self:
        """Ask to be paired."""
        return self.handshake(wire.encode((19, wire.encode((3, self.identity_key.public)))))

    def log_in(self, number: str, device: int = 1) -> Self:
        return self.handshake(wire.encode((1, int(number)), (18, device)))

    def send(self, node: Node) -> None:
        self.websocket.send(frame(self.ciphers.send.encrypt(pack(node))))

    def receive(self, timeout: float = 5) -> Node:
        return unpack(self.ciphers.receive.decrypt(self._receive_frame(timeout)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.websocket.close_socket()
        self._dial.close()

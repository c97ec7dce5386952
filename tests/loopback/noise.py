"""Noise_XX_25519_AESGCM_SHA256 as WhatsApp runs it: both roles, and the encrypted frames that follow.

Every message travels in a frame of a 3-byte big-endian length and a body. The first frame of a client is
preceded by the 4-byte connection header, which is also the prologue of the handshake. Handshake bodies are
``HandshakeMessage`` protocol buffers; later bodies are AES-256-GCM with a counter nonce for each direction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from . import binary, wire
from .keys import KEY_SIZE, KeyPair, derive

PATTERN: Final = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"
HEADER: Final = bytes((*b"WA", 6, binary.DICTIONARY_VERSION))
FRAME_MAX: Final = 1 << 24
LENGTH_SIZE: Final = 3

CLIENT_HELLO, SERVER_HELLO, CLIENT_FINISH = 2, 3, 4


class NoiseError(ValueError):
    """A handshake message or an encrypted frame that does not verify."""


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


class Cipher:
    """One direction of an established connection."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._counter = 0

    def _next(self) -> bytes:
        nonce = _nonce(self._counter)
        self._counter += 1
        return nonce

    def encrypt(self, plaintext: bytes) -> bytes:
        return self._aead.encrypt(self._next(), plaintext, None)

    def decrypt(self, ciphertext: bytes) -> bytes:
        try:
            return self._aead.decrypt(self._next(), ciphertext, None)
        except InvalidTag as error:
            raise NoiseError("frame does not decrypt") from error


class SymmetricState:
    """The running hash, salt and key of a handshake (Noise specification, section 5.2)."""

    def __init__(self, header: bytes) -> None:
        self._hash = PATTERN
        self._salt = PATTERN
        self._aead = AESGCM(PATTERN)
        self._counter = 0
        self.authenticate(header)

    def authenticate(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def mix(self, secret: bytes) -> None:
        keys = derive(secret, 2 * KEY_SIZE, salt=self._salt)
        self._salt, self._aead, self._counter = keys[:KEY_SIZE], AESGCM(keys[KEY_SIZE:]), 0

    def encrypt(self, plaintext: bytes) -> bytes:
        return self._crypt(self._aead.encrypt, plaintext, authenticate_output=True)

    def decrypt(self, ciphertext: bytes) -> bytes:
        try:
            return self._crypt(self._aead.decrypt, ciphertext, authenticate_output=False)
        except InvalidTag as error:
            raise NoiseError("handshake message does not decrypt") from error

    def _crypt(
        self, run: Callable[[bytes, bytes, bytes | None], bytes], data: bytes, *, authenticate_output: bool
    ) -> bytes:
        result = run(_nonce(self._counter), data, self._hash)
        self._counter += 1
        self.authenticate(result if authenticate_output else data)
        return result

    def split(self) -> tuple[Cipher, Cipher]:
        """The ciphers client to server, server to client."""
        keys = derive(b"", 2 * KEY_SIZE, salt=self._salt)
        return Cipher(keys[:KEY_SIZE]), Cipher(keys[KEY_SIZE:])


@dataclass(frozen=True, slots=True)
class Finished:
    """What the handshake proved: the peer's static key, what it sent along, and the ciphers."""

    peer: bytes
    payload: bytes
    send: Cipher
    receive: Cipher


class Responder:
    """The server: ``hello`` answers the first message, ``finish`` reads the third."""

    def __init__(self, static: KeyPair, certificate: bytes, header: bytes = HEADER) -> None:
        self._static = static
        self._certificate = certificate
        self._ephemeral = KeyPair.generate()
        self._state = SymmetricState(header)

    def hello(self, message: bytes) -> bytes:
        peer = _part(message, CLIENT_HELLO, 1, KEY_SIZE)
        state = self._state
        state.authenticate(peer)
        state.authenticate(self._ephemeral.public)
        state.mix(_agree(self._ephemeral, peer))
        static = state.encrypt(self._static.public)
        state.mix(_agree(self._static, peer))
        payload = state.encrypt(self._certificate)
        body = wire.encode((1, self._ephemeral.public), (2, static), (3, payload))
        return wire.encode((SERVER_HELLO, body))

    def finish(self, message: bytes) -> Finished:
        state = self._state
        peer = state.decrypt(_part(message, CLIENT_FINISH, 1))
        state.mix(_agree(self._ephemeral, peer))
        payload = state.decrypt(_part(message, CLIENT_FINISH, 2))
        receive, send = state.split()
        return Finished(peer, payload, send, receive)


class Initiator:
    """The client, for tests of the server without a WhatsApp library."""

    def __init__(self, static: KeyPair, header: bytes = HEADER) -> None:
        self._static = static
        self._ephemeral = KeyPair.generate()
        self._state = SymmetricState(header)

    def hello(self) -> bytes:
        self._state.authenticate(self._ephemeral.public)
        return wire.encode((CLIENT_HELLO, wire.encode((1, self._ephemeral.public))))

    def finish(self, message: bytes, payload: bytes) -> tuple[bytes, Finished]:
        """Read the server's hello and answer it with ``payload``: the answer, and what was established."""
        state = self._state
        peer = _part(message, SERVER_HELLO, 1, KEY_SIZE)
        state.authenticate(peer)
        state.mix(_agree(self._ephemeral, peer))
        static = state.decrypt(_part(message, SERVER_HELLO, 2))
        state.mix(_agree(self._ephemeral, static))
        certificate = state.decrypt(_part(message, SERVER_HELLO, 3))
        encrypted_static = state.encrypt(self._static.public)
        state.mix(_agree(self._static, peer))
        body = wire.encode((1, encrypted_static), (2, state.encrypt(payload)))
        send, receive = state.split()
        return wire.encode((CLIENT_FINISH, body)), Finished(static, certificate, send, receive)


def _agree(pair: KeyPair, public: bytes) -> bytes:
    try:
        return pair.agree(public)
    except ValueError as error:
        raise NoiseError(f"unusable public key: {error}") from error


def _part(message: bytes, kind: int, field: int, size: int | None = None) -> bytes:
    try:
        body = wire.decode(wire.blob(wire.decode(message), kind, "handshake message"))
        return wire.blob(body, field, "handshake message", size=size)
    except wire.WireError as error:
        raise NoiseError(str(error)) from error


def frame(body: bytes) -> bytes:
    """A body with its length before it."""
    if len(body) >= FRAME_MAX:
        raise NoiseError(f"frame of {len(body)} bytes, at most {FRAME_MAX - 1} are allowed")
    return len(body).to_bytes(LENGTH_SIZE, "big") + body


class Frames:
    """Cuts a byte stream into frame bodies; on the server's side it also takes the header off."""

    def __init__(self, header: bytes = b"") -> None:
        self._header = header
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        if self._header:
            if len(self._buffer) < len(self._header):
                return []
            if not self._buffer.startswith(self._header):
                raise NoiseError(
                    f"connection header is {bytes(self._buffer[:4])!r}, expected {self._header!r}"
                )
            del self._buffer[: len(self._header)]
            self._header = b""
        bodies = []
        while len(self._buffer) >= LENGTH_SIZE:
            end = LENGTH_SIZE + int.from_bytes(self._buffer[:LENGTH_SIZE], "big")
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[LENGTH_SIZE:end]))
            del self._buffer[:end]
        return bodies

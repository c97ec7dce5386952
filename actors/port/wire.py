"""Framing between the host and a port: length, version, JSON.

A frame is a big-endian 32-bit length, one version byte and a JSON object in UTF-8; the length counts the
version byte and the body. Nothing executable crosses the boundary (no pickle), and both sides bound what they
accept.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

VERSION = 1
MAX_BODY = 256 * 1024
"""Bytes of JSON that one frame may carry."""

_HEADER = struct.Struct(">IB")
_LENGTH_BYTES = 4


class WireError(ValueError):
    """The other side sent something that is not a frame of this version."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Make one frame.

    Raises:
        WireError: the message is not JSON, or larger than `MAX_BODY`.
    """
    try:
        body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"message cannot be written as JSON: {error}") from None
    if len(body) > MAX_BODY:
        raise WireError(f"message of {len(body)} bytes; allowed are {MAX_BODY}")
    return _HEADER.pack(len(body) + 1, VERSION) + body


class Decoder:
    """Turns chunks of bytes, however cut, into messages. Holds at most one incomplete frame.

    After a `WireError` the stream has no frame boundary any more, so every later call fails too.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken: str | None = None

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame that are held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Give the messages that `data` completes, in order.

        The frames before a broken one are given before the error is raised.

        Raises:
            WireError: not a frame of this version, too large, or not a JSON object.
        """
        if self._broken is not None:
            raise WireError(self._broken)
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _HEADER.size:
                length, version = _HEADER.unpack_from(self._buffer, start)
                if version != VERSION:
                    self._fail(f"unknown wire version {version}; this side speaks {VERSION}")
                if not 1 < length <= MAX_BODY + 1:
                    self._fail(f"frame of {length} bytes; allowed are 2 to {MAX_BODY + 1}")
                end = start + _LENGTH_BYTES + length
                if len(self._buffer) < end:
                    break
                body = bytes(self._buffer[start + _HEADER.size : end])
                start = end
                yield self._parse(body)
        finally:
            del self._buffer[:start]

    def _parse(self, body: bytes) -> dict[str, Any]:
        try:
            message = json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            self._fail("frame body is not JSON")
        if not isinstance(message, dict):
            self._fail("frame body is not a JSON object")
        return message

    def _fail(self, why: str) -> NoReturn:
        self._broken = why
        raise WireError(why)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

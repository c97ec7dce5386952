"""Just enough of the protocol buffer wire format for WhatsApp's handshake and pairing messages.

Messages are written and read by field number; the few that are needed are named in the modules that use
them. Field numbers are those of the WAWebProtobufsWa6, WACert and WAAdv schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES: Final = 10

Value: TypeAlias = int | bytes
Fields: TypeAlias = Mapping[int, list[Value]]


class WireError(ValueError):
    """Data that is not a protocol buffer, or lacks a field that it must have."""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode(*fields: tuple[int, Value]) -> bytes:
    """Write ``(field number, value)`` pairs: numbers as varints, bytes with their length."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3 | VARINT) + _varint(value)
        else:
            out += _varint(number << 3 | LENGTH) + _varint(len(value)) + value
    return bytes(out)


def decode(data: bytes) -> dict[int, list[Value]]:
    """Every field with all its values, in order; raises WireError on malformed data."""
    fields: dict[int, list[Value]] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        kind = key & 7
        value: Value
        if kind == VARINT:
            value, at = _read_varint(data, at)
        else:
            if kind == LENGTH:
                size, at = _read_varint(data, at)
            elif kind in (FIXED64, FIXED32):
                size = 8 if kind == FIXED64 else 4
            else:
                raise WireError(f"wire type {kind} at byte {at}")
            if at + size > len(data):
                raise WireError(f"field {key >> 3} ends {at + size - len(data)} bytes after the message")
            value = data[at : at + size]
            at += size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(MAX_VARINT_BYTES):
        if at >= len(data):
            raise WireError("message ends inside a number")
        byte = data[at]
        at += 1
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, at
    raise WireError(f"number longer than {MAX_VARINT_BYTES} bytes at byte {at}")


def blob(fields: Fields, number: int, what: str, *, size: int | None = None) -> bytes:
    """The last value of a bytes field; raises WireError if it is missing or not ``size`` bytes long."""
    value = fields.get(number, [0])[-1]
    if not isinstance(value, bytes) or (size is not None and len(value) != size):
        raise WireError(f"{what}: expected {size if size is not None else 'some'} bytes in field {number}")
    return value


def number(fields: Fields, index: int, default: int = 0) -> int:
    """The last value of a number field."""
    value = fields.get(index, [default])[-1]
    if not isinstance(value, int):
        raise WireError(f"field {index} is not a number")
    return value

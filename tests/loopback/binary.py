"""WhatsApp's binary stanza format: an XML-like tree packed with a token dictionary.

The dictionary (``tokens.json``) is version 3, the one a client announces in its connection header. A packed
stanza starts with one flag byte; bit 2 says that the rest is zlib compressed.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

DICTIONARY_VERSION: Final = 3
MAX_DEPTH: Final = 64
MAX_INFLATED: Final = 1 << 24

LIST_EMPTY, DICTIONARY_0, INTEROP_JID, FB_JID, AD_JID = 0, 236, 245, 246, 247
LIST_8, LIST_16, JID_PAIR, HEX_8 = 248, 249, 250, 251
BINARY_8, BINARY_20, BINARY_32, NIBBLE_8 = 252, 253, 254, 255
PACKED_MAX: Final = 127

USER_SERVER: Final = "s.whatsapp.net"
LID_SERVER: Final = "lid"
AD_DOMAINS: Final = {0: USER_SERVER, 1: LID_SERVER, 128: "hosted", 129: "hosted.lid"}
AD_AGENTS: Final = {server: agent for agent, server in AD_DOMAINS.items()}

NIBBLES: Final = "0123456789-."
HEXES: Final = "0123456789ABCDEF"


def _load_tokens() -> tuple[list[str], list[list[str]]]:
    data = json.loads((Path(__file__).parent / "tokens.json").read_text())
    if data["v"] != DICTIONARY_VERSION:
        raise ValueError(f"tokens.json: dictionary version {data['v']}, expected {DICTIONARY_VERSION}")
    return data["single"], data["double"]


SINGLE, DOUBLE = _load_tokens()
_SINGLE_INDEX = {token: index for index, token in enumerate(SINGLE) if token}
_DOUBLE_INDEX = {
    token: (dictionary, index)
    for dictionary, tokens in enumerate(DOUBLE)
    for index, token in enumerate(tokens)
}


class BinaryError(ValueError):
    """Data that is not a stanza, or a stanza that cannot be packed."""


@dataclass(frozen=True, slots=True)
class Jid:
    """An address: ``user:device@server``. ``device`` 0 is the phone itself."""

    user: str
    server: str
    device: int = 0
    integrator: int = 0

    def __str__(self) -> str:
        if not self.user:
            return self.server
        device = f":{self.device}" if self.device else ""
        return f"{self.user}{device}@{self.server}"

    @classmethod
    def parse(cls, text: str) -> Jid:
        """Read ``user@server`` or ``user:device@server``; raises BinaryError for anything else."""
        user, at, server = text.partition("@")
        name, colon, device = user.partition(":")
        if not at or not name or not server or (colon and not device.isdecimal()):
            raise BinaryError(f"jid {text!r} is not user@server or user:device@server")
        return cls(name, server, int(device) if colon else 0)


def covers(pattern: str | None, jid: str) -> bool:
    """Whether a pattern (a device, a bare phone number, or None for everyone) covers the device ``jid``."""
    return pattern in (None, jid, jid.partition("@")[0].partition(":")[0])


SERVER_JID: Final = Jid("", USER_SERVER)

Content: TypeAlias = "bytes | str | Jid | list[Node] | None"


@dataclass(slots=True)
class Node:
    """One element: tag, attributes, and either bytes, a string, child elements or nothing."""

    tag: str
    attrs: dict[str, str | Jid] = field(default_factory=dict)
    content: Content = None

    @property
    def children(self) -> list[Node]:
        return self.content if isinstance(self.content, list) else []

    def child(self, tag: str) -> Node | None:
        return next((node for node in self.children if node.tag == tag), None)

    def text(self, name: str) -> str:
        """The attribute as a string, empty when it is missing."""
        return str(self.attrs.get(name, ""))

    def data(self, tag: str) -> bytes:
        """The bytes in the child ``tag``, empty when there is none."""
        child = self.child(tag)
        if child is None:
            return b""
        return child.content.encode() if isinstance(child.content, str) else bytes_or_nothing(child.content)


def bytes_or_nothing(content: Content) -> bytes:
    return content if isinstance(content, bytes) else b""


# ---- packing


def pack(node: Node) -> bytes:
    """One stanza with its (zero) flag byte, ready to be encrypted."""
    out = bytearray(b"\0")
    _write_node(out, node)
    return bytes(out)


def _write_list_start(out: bytearray, size: int) -> None:
    if size == 0:
        out.append(LIST_EMPTY)
    elif size < 256:
        out += bytes((LIST_8, size))
    elif size < 1 << 16:
        out.append(LIST_16)
        out += size.to_bytes(2, "big")
    else:
        raise BinaryError(f"list of {size} elements is longer than 65535")


def _write_node(out: bytearray, node: Node) -> None:
    attrs = {key: value for key, value in node.attrs.items() if value != ""}
    content = node.content or None
    _write_list_start(out, 1 + 2 * len(attrs) + (content is not None))
    _write_string(out, node.tag)
    for key, value in attrs.items():
        _write_string(out, key)
        _write_value(out, value)
    if content is not None:
        _write_value(out, content)


def _write_value(out: bytearray, value: str | bytes | Jid | list[Node]) -> None:
    if isinstance(value, str):
        _write_string(out, value)
    elif isinstance(value, Jid):
        _write_jid(out, value)
    elif isinstance(value, list):
        _write_list_start(out, len(value))
        for node in value:
            _write_node(out, node)
    else:
        _write_raw(out, value)


def _write_raw(out: bytearray, data: bytes) -> None:
    size = len(data)
    if size < 256:
        out += bytes((BINARY_8, size))
    elif size < 1 << 20:
        out.append(BINARY_20)
        out += size.to_bytes(3, "big")
    else:
        out.append(BINARY_32)
        out += size.to_bytes(4, "big")
    out += data


def _write_string(out: bytearray, text: str) -> None:
    if (single := _SINGLE_INDEX.get(text)) is not None:
        out.append(single)
    elif (double := _DOUBLE_INDEX.get(text)) is not None:
        out += bytes((DICTIONARY_0 + double[0], double[1]))
    elif len(text) <= PACKED_MAX and all(char in NIBBLES for char in text):
        _write_packed(out, text, NIBBLE_8, NIBBLES)
    elif len(text) <= PACKED_MAX and all(char in HEXES for char in text):
        _write_packed(out, text, HEX_8, HEXES)
    else:
        _write_raw(out, text.encode())


def _write_packed(out: bytearray, text: str, tag: int, alphabet: str) -> None:
    odd = len(text) % 2
    out += bytes((tag, (len(text) + 1) // 2 | odd << 7))
    digits = [alphabet.index(char) for char in text] + [15] * odd
    out += bytes(high << 4 | low for high, low in zip(digits[::2], digits[1::2], strict=True))


def _write_jid(out: bytearray, jid: Jid) -> None:
    agent = AD_AGENTS.get(jid.server)
    if agent is not None and (jid.device or agent >= 128):
        out += bytes((AD_JID, agent, jid.device))
        _write_string(out, jid.user)
    elif jid.server in ("msgr", "interop"):
        out.append(FB_JID if jid.server == "msgr" else INTEROP_JID)
        _write_string(out, jid.user)
        out += jid.device.to_bytes(2, "big")
        if jid.server == "interop":
            out += jid.integrator.to_bytes(2, "big")
        _write_string(out, jid.server)
    else:
        out.append(JID_PAIR)
        if jid.user:
            _write_string(out, jid.user)
        else:
            out.append(LIST_EMPTY)
        _write_string(out, jid.server)


# ---- unpacking


def unpack(data: bytes) -> Node:
    """The stanza in a decrypted frame; raises BinaryError when it is not one."""
    if not data:
        raise BinaryError("empty frame")
    body = data[1:]
    if data[0] & 2:
        inflater = zlib.decompressobj()
        try:
            body = inflater.decompress(body, MAX_INFLATED)
        except zlib.error as error:
            raise BinaryError(f"compressed stanza: {error}") from error
        if inflater.unconsumed_tail:
            raise BinaryError(f"compressed stanza is longer than {MAX_INFLATED} bytes")
    reader = _Reader(body)
    try:
        node = reader.node(0)
    except UnicodeDecodeError as error:
        raise BinaryError(f"text is not UTF-8: {error}") from error
    if reader.at != len(body):
        raise BinaryError(f"{len(body) - reader.at} bytes after the stanza")
    return node


class _Reader:
    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise BinaryError(f"stanza ends at byte {len(self.data)}, {size} more were expected at {self.at}")
        chunk = self.data[self.at : end]
        self.at = end
        return chunk

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def list_size(self, tag: int) -> int:
        if tag == LIST_EMPTY:
            return 0
        if tag == LIST_8:
            return self.number(1)
        if tag == LIST_16:
            return self.number(2)
        raise BinaryError(f"byte {tag} at {self.at} does not start a list")

    def node(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise BinaryError(f"stanza is nested deeper than {MAX_DEPTH}")
        size = self.list_size(self.number(1))
        tag = self.string() if size else ""
        if not tag:
            raise BinaryError("element without a tag")
        attrs: dict[str, str | Jid] = {}
        for _ in range((size - 1) // 2):
            key = self.string()
            value = self.value(text=True, depth=depth)
            if not isinstance(value, str | Jid):
                raise BinaryError(f"attribute {key!r} is neither text nor an address")
            attrs[key] = value
        return Node(tag, attrs, None if size % 2 else self.value(text=False, depth=depth))

    def string(self) -> str:
        value = self.value(text=True, depth=MAX_DEPTH)
        if not isinstance(value, str):
            raise BinaryError(f"text expected at {self.at}")
        return value

    def value(self, *, text: bool, depth: int) -> Content:
        tag = self.number(1)
        if tag == LIST_EMPTY:
            return None
        if tag in (LIST_8, LIST_16):
            return [self.node(depth + 1) for _ in range(self.list_size(tag))]
        if tag in (BINARY_8, BINARY_20, BINARY_32):
            size = self.number({BINARY_8: 1, BINARY_20: 3, BINARY_32: 4}[tag])
            raw = self.take(size & 0xFFFFF if tag == BINARY_20 else size)
            return raw.decode() if text else raw
        if DICTIONARY_0 <= tag < DICTIONARY_0 + len(DOUBLE):
            return DOUBLE[tag - DICTIONARY_0][self.number(1)]
        if tag in (JID_PAIR, AD_JID, FB_JID, INTEROP_JID):
            return self.jid(tag)
        if tag in (NIBBLE_8, HEX_8):
            return self.packed(NIBBLES if tag == NIBBLE_8 else HEXES)
        if tag < len(SINGLE):
            return SINGLE[tag]
        raise BinaryError(f"unknown token {tag} at {self.at}")

    def packed(self, alphabet: str) -> str:
        start = self.number(1)
        digits = [digit for byte in self.take(start & 127) for digit in (byte >> 4, byte & 15)]
        if start >> 7:
            del digits[-1:]
        if any(digit >= len(alphabet) for digit in digits):
            raise BinaryError(f"packed text before {self.at} has a digit outside its alphabet")
        return "".join(alphabet[digit] for digit in digits)

    def jid(self, tag: int) -> Jid:
        if tag == AD_JID:
            agent, device = self.take(2)
            return Jid(self.string(), AD_DOMAINS.get(agent, USER_SERVER), device)
        if tag == JID_PAIR:
            user = self.value(text=True, depth=MAX_DEPTH)
            if user is not None and not isinstance(user, str):
                raise BinaryError(f"address before {self.at} has no textual user")
            return Jid(user or "", self.string())
        user_text = self.string()
        device = self.number(2)
        integrator = self.number(2) if tag == INTEROP_JID else 0
        return Jid(user_text, self.string(), device, integrator)

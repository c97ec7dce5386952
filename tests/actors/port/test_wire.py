"""Frames: whatever is sent arrives, however it is cut; whatever is no frame is refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.port.wire import MAX_BODY, VERSION, Decoder, WireError, encode

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.dictionaries(st.text(), JSON, max_size=5)


def frame(body: bytes, version: int = VERSION) -> bytes:
    return struct.pack(">IB", len(body) + 1, version) + body


def feed_in_chunks(data: bytes, cuts: list[int]) -> tuple[list[Any], Decoder]:
    messages: list[Any] = []
    decoder, start = Decoder(), 0
    for cut in [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]:
        messages += decoder.feed(data[start:cut])
        start = cut
    return messages, decoder


@given(st.lists(MESSAGES, max_size=6), st.lists(st.integers(0, 10**6), max_size=12))
def test_what_is_encoded_is_decoded_in_order_however_it_is_cut(sent: list[Any], cuts: list[int]) -> None:
    received, decoder = feed_in_chunks(b"".join(map(encode, sent)), cuts)
    assert received == sent
    assert decoder.pending == 0


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_garbage_gives_messages_or_a_wire_error_and_never_holds_more_than_a_frame(
    data: bytes, cuts: list[int]
) -> None:
    try:
        messages, decoder = feed_in_chunks(data, cuts)
    except WireError:
        return
    assert all(isinstance(message, dict) for message in messages)
    assert decoder.pending <= MAX_BODY + 5


@given(MESSAGES, st.binary(min_size=1, max_size=40))
def test_messages_before_garbage_are_given_before_the_error(message: Any, body: bytes) -> None:
    messages = Decoder().feed(encode(message) + frame(b"\xff" + body))
    assert next(messages) == message
    with pytest.raises(WireError):
        next(messages)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (frame(b"{}", version=2), "version 2"),
        (frame(b"[]"), "not a JSON object"),
        (frame(b"nonsense"), "not JSON"),
        (frame(b'{"a": NaN}'), "not JSON"),
        (frame(b"[" * 100_000), "not JSON"),
        (frame(b'{"a":' + b"9" * 10_000 + b"}"), "not JSON"),
        (struct.pack(">IB", MAX_BODY + 2, VERSION), "allowed are"),
        (struct.pack(">IB", 1, VERSION), "allowed are"),
        (struct.pack(">IB", 0, VERSION), "allowed are"),
    ],
)
def test_what_is_no_frame_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        list(Decoder().feed(data))


def test_after_an_error_the_stream_stays_broken() -> None:
    decoder = Decoder()
    with pytest.raises(WireError):
        list(decoder.feed(frame(b"nonsense")))
    with pytest.raises(WireError):
        list(decoder.feed(encode({})))


@pytest.mark.parametrize(
    "message", [{"a": float("nan")}, {"a": b"bytes"}, {"a": object()}, {"a": "x" * MAX_BODY}]
)
def test_what_is_not_json_or_too_large_cannot_be_sent(message: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        encode(message)


def test_the_largest_frame_fits() -> None:
    message = {"a": "x" * (MAX_BODY - len(json.dumps({"a": ""}, separators=(",", ":"))))}
    assert list(Decoder().feed(encode(message))) == [message]

"""Error texts of the Go side, as they were seen, and what they mean."""

from __future__ import annotations

import pytest

from actors.port import events
from actors.port.failures import (
    dial_cause,
    failure_attributes,
    is_dial_error,
    logged_out,
    store_fault,
    untold,
)

DIAL = "failed to dial whatsapp web websocket: failed to WebSocket dial: "
GET = DIAL + 'failed to send handshake request: Get "https://web.whatsapp.com/ws/chat": '

CAUSES = {
    GET + "dial tcp: lookup web.whatsapp.com on 10.0.0.53:53: no such host": "dns",
    GET + "dial tcp: lookup web.whatsapp.com: i/o timeout": "dns",
    GET + "dial tcp: lookup web.whatsapp.com on 127.0.0.53:53: server misbehaving": "dns",
    GET + "dial tcp 157.240.12.53:443: connect: connection refused": "refused",
    DIAL + "expected handshake response status code 101 but got 503": "refused",
    GET + "read tcp 127.0.0.1:51626->127.0.0.1:43881: read: connection reset by peer": "reset",
    GET + "EOF": "reset",
    GET + "unexpected EOF": "reset",
    GET + "write tcp 127.0.0.1:1->127.0.0.1:2: write: broken pipe": "reset",
    GET + "context deadline exceeded": "slow",
    GET + "net/http: TLS handshake timeout": "slow",
    GET + "dial tcp 157.240.12.53:443: i/o timeout": "slow",
    "noise handshake failed: timed out waiting for handshake response": "slow",
    GET + "dial tcp 157.240.12.53:443: connect: network is unreachable": "unreachable",
    GET + "dial tcp 157.240.12.53:443: connect: no route to host": "unreachable",
    GET + "proxyconnect tcp: dial tcp 127.0.0.1:9: connect: connection refused": "proxy",
    GET + "proxyconnect tcp: dial tcp: lookup proxy.invalid: no such host": "proxy",
    GET + "socks connect tcp 127.0.0.1:1->web.whatsapp.com:443: dial tcp 127.0.0.1:1: i/o timeout": "proxy",
    GET + "Proxy Authentication Required": "proxy",
    GET + "Service Unavailable": "proxy",
    'unsupported proxy scheme "gopher"': "proxy",
    GET + "tls: failed to verify certificate: x509: certificate signed by unknown authority": "tls",
    GET + "remote error: tls: handshake failure": "tls",
    "noise handshake failed: failed to verify server cert: certificate expired": "tls",
    "noise handshake failed: missing parts of handshake response": "unknown",
}


@pytest.mark.parametrize(("text", "cause"), CAUSES.items())
def test_a_dial_error_has_a_cause(text: str, cause: str) -> None:
    assert is_dial_error(text)
    assert dial_cause(text) == cause


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("failed to upgrade database: file is not a database", "corrupt"),
        ("database disk image is malformed", "corrupt"),
        ("database returned byte array with illegal length", "corrupt"),
        ("failed to open database: database is locked", "unavailable"),
        ("dial tcp 127.0.0.1:5432: connect: connection refused", "unavailable"),
        ("pq: sorry, too many clients already", "unavailable"),
        ("failed to upgrade database: unsupported database schema version: currently on v999", "unavailable"),
        ("failed to scan session: dial tcp 127.0.0.1:5432: i/o timeout", "unavailable"),
        ("something nobody has seen", "unavailable"),
    ],
)
def test_a_store_error_is_a_bad_session_only_when_that_is_certain(text: str, fault: str) -> None:
    assert not is_dial_error(text)
    assert store_fault(text) == fault


def test_the_refusal_is_read_from_the_log() -> None:
    text = 'Unknown connect failure: <failure location="lla" reason="418" message="teapot"/>'
    assert failure_attributes(text) == {"location": "lla", "reason": "418", "message": "teapot"}
    assert failure_attributes("Got 503 stream error") is None


@pytest.mark.parametrize(
    ("text", "event"),
    [
        ("Got 515 code, reconnecting...", events.StreamError("515")),
        ("Got 503 stream error, assuming automatic reconnect will handle it", events.StreamError("503")),
        (
            "Got 503/ connect failure, assuming automatic reconnect will handle it",
            events.ConnectFailure(503, ""),
        ),
        (
            "Got 500/try later connect failure, assuming automatic reconnect will handle it",
            events.ConnectFailure(500, "try later"),
        ),
        (
            f"Failed to reconnect after 515 code: {GET}proxyconnect tcp: connection refused",
            events.DialFailed(f"{GET}proxyconnect tcp: connection refused", "proxy"),
        ),
        ("Got 401 connect failure, sending LoggedOut event and deleting session", None),
        ("Got replaced stream error, sending StreamReplaced event", None),
    ],
)
def test_what_the_library_makes_no_event_of_is_read_from_its_log(
    text: str, event: events.Event | None
) -> None:
    assert untold(text) == event


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            "Got device removed stream error, sending LoggedOut event and deleting session",
            events.LoggedOut(on_connect=False, reason=401),
        ),
        (
            "Got 406: unknown logout connect failure, sending LoggedOut event and deleting session",
            events.LoggedOut(on_connect=True, reason=406),
        ),
        ("Got 503/ connect failure, assuming automatic reconnect will handle it", None),
    ],
)
def test_the_library_tells_its_log_that_it_is_about_to_delete_a_session(
    text: str, event: events.Event | None
) -> None:
    assert logged_out(text) == event

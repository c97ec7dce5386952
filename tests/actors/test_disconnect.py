"""From the client's signal to a code: each row of the table of signals."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.disconnect import NAMES, Disconnection, classify, failure_code, stream_code
from actors.port import events
from actors.views import Awaits
from supervisor.config import InstanceSettings

ROWS: list[tuple[events.Event, int, str, bool]] = [
    # signal, code, cause, whether the client may heal it by itself
    (events.Disconnected(), 428, "closed", True),
    (events.KeepAliveTimeout(1, 0), 408, "keepalive", True),
    (events.DialFailed("lookup: no such host", "dns"), 408, "dns", False),
    (events.DialFailed("i/o timeout", "slow"), 408, "slow", False),
    (events.DialFailed("connection refused", "refused"), 503, "refused", False),
    (events.DialFailed("connection reset by peer", "reset"), 503, "reset", False),
    (events.DialFailed("proxyconnect tcp", "proxy"), 503, "proxy", False),
    (events.DialFailed("network is unreachable", "unreachable"), 503, "unreachable", False),
    (events.DialFailed("x509: unknown authority", "tls"), 503, "tls", False),
    (events.DialFailed("something new", "unknown"), 503, "unknown", False),
    (events.StreamReplaced(), 440, "replaced", False),
    (events.StreamError("503"), 503, "stream", True),
    (events.StreamError("500"), 503, "stream", True),
    (events.StreamError("515"), 515, "stream", True),
    (events.StreamError("516"), 503, "stream", True),
    (events.StreamError("418"), 418, "stream", True),
    *(
        (events.StreamError(number), 428, "stream", True)
        for number in ("401", "402", "403", "405", "406", "411")
    ),
    (events.StreamError(""), 428, "stream", True),
    (events.StreamError("what-is-this"), 428, "stream", True),
    (events.LoggedOut(False, 401), 401, "logout", False),
    (events.LoggedOut(True, 401), 401, "logout", False),
    (events.LoggedOut(True, 403), 403, "logout", False),
    (events.LoggedOut(True, 406), 406, "logout", False),
    (events.LoggedOut(True, 0), 401, "logout", False),
    (events.TemporaryBan(101, 60), 402, "ban", False),
    (events.ClientOutdated(), 405, "outdated", False),
    (events.ConnectFailure(0, ""), 428, "refused", False),
    (events.ConnectFailure(99, ""), 428, "refused", False),
    (events.ConnectFailure(100, ""), 100, "refused", False),
    (events.ConnectFailure(999, ""), 999, "refused", False),
    (events.ConnectFailure(1000, ""), 428, "refused", False),
    (events.ConnectFailure(400, ""), 400, "refused", False),
    (events.ConnectFailure(409, ""), 409, "refused", False),
    (events.ConnectFailure(418, ""), 418, "refused", False),
    (events.ConnectFailure(500, ""), 503, "refused", True),
    (events.ConnectFailure(501, ""), 503, "refused", False),
    (events.ConnectFailure(503, ""), 503, "refused", True),
    (events.SessionStoreFailed("no device", "device-missing"), 500, "store", False),
    (events.SessionStoreFailed("malformed", "corrupt"), 500, "store", False),
    (events.SessionStoreFailed("database is locked", "unavailable"), 503, "store", False),
    (events.LoginStatus("timeout"), 408, "qr", False),
    (events.LoginStatus("err-client-outdated"), 405, "pairing", False),
    (events.LoginStatus("err-scanned-without-multidevice"), 411, "pairing", False),
    (events.LoginStatus("error"), 428, "pairing", False),
    (events.LoginStatus("err-unexpected-state"), 428, "pairing", False),
    (events.LoginStatus("err-of-next-year"), 428, "pairing", False),
    (events.ConnectReturned("stopped"), 428, "ended", False),
    (events.ConnectReturned(None), 428, "ended", False),
]

SIGNS_OF_LIFE: list[events.Event] = [
    events.Ready(),
    events.QrCode("2@code"),
    events.LoginStatus("success"),
    events.PairStatus("5511@s.whatsapp.net", None, "", "android", None),
    events.Connected("5511@s.whatsapp.net", "Ana"),
    events.KeepAliveRestored(),
    events.Heartbeat(1, 1, 1),
]


def described(row: Any) -> str:
    event = row[0] if isinstance(row, tuple) else row
    fields = (str(getattr(event, item.name)) for item in dataclasses.fields(event))
    return "-".join((type(event).__name__, *fields)).replace(" ", "_")


@pytest.mark.parametrize("event", [row[0] for row in ROWS], ids=repr)
def test_a_failed_dial_waits_for_the_network_and_a_login_that_a_5xx_refused_for_the_service(
    event: events.Event,
) -> None:
    found = classify(event)
    assert found is not None
    expected = None
    if isinstance(event, events.DialFailed):
        expected = Awaits.NETWORK
    elif isinstance(event, events.ConnectFailure) and 500 <= event.reason <= 599:
        expected = Awaits.SERVICE
    assert found.awaits is expected


@pytest.mark.parametrize("row", ROWS, ids=described)
def test_each_signal_has_its_code_and_its_cause(row: tuple[events.Event, int, str, bool]) -> None:
    event, code, cause, heals = row
    found = classify(event)
    assert found is not None
    assert (found.code, found.cause, found.heals) == (code, cause, heals)
    assert found.signal == type(event).__name__


@pytest.mark.parametrize("event", SIGNS_OF_LIFE, ids=described)
def test_what_is_no_disconnection(event: events.Event) -> None:
    assert classify(event) is None


def test_no_event_of_a_port_is_forgotten() -> None:
    assert {type(row[0]) for row in ROWS} | {type(event) for event in SIGNS_OF_LIFE} == set(
        events.EVENTS.values()
    )


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        (events.TemporaryBan(101, 3600), {"ban": 101, "expireSeconds": 3600}),
        (events.ConnectFailure(409, "bad agent"), {"reason": 409, "message": "bad agent"}),
        (events.DialFailed("no such host", "dns"), {"error": "no such host"}),
        (events.StreamError("x"), {"streamError": "x"}),
        (events.LoggedOut(True, 406), {"onConnect": True, "reason": 406}),
        (events.KeepAliveTimeout(3, 17), {"errors": 3}),
        (events.LoginStatus("error"), {"status": "error"}),
        (events.SessionStoreFailed("locked", "unavailable"), {"error": "locked", "fault": "unavailable"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_figures_of_a_signal_are_kept(event: events.Event, detail: dict[str, Any]) -> None:
    found = classify(event)
    assert found is not None
    assert found.detail == detail


@given(st.integers(500, 599))
def test_a_servers_5xx_is_never_taken_for_a_bad_session(code: int) -> None:
    """Invariant 7: only the session's own store can cost it."""
    assert failure_code(code) == 503
    assert stream_code(str(code)) == (515 if code == 515 else 503)


@given(st.integers(0, 999).map("{:03}".format))
def test_no_stream_error_closes_an_instance_by_itself(number: str) -> None:
    """Invariant 7: the client logs in again, and only the answer to that says what the session is worth."""
    found = classify(events.StreamError(number))
    assert found is not None
    assert found.heals
    assert not InstanceSettings().disconnect_rule(found.code).permanent
    assert found.detail == {"streamError": number}


@given(st.text(max_size=6))
def test_a_stream_error_of_any_kind_has_a_code(text: str) -> None:
    code = stream_code(text)
    assert code == 428 or code in range(1000)
    assert code != 500


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (428, "connectionClosed"),
        (408, "timedOut"),
        (440, "connectionReplaced"),
        (515, "restartRequired"),
        (503, "unavailable"),
        (401, "loggedOut"),
        (402, "temporaryBan"),
        (403, "forbidden"),
        (405, "clientOutdated"),
        (406, "notAcceptable"),
        (411, "multideviceMismatch"),
        (500, "badSession"),
        (418, "unknown"),
    ],
)
def test_the_names_that_baileys_users_know(code: int, name: str) -> None:
    assert Disconnection(code, "").name == name
    assert InstanceSettings().disconnect_rule(code).name == name
    assert (code in NAMES) == (name != "unknown")

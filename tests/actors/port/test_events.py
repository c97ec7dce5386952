"""Events travel as JSON and arrive as they were; nothing else is taken for an event."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.port import events
from actors.port.messages import CommandResult, result_from_json
from actors.port.wire import WireError

EVENTS = st.one_of([st.builds(kind) for kind in events.EVENTS.values()])


@given(EVENTS)
def test_every_event_survives_the_wire(event: events.Event) -> None:
    assert events.from_json(json.loads(json.dumps(events.to_json(event)))) == event


def test_a_qr_code_is_not_shown() -> None:
    assert "2@secret" not in repr(events.QrCode("2@secret"))


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"event": None},
        {"event": "Nonsense"},
        {"event": ["Ready"]},
        {"event": "Ready", "extra": 1},
        {"event": "QrCode"},
        {"event": "QrCode", "code": 5},
        {"event": "LoggedOut", "on_connect": 1, "reason": 401},
        {"event": "LoggedOut", "on_connect": True, "reason": True},
        {"event": "DialFailed", "error": "x", "cause": "whim"},
        {"event": "Connected", "jid": None, "push_name": "", "lid": None},
    ],
)
def test_anything_else_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        events.from_json(message)


@given(
    st.dictionaries(
        st.sampled_from(["event", "code", "status", "error"]), st.none() | st.text() | st.integers()
    )
)
def test_any_object_gives_an_event_or_a_wire_error(message: dict[str, Any]) -> None:
    try:
        assert isinstance(events.from_json(message), events.Event)
    except WireError:
        return


def test_results_carry_a_value_or_an_error_with_its_kind() -> None:
    assert result_from_json(7, {"result": 1, "value": {"code": "x"}}) == CommandResult(7, 1, {"code": "x"})
    refused = result_from_json(7, {"result": 1, "error": "no", "kind": "refused"})
    assert refused == CommandResult(7, 1, None, "no", "refused")


@pytest.mark.parametrize(
    "message",
    [
        {"result": "1"},
        {"result": True},
        {"result": 1, "error": "no"},
        {"result": 1, "error": 5, "kind": "refused"},
        {"result": 1, "error": "no", "kind": "whim"},
        {"result": 1, "kind": "refused"},
    ],
)
def test_malformed_results_are_refused(message: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        result_from_json(7, message)

"""What each event holds, and that no code outlives its use."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.events import MODELS
from actors.events.models import iso
from actors.events.names import filter_name, path_suffix, wanted
from supervisor.config import EVENTS


def build(name: str, data: Any = None) -> Any:
    model = MODELS[name]
    return model.model_validate({"instance": "sales", **(model.example if data is None else data)})


def test_every_event_that_a_filter_may_name_has_a_model() -> None:
    assert set(MODELS) == set(EVENTS)


@pytest.mark.parametrize("name", MODELS)
def test_every_example_fits_its_model_and_is_json(name: str) -> None:
    event = build(name)
    assert json.loads(json.dumps(event.data()))["instance"] == "sales"
    assert set(MODELS[name].example) <= set(MODELS[name].model_fields)


def test_fields_that_are_not_set_are_left_out_and_unknown_ones_passed_on() -> None:
    data = build("connection.update", {"state": "connecting", "statusReason": 200, "more": {"x": 1}}).data()
    assert data == {"instance": "sales", "state": "connecting", "statusReason": 200, "more": {"x": 1}}


def test_a_code_is_secret_and_absent_from_data_and_repr() -> None:
    event = build(
        "qrcode.updated",
        {"qrcode": {"instance": "sales", "code": "2@hush", "pairingCode": "HUSHHUSH", "count": 2}},
    )
    assert event.data() == {
        "instance": "sales",
        "qrcode": {"instance": "sales", "code": None, "pairingCode": None, "count": 2, "base64": None},
    }
    assert event.secret() == {"code": "2@hush", "pairingCode": "HUSHHUSH"}
    assert "hush" not in repr(event).lower()


def test_the_limit_of_codes_has_no_secret() -> None:
    event = build(
        "qrcode.updated", {"message": "QR code limit reached, please login again", "statusCode": 500}
    )
    assert event.secret() is None
    assert event.data()["statusCode"] == 500


def test_a_closed_status_looks_as_evolution_sends_it() -> None:
    data = build("status.instance").data()
    assert data["disconnectionAt"] == "2023-11-14T22:13:20.000Z"
    assert json.loads(data["disconnectionObject"])["statusCode"] == 401


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_type_is_refused_without_showing_the_value(name: str) -> None:
    with pytest.raises(ValueError, match="instance") as caught:
        MODELS[name].model_validate({"instance": ["hush"]})
    assert "hush" not in str(caught.value)


def test_the_three_spellings_of_a_name() -> None:
    assert filter_name("qrcode.updated") == "QRCODE_UPDATED"
    assert path_suffix("qrcode.updated") == "qrcode-updated"
    assert path_suffix("group-participants.update") == "group-participants-update"


@pytest.mark.parametrize(
    ("chosen", "through"),
    [
        ([], True),
        (None, True),
        (["QRCODE_UPDATED"], True),
        (["qrcode.updated"], True),
        (["MESSAGES_UPSERT"], False),
    ],
)
def test_a_filter_takes_any_spelling_and_an_empty_one_lets_all_through(chosen: Any, through: bool) -> None:
    assert wanted("qrcode.updated", chosen) is through


def test_times_are_written_as_javascript_does() -> None:
    assert iso(1_700_000_000.1239) == "2023-11-14T22:13:20.123Z"

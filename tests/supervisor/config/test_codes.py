"""The table of disconnection codes."""

from __future__ import annotations

import pytest

from supervisor.config import DisconnectRule, InstanceSettings, Settings, loads

TABLE = {
    428: ("connectionClosed", "reconnect", 2, False, "the connection was closed"),
    408: ("timedOut", "reconnect", 5, False, "no answer in time"),
    440: ("connectionReplaced", "reconnect", 3, False, "the session was opened by another client"),
    515: ("restartRequired", "reconnect", 1, False, "WhatsApp asked for a new connection"),
    503: ("unavailable", "reconnect", 10, False, "WhatsApp could not be reached"),
    401: ("loggedOut", "logout", 5, True, "logged out by the phone or by WhatsApp"),
    403: ("forbidden", "logout", 5, True, "forbidden: the main device is gone or the account was blocked"),
    500: ("badSession", "logout", 5, True, "the stored session is damaged or gone"),
    402: ("temporaryBan", "logout", 5, False, "temporarily banned by WhatsApp"),
    405: ("clientOutdated", "logout", 5, False, "this client version is too old for WhatsApp"),
    406: ("notAcceptable", "logout", 5, False, "WhatsApp did not accept the login"),
    411: ("multideviceMismatch", "logout", 5, False, "the phone does not use multi-device"),
}


@pytest.mark.parametrize("code", TABLE)
def test_the_defaults_are_the_documented_ones(code: int) -> None:
    rule = Settings().disconnect_rule(code)
    assert (rule.name, rule.action, rule.delay, rule.cleanup, rule.reason) == TABLE[code]
    assert rule.code == code


def test_no_other_code_has_a_row() -> None:
    assert set(Settings().disconnect) == set(TABLE)


@pytest.mark.parametrize("code", [0, 100, 409, 501, 999, 12345])
def test_any_other_code_reconnects_after_five_seconds_and_costs_no_session(code: int) -> None:
    rule = Settings().disconnect_rule(code)
    assert rule == DisconnectRule(
        code=code, action="reconnect", delay=5.0, cleanup=False, reason="connection lost"
    )
    assert rule.name == "unknown"


def test_only_these_codes_delete_the_session() -> None:
    assert {code for code, rule in Settings().disconnect.items() if rule.cleanup} == {401, 403, 500}


def test_a_row_is_changed_key_by_key() -> None:
    rule = loads("[disconnect.401]\naction = reconnect\n").disconnect_rule(401)
    assert (rule.action, rule.delay, rule.cleanup) == ("reconnect", 5.0, True)


def test_a_new_row_takes_the_rest_from_the_default_row() -> None:
    settings = loads("[disconnect.777]\naction = logout\n[disconnect.default]\ndelay = 9s\nreason = gone\n")
    assert settings.disconnect_rule(777) == DisconnectRule(code=777, action="logout", delay=9, reason="gone")
    assert settings.disconnect_rule(778).delay == 9
    assert settings.disconnect_rule(428).delay == 2


def test_instances_without_a_section_share_the_table() -> None:
    settings = loads("[disconnect.428]\ndelay = 1m\n")
    assert settings.instance("any").disconnect_rule(428).delay == 60
    assert InstanceSettings().disconnect_rule(428).delay == 2

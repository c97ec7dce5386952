"""`connect` shows each code once, in its turn, until the instance is open."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from supervisor.cli import connect as module
from supervisor.cli import render, terminal_qr
from tests.supervisor.cli.conftest import Zapvisor
from tests.supervisor.cli.drawings import decode, drawings
from tests.supervisor.cli.fakehost import FakeHost

FIRST = (
    "2@First/AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+abcdefghijklmnop,"
    + "A" * 43
    + "=,"
    + "B" * 43
    + "=,"
    + "C" * 43
    + "="
)
SECOND = FIRST.replace("First", "Second")
FAST = ("--poll", "1ms")


def test_the_codes_are_shown_one_after_the_other_until_it_is_open(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "starting", *["awaiting_scan"] * 4, "pairing", "open", codes=[FIRST, FIRST, SECOND])
    result = client("connect", "sales", *FAST)
    assert result.exit_code == 0
    assert [decode(drawing, ink_is_dark=False) for drawing in drawings(result.stdout)] == [
        FIRST,
        FIRST,
        SECOND,
    ]
    assert [line for line in result.stdout.splitlines() if line.startswith("sales: ")] == [
        "sales: code 1: WhatsApp > Linked devices > Link a device, and scan",
        "sales: code 2: WhatsApp > Linked devices > Link a device, and scan",
        "sales: code 3: WhatsApp > Linked devices > Link a device, and scan",
        "sales: pairing",
        "sales: open as 5511999999999",
    ]


def test_on_a_light_terminal_the_ink_is_dark(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "starting", "awaiting_scan", "open", codes=[FIRST])
    (drawing,) = drawings(client("connect", "sales", "--light", *FAST).stdout)
    assert decode(drawing, ink_is_dark=True) == FIRST


def test_an_open_instance_is_left_alone(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "open")
    result = client("connect", "sales")
    assert (result.exit_code, result.stdout) == (0, "sales: open as 5511999999999\n")


def test_the_number_is_said_once_and_the_pairing_code_shown(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "starting", "awaiting_scan", "awaiting_scan", "open", codes=[FIRST], pairing="ABCD1234")
    result = client("connect", "sales", "--number", "5511999999999", *FAST)
    assert "type this code on the phone: ABCD-1234" in result.stdout
    connects = [request.query for request in host.requests if request.path.startswith("/instance/connect")]
    assert connects == [{"number": "5511999999999"}, {}, {}]


def test_a_pairing_code_that_is_refused_is_told_with_the_reason(host: FakeHost, client: Zapvisor) -> None:
    phases = ["starting", "awaiting_scan", "awaiting_scan", "open"]
    for name in ("sales", "support"):
        host.add(name, *phases, codes=[FIRST], refused="rate-overlimit")
    said = client("connect", "sales", "--number", "5511999999999", *FAST).stdout
    assert "there is no code to type: rate-overlimit" in said
    lines = client("connect", "support", "--json", "--number", "5511999999999", *FAST).stdout.splitlines()
    assert "rate-overlimit" in [json.loads(line).get("pairingError") for line in lines]


def test_as_json_each_code_and_each_phase_is_an_object_a_line(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "starting", "awaiting_scan", "awaiting_scan", "open", codes=[FIRST], pairing="ABCD1234")
    result = client("connect", "sales", "--json", "--number", "5511999999999", *FAST)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert all(line["instanceName"] == "sales" for line in lines)
    assert [line["code"] for line in lines if "code" in line] == [FIRST]
    assert [line["phase"] for line in lines if "phase" in line][-1] == "open"


@pytest.mark.parametrize("command", ["connect", "create"])
@pytest.mark.parametrize("number", ["+5511999999999", "123", "5" * 21, "55 11", "٣٣٣٣٣٣", "abc"])
def test_a_number_that_is_none_is_wrong_usage(
    host: FakeHost, client: Zapvisor, command: str, number: str
) -> None:
    assert client(command, "sales", "--number", number).exit_code == 2
    assert host.requests == []


@pytest.mark.parametrize("phase", ["closed", "failed", "stopping"])
def test_an_instance_that_gives_up_is_a_failure(host: FakeHost, client: Zapvisor, phase: str) -> None:
    host.add("sales", "starting", "awaiting_scan", phase, codes=[FIRST], last_code=401)
    result = client("connect", "sales", *FAST)
    assert result.exit_code == 1
    assert f"sales is {phase}: Logged out by the phone (401 loggedOut, logout)" in result.stderr


def test_why_it_cannot_get_through_is_said_once_for_each_reason(host: FakeHost, client: Zapvisor) -> None:
    """Without an internet connection there is nothing else to see for as long as one waits."""
    host.add("sales", "starting", *["recovering"] * 3, "open", last_code=408, last_cause="dns")
    result = client("connect", "sales", *FAST)
    assert result.stdout.splitlines() == [
        "sales: recovering: Name of the server not found (408 timedOut, dns); `zapvisor diagnose sales` says more",
        "sales: open as 5511999999999",
    ]


def test_a_program_reads_the_code_of_what_is_being_recovered_from(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "starting", "recovering", "open", last_code=503, last_cause="refused")
    first, *_ = client("connect", "sales", "--json", *FAST).stdout.splitlines()
    assert json.loads(first) == {
        "instanceName": "sales",
        "phase": "recovering",
        "ownerJid": None,
        "disconnectionReasonCode": 503,
    }


def test_connect_is_not_asked_again_outside_of_the_qr_phase(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", *["starting"] * 5, *["recovering"] * 5, "open")
    assert client("connect", "sales", *FAST).exit_code == 0
    assert [request.path for request in host.requests].count("/instance/connect/sales") == 1


def test_waiting_has_an_end(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "starting")
    result = client("connect", "sales", *FAST, "--timeout", "2s")
    assert result.exit_code == 1
    assert "sales is not open after 2 s; it is starting" in result.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 200])
def test_on_a_terminal_each_code_replaces_the_one_before_in_black_on_white(
    host: FakeHost, client: Zapvisor, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    console = Console(file=terminal, force_terminal=True, color_system="truecolor", width=columns, height=100)
    monkeypatch.setattr(render, "console", lambda **_: console)
    host.add("sales", "starting", "awaiting_scan", "awaiting_scan", "open", codes=[FIRST, SECOND])
    assert client("connect", "sales", *FAST).exit_code == 0
    shown = terminal.getvalue()
    assert shown.count("\x1b[2J") == 2
    assert terminal_qr.draw(FIRST, color=True) in shown
    assert terminal_qr.draw(SECOND, color=True) in shown
    assert ("too small" in shown) is (columns < terminal_qr.size(FIRST)[0])


def test_the_drawing_has_the_size_it_claims() -> None:
    lines = terminal_qr.draw(FIRST, color=False).splitlines()
    assert {len(line) for line in lines} == {terminal_qr.size(FIRST)[0]}
    assert len(lines) == terminal_qr.size(FIRST)[1]


def test_colours_change_nothing_but_the_ink() -> None:
    painted = terminal_qr.draw(FIRST, color=True)
    plain = painted.replace("\x1b[38;2;0;0;0;48;2;255;255;255m", "").replace("\x1b[0m", "")
    assert decode(plain, ink_is_dark=True) == FIRST


def test_codes_for_typing_are_shown_in_two_groups() -> None:
    assert module._grouped("ABCD1234") == "ABCD-1234"
    assert module._grouped("ABCD-1234") == "ABCD-1234"

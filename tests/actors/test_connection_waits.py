"""What a connection waits for, and for how long, before it ends: the real tree, with a port the test speaks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.messages import Connect, CreateInstance
from actors.port import events
from actors.services import ROSTER
from actors.store import history
from actors.views import Awaits, InstanceView, Phase
from supervisor.config import PortSettings, RecoverySettings, Settings
from tests.actors.session.tree import Port, Tree

NAME = "sales"
DEVICE = "5511999990001:1@s.whatsapp.net"
INSTANT = 0.01
CONFIGURATION = Settings(
    recovery=RecoverySettings(jitter=0.0),
    port=PortSettings(heartbeat=10.0, missed_heartbeats=3, start_timeout=30.0),
)


class Line:
    """An instance with a connection, whose port beats as long as it is told to."""

    def __init__(self, directory: Path) -> None:
        self.tree = Tree(directory, CONFIGURATION)
        self.tree.ask(ROSTER, CreateInstance(NAME, token="token-of-sales"))
        self.tree.settle()
        self.tree.tell(NAME, Connect())
        self.tree.settle()

    @property
    def port(self) -> Port:
        [port] = self.tree.ports(NAME)
        return port

    @property
    def view(self) -> InstanceView:
        found = self.tree.board.view(NAME)
        assert found is not None
        return found

    def says(self, *notices: events.Event) -> None:
        for notice in notices:
            self.port.say(notice)
        self.tree.settle()

    def open(self) -> None:
        Path(self.port.spec.session_url).write_text(DEVICE)
        self.says(events.Ready(), events.PairStatus(DEVICE, None, "", "android", None))
        self.says(events.Connected(DEVICE, "Ana"))
        assert self.view.phase is Phase.OPEN

    def ended(self) -> list[tuple[int, str]]:
        """Code and cause of each disconnection in the history, oldest first."""
        row = self.tree.row(NAME)
        assert row is not None
        entries = self.tree.query(lambda tx: history.page(tx, row.id))[::-1]
        return [(entry.code, entry.cause) for entry in entries if entry.kind == "disconnection"]

    def lasts(self, seconds: float) -> None:
        """The port lives until just before so many seconds are over, and not beyond them."""
        port = self.port
        self.tree.advance(seconds - INSTANT)
        assert port.alive, f"ended before {seconds:g} s were over"
        self.tree.advance(2 * INSTANT)
        assert not port.alive, f"did not end after {seconds:g} s"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    found = Line(tmp_path)
    try:
        yield found
    finally:
        found.tree.stop()


class TestGrace:
    """The client may heal what it can heal by itself, for as long as the code's row says, and a login takes."""

    @pytest.mark.parametrize(
        ("event", "grace", "code"),
        [
            (events.Disconnected(), 4.0, 428),
            (events.KeepAliveTimeout(1, 0), 7.0, 408),
            (events.StreamError("503"), 12.0, 503),
            (events.StreamError("515"), 2.0, 515),
            (events.StreamError("418"), 7.0, 418),
        ],
        ids=["428", "408", "503", "515", "other"],
    )
    def test_it_lasts_as_long_as_the_base_delay_of_the_code_and_a_login(
        self, line: Line, event: Any, grace: float, code: int
    ) -> None:
        line.open()
        line.says(event)
        assert line.view.phase is Phase.RECOVERING
        assert line.view.recovery_attempts == 0
        line.lasts(grace)
        assert [entry[0] for entry in line.ended()] == [code]
        assert line.view.recovery_attempts == 1

    def test_a_second_signal_does_not_prolong_it(self, line: Line) -> None:
        line.open()
        line.says(events.Disconnected())
        port = line.port
        line.tree.advance(3.9)
        line.says(events.Disconnected(), events.KeepAliveTimeout(2, 0))
        line.tree.advance(0.2)
        assert not port.alive

    def test_a_link_that_is_back_ends_it(self, line: Line) -> None:
        line.open()
        line.says(events.Disconnected())
        line.says(events.Connected(DEVICE, "Ana"))
        port = line.port
        line.tree.advance(30.0)
        assert port.alive
        assert line.view.phase is Phase.OPEN

    def test_pings_that_are_answered_again_make_it_open(self, line: Line) -> None:
        line.open()
        line.says(events.KeepAliveTimeout(1, 0))
        assert line.view.phase is Phase.RECOVERING
        line.says(events.KeepAliveRestored())
        assert line.view.phase is Phase.OPEN

    def test_pings_say_nothing_of_a_socket_that_is_gone(self, line: Line) -> None:
        line.open()
        line.says(events.Disconnected(), events.KeepAliveRestored())
        assert line.view.phase is Phase.RECOVERING

    def test_a_port_that_ends_in_it_is_a_disconnection_and_no_crash(self, line: Line) -> None:
        line.open()
        line.says(events.Disconnected())
        line.port.die(9)
        line.tree.settle()
        assert line.ended() == [(428, "closed")]
        assert line.view.recovery_attempts == 1

    @pytest.mark.parametrize(
        "event",
        [events.StreamReplaced(), events.DialFailed("refused", "refused"), events.ConnectFailure(409, "")],
        ids=["replaced", "dial", "login"],
    )
    def test_what_the_client_does_not_heal_gets_none(self, line: Line, event: Any) -> None:
        line.open()
        port = line.port
        line.says(event)
        assert not port.alive
        assert line.view.recovery_attempts == 1


class TestPairing:
    def test_a_515_that_got_lost_is_a_reconnect_with_the_session_after_twenty_seconds(
        self, line: Line
    ) -> None:
        """Paired, and then silence for ever: the connection died before the client had read the 515."""
        line.says(events.Ready(), events.QrCode("2@1"))
        Path(line.port.spec.session_url).write_text(DEVICE)
        line.says(events.LoginStatus("success"), events.PairStatus(DEVICE, None, "", "android", None))
        assert line.view.phase is Phase.PAIRING
        line.lasts(20.0)
        assert line.ended() == [(515, "pairing")]
        assert line.view.logged_in
        line.tree.advance(1.0)
        assert line.port.spec.jid == DEVICE

    def test_a_pairing_that_the_client_refuses_is_followed_by_a_new_code(self, line: Line) -> None:
        line.says(events.Ready(), events.QrCode("2@1"))
        first = line.port
        line.tree.advance(5.0)
        line.says(events.PairStatus(DEVICE, None, "", "", "invalid signature"))
        assert not first.alive
        line.tree.advance(INSTANT)
        line.says(events.Ready(), events.QrCode("2@2"))
        assert (line.view.phase, line.view.logged_in) == (Phase.AWAITING_SCAN, False)
        assert line.view.qr is not None
        assert line.view.qr.count == 1, "the lost code was given back"

    def test_codes_that_stop_without_a_word_end_the_connection(self, line: Line) -> None:
        line.says(events.Ready(), events.QrCode("2@1"))
        line.tree.advance(60.0)
        line.says(events.QrCode("2@2"))
        line.lasts(120.0)

    def test_the_next_batch_starts_at_once(self, line: Line) -> None:
        line.says(events.Ready(), *(events.QrCode(f"2@{n}") for n in range(6)))
        line.tree.advance(60.0)
        line.port.say(events.LoginStatus("timeout"))
        line.tree.advance(INSTANT)
        line.says(events.Ready(), events.QrCode("2@7"))
        assert line.view.qr is not None
        assert line.view.qr.count == 7

    def test_codes_that_are_taken_away_at_once_are_not_asked_for_without_a_pause(self, line: Line) -> None:
        self.taken_away(line, 2)
        line.tree.advance(10.0 - 2 * INSTANT)
        assert not line.tree.ports(NAME)
        line.tree.advance(4 * INSTANT)
        assert line.port.alive

    @staticmethod
    def taken_away(line: Line, times: int) -> None:
        """The first is followed at once."""
        for _ in range(times):
            line.says(events.Ready(), events.QrCode("2@1"))
            line.port.say(events.DialFailed("connection refused", "refused"))
            line.tree.advance(INSTANT)

    def test_who_asks_meanwhile_gets_the_next_code_no_sooner(self, line: Line) -> None:
        self.taken_away(line, 2)
        line.tree.advance(4.0)
        line.tree.tell(NAME, Connect())
        line.tree.advance(6.0 - 2 * INSTANT)
        assert not line.tree.ports(NAME)
        line.tree.advance(4 * INSTANT)
        assert line.port.alive


class TestStart:
    def test_a_port_that_never_gets_ready_is_a_time_out(self, line: Line) -> None:
        line.lasts(30.0)
        assert line.ended() == [(408, "start")]

    def test_a_dial_that_hangs_is_a_slow_one(self, line: Line) -> None:
        line.tree.advance(20.0)
        line.says(events.Ready())
        line.lasts(30.0)
        assert line.ended() == [(408, "slow")]
        assert line.view.awaits is Awaits.NETWORK

    def test_an_open_one_may_be_quiet_as_long_as_it_beats(self, line: Line) -> None:
        line.open()
        port = line.port
        line.tree.advance(1000.0)
        assert port.alive


class TestHeartbeat:
    def test_three_missed_ones_end_it(self, line: Line) -> None:
        """Invariant 12."""
        line.open()
        line.says(events.Heartbeat(1, 1, 1))
        line.port.frozen = True
        line.lasts(30.0)
        assert line.ended() == [(408, "heartbeat")]


class TestFlapping:
    """Invariant 11: a link that drops and heals again and again is the client's ten times, then it is the ladder's."""

    def drops(self, line: Line, times: int) -> None:
        for _ in range(times):
            line.says(events.Disconnected())
            assert line.view.phase is Phase.RECOVERING
            line.tree.advance(1.0)
            line.says(events.Connected(DEVICE, "Ana"))
            assert line.view.phase is Phase.OPEN

    def attempts(self, line: Line) -> int:
        row = line.tree.row(NAME)
        assert row is not None
        return row.recovery_attempts

    def test_ten_drops_are_the_clients_to_heal_and_count_for_nothing(self, line: Line) -> None:
        line.open()
        first = line.port
        self.drops(line, 10)
        assert first.alive
        assert self.attempts(line) == 0

    def test_one_more_is_not_and_counts(self, line: Line) -> None:
        line.open()
        first = line.port
        self.drops(line, 10)
        line.says(events.Disconnected())
        assert not first.alive
        assert self.attempts(line) == 1
        line.tree.advance(2.0 + INSTANT)
        assert line.port is not first

    def test_a_stable_connection_in_between_makes_them_count_anew(self, line: Line) -> None:
        line.open()
        first = line.port
        self.drops(line, 10)
        line.tree.advance(60.0)
        self.drops(line, 10)
        assert first.alive


class TestImpatience:
    """Somebody asks for a connection while the third attempt of a refused one waits for its 40 s."""

    @pytest.fixture
    def refused(self, line: Line) -> Line:
        line.open()
        for delay in (10.0, 20.0):
            line.says(events.DialFailed("connection refused", "refused"))
            line.tree.advance(delay + INSTANT)
            line.says(events.Ready())
        line.says(events.DialFailed("connection refused", "refused"))
        return line

    def test_nobody_asks(self, refused: Line) -> None:
        refused.tree.advance(40.0 - 2 * INSTANT)
        assert not refused.tree.ports(NAME)
        refused.tree.advance(4 * INSTANT)
        assert refused.port.alive

    def test_it_is_made_now(self, refused: Line) -> None:
        refused.tree.advance(15.0)
        refused.tree.tell(NAME, Connect())
        refused.tree.advance(INSTANT)
        assert refused.port.alive

    def test_or_as_soon_as_the_delay_of_its_code_is_over(self, refused: Line) -> None:
        refused.tree.advance(4.0)
        for _ in range(3):
            refused.tree.tell(NAME, Connect())
        refused.tree.advance(6.0 - INSTANT)
        assert not refused.tree.ports(NAME)
        refused.tree.advance(2 * INSTANT)
        assert refused.port.alive
        refused.says(events.Ready(), events.Connected(DEVICE, "Ana"))
        refused.tree.advance(40.0)
        assert [port.alive for port in refused.tree.ports(NAME)] == [True], "the former restart is replaced"

"""The real client in a port, on a WhatsApp service on this machine: everything it can be made to say."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from actors.port import CommandResult, CommandTimeout, PortExited, PortGone
from actors.port.events import (
    ClientOutdated,
    Connected,
    ConnectFailure,
    DialFailed,
    Disconnected,
    Event,
    KeepAliveRestored,
    KeepAliveTimeout,
    LoggedOut,
    LoginStatus,
    PairStatus,
    QrCode,
    StreamError,
    StreamReplaced,
    TemporaryBan,
)
from tests.actors.port.conftest import Link
from tests.actors.port.harness import Harbour, Watched
from tests.loopback.harness import session_rows
from tests.loopback.link import Drop
from tests.loopback.pairing import Forgery
from tests.loopback.service import LoopbackService


class TestPairing:
    def test_a_scanned_code_links_and_connects(
        self, wa: LoopbackService, harbour: Harbour, tmp_path: Path, number: str
    ) -> None:
        port = harbour.spawn(tmp_path / "new.db")
        code = port.wait(QrCode).code
        scan = wa.phone(number).scan(code)
        assert scan.paired
        paired, connected = port.wait(PairStatus), port.wait(Connected)
        assert (paired.jid, paired.platform, paired.error) == (scan.jid, "android", None)
        assert connected.jid == scan.jid
        assert connected.lid
        assert connected.lid.endswith("@lid")
        assert port.names == ["PortStarted", "Ready", "QrCode", "LoginStatus", "PairStatus", "Connected"]
        assert LoginStatus("success") in port.events
        assert (tmp_path / "new.db").stat().st_mode & 0o777 == 0o600

    def test_the_device_shows_as_the_platform_of_the_spec(self, harbour: Harbour, tmp_path: Path) -> None:
        """The code ends with the client's type: 1 is Chrome, 2 Edge."""
        ends = {"CHROME": ",1", "EDGE": ",2"}
        ports = {name: harbour.spawn(tmp_path / f"{name}.db", platform=name) for name in ends}
        assert all(port.wait(QrCode).code.endswith(ends[name]) for name, port in ports.items())

    @pytest.mark.parametrize("forge", ["bad_hmac", "bad_signature"])
    def test_a_forged_scan_is_refused(
        self, wa: LoopbackService, harbour: Harbour, tmp_path: Path, number: str, forge: Forgery
    ) -> None:
        port = harbour.spawn(tmp_path / "new.db")
        assert not wa.phone(number).scan(port.wait(QrCode).code, forge=forge).paired
        refused = port.wait(LoginStatus)
        assert refused.status == "error"
        assert "invalid device" in refused.error

    def test_a_phone_without_multidevice_is_told(
        self, wa: LoopbackService, harbour: Harbour, tmp_path: Path, number: str
    ) -> None:
        port = harbour.spawn(tmp_path / "new.db")
        wa.phone(number).scan(port.wait(QrCode).code, multidevice=False)
        assert port.wait(LoginStatus) == LoginStatus("err-scanned-without-multidevice")

    def test_codes_follow_each_other_until_the_batch_is_over(
        self, wa: LoopbackService, harbour: Harbour, tmp_path: Path
    ) -> None:
        wa.script_pairing(lifetimes=[0.2, 0.2, 0.2], times=1)
        port = harbour.spawn(tmp_path / "new.db")
        assert port.wait(LoginStatus) == LoginStatus("timeout")
        codes = [event.code for event in port.events if isinstance(event, QrCode)]
        assert len(set(codes)) == 3

    def test_an_outdated_client_is_told_at_registration(
        self, wa: LoopbackService, harbour: Harbour, tmp_path: Path
    ) -> None:
        with wa.refuse_registrations(405):
            port = harbour.spawn(tmp_path / "new.db")
            assert port.wait(LoginStatus) == LoginStatus("err-client-outdated")

    def test_a_typed_code_links_too(
        self, wa: LoopbackService, harbour: Harbour, tmp_path: Path, number: str
    ) -> None:
        port = harbour.spawn(tmp_path / "new.db")
        early = port.ask("pair_phone", number=number) if not port.events else None
        assert early is None or early.error_kind in (None, "not-ready")
        port.wait(QrCode)
        code = port.ask("pair_phone", number=number).value["code"]
        assert wa.phone(number).enter_code(code).paired
        assert port.wait(Connected).jid in wa.devices(number)

    def test_a_session_is_resumed_from_its_file_alone(self, harbour: Harbour, link: Link) -> None:
        """Should the host have died between the pairing and the note of it."""
        database, jid = link()
        assert harbour.spawn(database).wait(Connected).jid == jid


class TestLife:
    @pytest.mark.parametrize("how", ["reset", "fin", "close_frame"])
    def test_a_dropped_socket_heals(
        self, wa: LoopbackService, opened: tuple[Watched, str], how: Drop
    ) -> None:
        port, jid = opened
        wa.connection(jid).drop(how)
        port.wait(Disconnected)
        assert port.wait(Connected).jid == jid

    def test_stream_errors_heal(self, wa: LoopbackService, opened: tuple[Watched, str]) -> None:
        port, jid = opened
        expected: dict[int, list[type[Event]]] = {
            503: [StreamError, Disconnected, Connected],
            515: [StreamError, Connected],
            418: [StreamError, Disconnected, Connected],
        }
        for code, kinds in expected.items():
            wa.wait_open(jid)
            before = len(port.events)
            wa.connection(jid).stream_error(code)
            port.wait(Connected)
            assert [type(event) for event in port.events[before:]] == kinds, code
        assert StreamError("418") in port.events

    def test_a_reconnect_after_515_that_fails_is_told(
        self, wa: LoopbackService, opened: tuple[Watched, str]
    ) -> None:
        """The library tries it once, tells nobody, and stays silent for ever."""
        port, jid = opened
        wa.wait_open(jid)
        with wa.refuse_connections("reset", at="websocket"):
            wa.connection(jid).stream_error(515)
            assert port.wait(DialFailed).cause == "reset"

    def test_the_515_of_a_pairing_is_part_of_it(
        self, wa: LoopbackService, harbour: Harbour, tmp_path: Path, number: str
    ) -> None:
        port = harbour.spawn(tmp_path / "new.db")
        assert wa.phone(number).scan(port.wait(QrCode).code).paired
        port.wait(Connected)
        assert not [event for event in port.events if isinstance(event, StreamError)]

    @pytest.mark.parametrize("reason", [500, 503])
    def test_a_server_in_trouble_is_told_and_the_client_tries_again(
        self, *, wa: LoopbackService, harbour: Harbour, link: Link, reason: int
    ) -> None:
        database, jid = link()
        wa.refuse_logins(reason, jid=jid, times=1)
        port = harbour.spawn(database, jid=jid)
        assert port.wait(ConnectFailure) == ConnectFailure(reason, "")
        assert port.wait(Connected).jid == jid

    def test_a_removed_device_is_logged_out(self, wa: LoopbackService, harbour: Harbour, link: Link) -> None:
        database, jid = link()
        port = harbour.spawn(database, jid=jid)
        port.wait(Connected)
        wa.phone(jid.partition(":")[0]).remove_device(jid)
        assert port.wait(LoggedOut) == LoggedOut(on_connect=False, reason=401)
        assert port.wait(PortExited).exit_code == 0
        assert session_rows(database) == 1, (
            "whether that costs the session is decided by its row of the table"
        )

    def test_the_same_session_elsewhere_replaces_this_one(
        self, wa: LoopbackService, opened: tuple[Watched, str]
    ) -> None:
        port, jid = opened
        wa.connection(jid).stream_error("replaced", conflict="replaced")
        port.wait(StreamReplaced)

    @pytest.mark.parametrize(
        ("reason", "attributes", "expected"),
        [
            (401, {}, LoggedOut(on_connect=True, reason=401)),
            (403, {}, LoggedOut(on_connect=True, reason=403)),
            (406, {}, LoggedOut(on_connect=True, reason=406)),
            (402, {"code": 101, "expire": 3600}, TemporaryBan(101, 3600)),
            (402, {"code": 199, "expire": 60}, TemporaryBan(199, 60)),
            (405, {}, ClientOutdated()),
            (400, {}, ConnectFailure(400, "")),
            (409, {"message": "bad"}, ConnectFailure(409, "bad")),
            (418, {"message": "teapot"}, ConnectFailure(418, "teapot")),
            (501, {}, ConnectFailure(501, "")),
        ],
    )
    def test_a_refused_login_is_told_with_its_code(
        self,
        *,
        wa: LoopbackService,
        harbour: Harbour,
        link: Link,
        reason: int,
        attributes: dict[str, Any],
        expected: Event,
    ) -> None:
        """418 and the ban 199 have no name in the library, which drops them."""
        database, jid = link()
        wa.refuse_logins(reason, jid=jid, times=1, **attributes)
        port = harbour.spawn(database, jid=jid)
        assert port.wait(type(expected)) == expected
        port.end()
        assert session_rows(database) == 1, (
            "whether that costs the session is decided by its row of the table"
        )

    @pytest.mark.parametrize(
        ("reason", "expected"),
        [
            (400, ConnectFailure(400, "")),
            (402, TemporaryBan(0, 0)),
            (403, LoggedOut(on_connect=True, reason=403)),
        ],
    )
    def test_a_refused_registration_is_told_with_its_code(
        self, *, wa: LoopbackService, harbour: Harbour, tmp_path: Path, reason: int, expected: Event
    ) -> None:
        wa.refuse_registrations(reason, times=1)
        port = harbour.spawn(tmp_path / "new.db")
        assert port.wait(type(expected)) == expected

    @pytest.mark.slow
    def test_a_dead_link_is_noticed_by_unanswered_pings(
        self, wa: LoopbackService, opened: tuple[Watched, str]
    ) -> None:
        port, jid = opened
        wa.connection(jid).black_hole()
        assert port.wait(KeepAliveTimeout, 45).error_count == 1
        wa.connection(jid).black_hole(on=False)
        port.wait(KeepAliveRestored, 45)


class TestCommands:
    def test_profile_gives_the_names_and_perhaps_no_picture(self, opened: tuple[Watched, str]) -> None:
        port, jid = opened
        profile = port.ask("profile").value
        assert profile["jid"] == jid
        assert profile["picture_url"] is None
        assert profile.keys() == {"jid", "lid", "push_name", "business_name", "platform", "picture_url"}

    def test_logout_unlinks_and_deletes_the_session(
        self, wa: LoopbackService, harbour: Harbour, link: Link
    ) -> None:
        database, jid = link()
        port = harbour.spawn(database, jid=jid)
        port.wait(Connected)
        result = port.ask("logout")
        assert (result.error, result.value) == (None, None)
        assert jid not in wa.devices()
        assert session_rows(database) == 0

    def test_stop_closes_the_connection_and_ends_the_port(
        self, wa: LoopbackService, opened: tuple[Watched, str]
    ) -> None:
        port, jid = opened
        connection = wa.connection(jid)
        assert port.ask("stop").error is None
        exited = port.wait(PortExited)
        assert (exited.exit_code, exited.signal, exited.requested) == (0, None, False)
        connection.wait_closed()
        assert not port.handle.alive
        with pytest.raises(PortGone):
            port.handle.command("profile", 1.0)

    @pytest.mark.parametrize(
        ("name", "arguments", "kind"),
        [
            ("nonsense", {}, "unknown-command"),
            ("set_presence", {"presence": "dancing"}, "bad-argument"),
            ("set_presence", {"mood": "good"}, "bad-argument"),
            ("pair_phone", {"number": "+55 11"}, "bad-argument"),
            ("pair_phone", {"number": "5511999999999"}, "not-ready"),
            ("set_presence", {"presence": "available"}, "refused"),
        ],
    )
    def test_what_cannot_be_done_is_refused_with_its_kind(
        self, opened: tuple[Watched, str], name: str, arguments: dict[str, Any], kind: str
    ) -> None:
        port, _ = opened
        result = port.ask(name, **arguments)
        assert isinstance(result, CommandResult)
        assert (result.value, result.error_kind) == (None, kind)

    def test_before_the_client_exists_nothing_is_asked_of_it(
        self, wa: LoopbackService, harbour: Harbour, link: Link
    ) -> None:
        """The library would abort the process."""
        database, jid = link()
        with wa.refuse_connections("hang", at="websocket"):
            port = harbour.spawn(database, jid=jid)
            for name in ("logout", "profile"):
                assert port.ask(name).error_kind == "not-ready"
            assert port.ask("stop").error is None
            assert port.wait(PortExited).exit_code == 0

    def test_on_a_dead_link_a_command_ends_by_its_deadline(
        self, wa: LoopbackService, harbour: Harbour, link: Link
    ) -> None:
        database, jid = link()
        port = harbour.spawn(database, jid=jid, heartbeat=0.2)
        port.wait(Connected)
        wa.connection(jid).black_hole()
        timeout = port.ask("logout", timeout=0.5)
        assert timeout == CommandTimeout(port.incarnation, timeout.request_id, "logout")
        port.heartbeat()
        assert port.ask("nonsense").error_kind == "unknown-command"
        assert port.end().requested

    def test_a_command_whose_time_is_over_is_not_carried_out_later(
        self, wa: LoopbackService, harbour: Harbour, link: Link
    ) -> None:
        database, jid = link()
        port = harbour.spawn(database, jid=jid, heartbeat=0.2)
        port.wait(Connected)
        assert port.handle.pid is not None
        os.kill(port.handle.pid, signal.SIGSTOP)
        assert isinstance(port.ask("logout", timeout=0.3), CommandTimeout)
        os.kill(port.handle.pid, signal.SIGCONT)
        assert port.ask("nonsense").error_kind == "unknown-command"
        assert jid in wa.devices()


class TestOutput:
    @pytest.mark.parametrize("level", ["WARNING", "DEBUG"])
    def test_the_log_has_the_instances_name_and_no_part_of_a_code(
        self,
        *,
        wa: LoopbackService,
        harbour: Harbour,
        tmp_path: Path,
        number: str,
        caplog: pytest.LogCaptureFixture,
        level: str,
    ) -> None:
        caplog.set_level(logging.DEBUG, "zapvisor.port")
        wa.script_pairing(lifetimes=[0.2, 60], times=1)
        port = harbour.spawn(tmp_path / "new.db", log_level=level, instance=f"shop{level}")
        port.wait(QrCode)
        code = port.wait(QrCode).code
        wa.phone(number).scan(code)
        port.wait(Connected)
        port.end()
        told = [record for record in caplog.records if record.name == "zapvisor.port"]
        assert {getattr(record, "instance", None) for record in told} >= {f"shop{level}"}
        text = "\n".join(record.getMessage() for record in told)
        codes = [event.code for event in port.events if isinstance(event, QrCode)]
        for part in (part for code in codes for part in code.partition("#")[2].split(",") if len(part) > 2):
            assert part not in text
        assert ("<qr code>" in text) == (level == "DEBUG")

"""What a session that is started anew, by a host, by the ladder's last rung or by a crash, still knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import pytest

from actors.context import InstanceContext
from actors.disconnect import Disconnection
from actors.messages import Connect
from actors.services import Services
from actors.session import effects as do
from actors.session import inputs as be
from actors.session import machine
from actors.session.memory import Memory, Now
from actors.session.recall import fallen_since_stable, first_phase, noted_since, remember, replaced_lately
from actors.store import HistoryEntry, Instance
from actors.views import Desired, Phase
from supervisor.config import RecoverySettings, Settings
from tests.actors.session.desk import DEVICE

NOW = Now(mono=50.0, wall=1000.0)
NOTHING = cast(Any, None)


def ends(*entries: tuple[float, int, str]) -> list[HistoryEntry]:
    """Disconnections: seconds ago, code and cause, newest first."""
    return [
        HistoryEntry("id", "disconnection", at=NOW.wall - ago, code=code, cause=cause)
        for ago, code, cause in entries
    ]


def remembered(past: Sequence[HistoryEntry] = (), **row: Any) -> Memory:
    """What is known of an instance with this row and this history, newest first."""
    settings = Settings(recovery=RecoverySettings(jitter=0.0))
    services = Services(NOTHING, settings, NOTHING, NOTHING, NOTHING)
    stored = Instance("sales", "token", **{"desired": "up", "phase": "recovering", "logged_in": True, **row})
    return remember(stored, past, InstanceContext(stored.id, stored.name, services, granted=True), NOW)


def lost(m: Memory, disconnection: Disconnection) -> Memory:
    """Its next connection ends so."""
    machine.handle(m, be.Started(1), NOW)
    machine.handle(m, be.Exited(1, disconnection), NOW)
    return m


def said(commit: do.Commit) -> list[tuple[str, int, str | None]]:
    """Name, code and cause of each event."""
    return [
        (name, data.get("disconnectionReasonCode", data.get("statusReason")), data.get("cause"))
        for name, data in commit.events
    ]


class TestRow:
    def test_the_attempts_go_on_where_they_were(self) -> None:
        m = lost(remembered(recovery_attempts=3), Disconnection(428, "closed"))
        assert m.recovery_attempts == 4

    def test_the_qr_count_goes_on_where_it_was(self) -> None:
        """Invariant 2: a restart of the host is none of the user's doing."""
        m = remembered(phase="awaiting_scan", logged_in=False, qr_count=7)
        machine.handle(m, be.Started(1), NOW)
        machine.handle(m, be.CodeShown(1, "2@code"), NOW)
        assert m.qr_count == 8

    def test_a_ban_lasts_from_when_it_was_said_on(self) -> None:
        ban = {"statusCode": 402, "cause": "ban", "ban": 101, "expireSeconds": 3600}
        fields: dict[str, Any] = {"disconnection_code": 402, "disconnection_object": ban}
        fields["disconnection_at"] = NOW.wall - 600
        m = remembered(phase="failed", failed_reason="banned", **fields)
        assert m.banned_until == NOW.wall + 3000
        [reply] = machine.command(m, 1, Connect(), NOW)
        assert isinstance(reply, do.Reply)
        assert reply.refusal is not None
        assert remembered(phase="starting", **fields).banned_until is None, "somebody has forced it since"

    @pytest.mark.parametrize(
        ("stored", "desired", "reason", "phase"),
        [
            ("failed", "up", "5 attempts failed", Phase.FAILED),
            ("failed", "down", "banned", Phase.FAILED),
            ("stopping", "up", "5 attempts failed", Phase.FAILED),
            ("stopping", "up", None, Phase.STARTING),
            ("stopping", "down", None, Phase.CLOSED),
            ("open", "up", None, Phase.STARTING),
            ("open", "down", None, Phase.CLOSED),
            ("recovering", "up", None, Phase.RECOVERING),
            ("awaiting_scan", "up", None, Phase.STARTING),
        ],
    )
    def test_where_it_begins(self, stored: str, desired: str, reason: str | None, phase: Phase) -> None:
        """What was at rest, or on its way to it, stays at rest."""
        row = Instance("sales", "token", phase=stored, desired=desired, failed_reason=reason)
        assert first_phase(row, Desired(desired)) is phase


class TestEnd:
    """Invariant 7: a stop that the host did not live to finish."""

    STOPPED: ClassVar[dict[str, Any]] = {
        "phase": "stopping",
        "desired": "down",
        "logged_in": True,
        "device_jid": DEVICE,
        "recovery_attempts": 2,
        "qr_count": 3,
        "disconnection_code": 401,
        "disconnection_object": {"statusCode": 401, "name": "loggedOut", "cause": "command"},
        "disconnection_at": 990.0,
    }

    def test_a_device_that_was_to_be_forgotten_is(self) -> None:
        m = remembered(**self.STOPPED)
        commit, *others = machine.begin(m, NOW)
        assert isinstance(commit, do.Commit)
        assert others == [do.WipeCredentials(DEVICE), do.ClearCache()]
        assert commit.fields == {
            "phase": Phase.CLOSED,
            "logged_in": False,
            "device_jid": None,
            "recovery_attempts": 0,
            "qr_count": 0,
            "disconnection_code": 401,
            "disconnection_object": {"statusCode": 401, "name": "loggedOut", "cause": "command"},
            "disconnection_at": 990.0,
        }
        assert said(commit) == [
            ("status.instance", 401, "command"),
            ("logout.instance", 401, "command"),
            ("connection.update", 401, None),
        ]

    def test_one_without_a_device_is_told_whole_too(self) -> None:
        """A logout, or a 401, while a code waits to be scanned."""
        [commit] = machine.begin(remembered(**{**self.STOPPED, "logged_in": False}), NOW)
        assert isinstance(commit, do.Commit)
        assert [name for name, *_ in said(commit)] == [
            "status.instance",
            "logout.instance",
            "connection.update",
        ]

    def test_the_limit_of_codes_is_told_as_such(self) -> None:
        limit: dict[str, Any] = {"disconnection_code": 428, "disconnection_object": {"cause": "qr"}}
        [commit] = machine.begin(remembered(**{**self.STOPPED, "logged_in": False, **limit}), NOW)
        assert isinstance(commit, do.Commit)
        assert [(name, data.get("state")) for name, data in commit.events] == [
            ("qrcode.updated", None),
            ("connection.update", "refused"),
            ("no.connection", None),
        ]

    def test_of_a_delete_no_more_is_told_than_that_the_link_is_down(self) -> None:
        commit = machine.begin(remembered(**{**self.STOPPED, "disconnection_code": None}), NOW)[0]
        assert isinstance(commit, do.Commit)
        assert [name for name, _ in commit.events] == ["connection.update"]

    def test_so_is_a_failure(self) -> None:
        stored: dict[str, Any] = {"disconnection_code": 503, "disconnection_object": {"cause": "refused"}}
        commit = machine.begin(
            remembered(phase="stopping", failed_reason="5 attempts failed", **stored), NOW
        )[0]
        assert isinstance(commit, do.Commit)
        assert said(commit) == [
            ("status.instance", 503, "refused"),
            ("logout.instance", 503, "refused"),
            ("connection.update", 503, None),
        ]
        assert commit.fields["phase"] is Phase.FAILED

    def test_one_that_was_told_of_before_is_not_told_of_again(self) -> None:
        for phase in ("failed", "closed"):
            m = remembered(phase=phase, desired="down", failed_reason="banned" if phase == "failed" else None)
            assert machine.begin(m, NOW) == []

    @pytest.mark.parametrize(
        "otherwise",
        [{"phase": "closed"}, {"desired": "up"}, {"failed_reason": "banned"}, {"logged_in": False}],
    )
    def test_no_other_is(self, otherwise: dict[str, Any]) -> None:
        m = remembered(**{**self.STOPPED, **otherwise})
        assert do.WipeCredentials(DEVICE) not in machine.begin(m, NOW)


class TestHistory:
    def test_a_replacement_counts_those_before_the_restart(self) -> None:
        """Whoever replaces it gains nothing by a rung that starts the whole instance anew."""
        stable = HistoryEntry("id", "recovery", at=NOW.wall - 1, result="stable")
        past = ends(*((seconds, 440, "replaced") for seconds in (5, 10, 15, 20)))
        m = lost(remembered([stable, *past]), Disconnection(440, "replaced"))
        assert "another host uses it" in (m.failed_reason or "")
        assert lost(remembered([stable, *past[1:]]), Disconnection(440, "replaced")).failed_reason is None

    def test_a_disconnection_counts_those_with_its_code_before_the_restart(self) -> None:
        past = ends(*((seconds, 428, "closed") for seconds in (100, 200, 300, 400)))
        assert lost(remembered(past), Disconnection(428, "closed")).phase is Phase.STOPPING
        assert lost(remembered(past[1:]), Disconnection(428, "closed")).phase is Phase.RECOVERING

    def test_those_before_a_stable_connection_do_not_count(self) -> None:
        stable = HistoryEntry("id", "recovery", at=NOW.wall - 150, result="stable")
        healed = HistoryEntry("id", "recovery", at=NOW.wall - 50, result="success")
        newest, oldest = ends((100, 428, "closed"), (200, 428, "closed"))
        assert fallen_since_stable([healed, newest, stable, oldest]) == [(900.0, 428)]

    def test_replacements_of_the_last_half_minute_are_still_counted(self) -> None:
        past = ends((1, 440, "replaced"), (2, 428, "closed"), (29, 440, "replaced"), (31, 440, "replaced"))
        recovered = HistoryEntry("id", "recovery", at=999.5, code=440)
        assert replaced_lately([recovered, *past], Now(50.0, 1000.0)) == [21.0, 49.0]

    def test_replacements_before_a_fresh_budget_are_not(self) -> None:
        fresh = HistoryEntry("id", "recovery", at=NOW.wall - 3, result="fresh")
        newest, oldest = ends((1, 440, "replaced"), (5, 440, "replaced"))
        assert replaced_lately([newest, fresh, oldest], NOW) == [49.0]

    def test_a_drop_with_the_code_of_a_replacement_that_healed_is_none(self) -> None:
        """A `stream:error` with that number."""
        healed = HistoryEntry("id", "recovery", at=999.0, strategy="self", result="success", incarnation=1)
        assert replaced_lately([healed, drop(998.0, code=440)], NOW) == []

    def test_any_disconnection_since_is_noted(self) -> None:
        stable = HistoryEntry("id", "recovery", at=990.0, result="stable")
        back = HistoryEntry("id", "recovery", at=999.0, strategy="self", result="success")
        assert noted_since([back, drop(998.0), stable])
        assert not noted_since([stable, drop(980.0)])
        assert not noted_since([])

    def test_crashes_are_the_supervisors_to_count(self) -> None:
        past = ends((1, 428, "crash"), (2, 428, "closed"), (3, 408, "heartbeat"))
        assert fallen_since_stable(past) == [(997.0, 408), (998.0, 428)]

    def test_batches_of_codes_that_nobody_scanned_are_no_attempts(self) -> None:
        batch = HistoryEntry("id", "disconnection", at=999.0, code=408, cause="qr", action="next-batch")
        assert fallen_since_stable([batch, *ends((3, 408, "slow"))]) == [(997.0, 408)]

    def test_so_are_those_whose_limit_is_reached(self) -> None:
        limit = HistoryEntry("id", "disconnection", at=999.0, code=428, cause="qr", action="qr-limit")
        assert fallen_since_stable([limit, *ends((3, 408, "slow"))]) == [(997.0, 408)]

    def test_those_before_a_fresh_budget_do_not_count(self) -> None:
        fresh = HistoryEntry("id", "recovery", at=NOW.wall - 150, result="fresh")
        newest, oldest = ends((100, 428, "closed"), (200, 428, "closed"))
        assert fallen_since_stable([newest, fresh, oldest]) == [(900.0, 428)]

    def test_drops_that_the_client_healed_do_not_count(self) -> None:
        healed = HistoryEntry("id", "recovery", at=999.0, strategy="self", result="success", incarnation=1)
        assert fallen_since_stable([healed, drop(998.0), *ends((3, 408, "slow"))]) == [(997.0, 408)]

    def test_a_drop_whose_connection_then_ended_for_good_counts_once(self) -> None:
        """The client had its grace, and the end of it made a row of its own."""
        end = HistoryEntry("id", "disconnection", at=999.0, code=428, action="abort", incarnation=1)
        assert fallen_since_stable([end, drop(998.0)]) == [(999.0, 428)]

    def test_one_that_the_client_could_not_heal_counts(self) -> None:
        back = HistoryEntry("id", "recovery", at=999.5, strategy="reconnect", result="success", incarnation=2)
        assert fallen_since_stable([back, drop(998.0)]) == [(998.0, 428)]
        assert fallen_since_stable([drop(998.0)]) == [(998.0, 428)]


def drop(at: float, code: int = 428) -> HistoryEntry:
    return HistoryEntry("id", "disconnection", at=at, code=code, action="grace", incarnation=1)

"""The instance's state machine, transition by transition."""

from __future__ import annotations

from typing import Any

import pytest

from actors.disconnect import Disconnection
from actors.messages import (
    Banned,
    BeingDeleted,
    Configure,
    Connect,
    ForceReconnection,
    Logout,
    NotLoggedIn,
    NotNow,
    Reset,
    Restart,
    SetPresence,
)
from actors.recovery import Step
from actors.session import commands, losing, machine, stopping
from actors.session import effects as do
from actors.session import inputs as be
from actors.session.losing import CALM_SECONDS, GIVEN_BACK_IN_A_ROW
from actors.session.memory import Link, Now
from actors.views import Awaits, Desired, Phase
from supervisor.config import InstanceSettings, RecoverySettings
from tests.actors.session.desk import DEVICE, DROP, OWNER, Desk, DeskRules


def patient(**recovery: Any) -> InstanceSettings:
    """Attempts without end unless a test says otherwise."""
    return InstanceSettings(recovery=RecoverySettings(**{"jitter": 0.0, "max_attempts": 1000, **recovery}))


NUMBER, OTHER_NUMBER = "5511999990001", "5511999990002"


class TestPairing:
    def test_connect_starts_a_connection_and_waits_for_the_first_code(self) -> None:
        desk = Desk()
        caller = desk.command(Connect(wait=5))
        assert desk.m.phase is Phase.STARTING
        assert desk.of(do.StartLink)
        assert desk.reply(caller) is None
        desk.started()
        desk.code()
        assert desk.m.phase is Phase.AWAITING_SCAN
        assert desk.reply(caller) == do.Reply(caller, "Code 1 of 30 is waiting to be scanned")

    def test_a_caller_is_answered_when_the_wait_is_over(self) -> None:
        desk = Desk()
        caller = desk.command(Connect(wait=5))
        desk.input(be.Tick(f"wait:{caller}"))
        assert desk.reply(caller) == do.Reply(caller, "Still connecting")

    def test_each_code_counts_and_is_reported(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        for n in range(3):
            desk.code(f"2@{n}")
        assert desk.m.qr_count == 3
        assert desk.m.qr is not None
        assert desk.m.qr.code == "2@2"
        assert desk.event_names().count("qrcode.updated") == 3

    def test_a_scan_leads_over_pairing_to_open_and_zeroes_the_counter(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.input(be.Paired(desk.m.incarnation, DEVICE))
        assert desk.m.phase is Phase.PAIRING
        assert desk.m.qr is None
        desk.opened()
        assert desk.m.phase is Phase.OPEN
        assert (desk.m.qr_count, desk.m.logged_in) == (0, True)
        assert (desk.m.device_jid, desk.m.owner_jid) == (DEVICE, OWNER)

    def test_a_number_gives_a_pairing_code_with_the_first_code_of_each_batch(self) -> None:
        desk = Desk()
        caller = desk.command(Connect(number="5511999990001", wait=5))
        desk.started()
        desk.code()
        assert desk.of(do.PortCommand) == [do.PortCommand("pair_phone", f"pair:{NUMBER}", {"number": NUMBER})]
        assert desk.reply(caller) is None
        desk.input(be.CommandDone(desk.m.incarnation, f"pair:{NUMBER}", {"code": "ABCD-EFGH"}))
        assert desk.m.qr is not None
        assert desk.m.qr.pairing_code == "ABCD-EFGH"
        assert desk.reply(caller) is not None
        desk.code("2@second")
        assert desk.m.qr.pairing_code == "ABCD-EFGH"
        desk.exited(Disconnection(408, "qr"))
        desk.started()
        desk.code("2@third")
        assert len(desk.of(do.PortCommand)) == 2

    def test_the_number_is_asked_for_once(self) -> None:
        """Who is open has paired; a later code is not for that number any more unless it is given again."""
        desk = Desk()
        desk.command(Connect(number="5511999990001"))
        desk.started()
        desk.code()
        desk.opened()
        assert desk.m.pairing_number is None

    def test_a_code_says_that_no_device_is_linked_any_more(self) -> None:
        """The client shows one only when its store has no device: what the row says of it is out of date."""
        desk = Desk(logged_in=True)
        desk.command(Connect())
        desk.started()
        desk.code()
        assert not desk.m.logged_in
        assert desk.of(do.Commit)[-1].fields["logged_in"] is False

    def test_a_pairing_code_that_is_refused_leaves_the_picture(self) -> None:
        desk = Desk()
        caller = desk.command(Connect(number="5511999990001", wait=5))
        desk.started()
        desk.code()
        desk.input(be.CommandDone(desk.m.incarnation, f"pair:{NUMBER}", error="rate-overlimit"))
        assert desk.m.qr is not None
        assert (desk.m.qr.pairing_code, desk.m.qr.pairing_error) == (None, "rate-overlimit")
        text = "Code 1 of 30 is waiting to be scanned; there is no pairing code: rate-overlimit"
        assert desk.reply(caller) == do.Reply(caller, text)

    def test_a_pairing_code_that_is_refused_is_asked_for_again_by_a_person_or_with_the_next_batch(
        self,
    ) -> None:
        desk = Desk()
        desk.command(Connect(number=NUMBER, wait=5))
        desk.started()
        desk.code()
        desk.input(be.CommandDone(desk.m.incarnation, f"pair:{NUMBER}", error="rate-overlimit"))
        desk.clear()
        desk.code("2@second")
        assert desk.m.qr is not None
        assert desk.m.qr.pairing_error == "rate-overlimit"
        assert desk.of(do.PortCommand) == []
        polls = [desk.command(Connect(wait=5)) for _ in range(3)]
        assert all(desk.reply(poll) is not None for poll in polls)
        assert desk.of(do.PortCommand) == []
        desk.command(Connect(number=NUMBER))
        assert len(desk.of(do.PortCommand)) == 1
        desk.command(Connect(number=NUMBER, wait=5))
        desk.command(Connect(wait=5))
        assert len(desk.of(do.PortCommand)) == 1, "it is asked for already"
        desk.exited(Disconnection(408, "qr"))
        desk.started()
        desk.code("2@third")
        assert len(desk.of(do.PortCommand)) == 2

    def test_another_number_gets_a_pairing_code_of_its_own(self) -> None:
        desk = Desk()
        desk.command(Connect(number=NUMBER))
        desk.started()
        desk.code()
        desk.input(be.CommandDone(desk.m.incarnation, f"pair:{NUMBER}", {"code": "ABCD-EFGH"}))
        desk.clear()
        caller = desk.command(Connect(number=OTHER_NUMBER, wait=5))
        assert desk.of(do.PortCommand) == [
            do.PortCommand("pair_phone", f"pair:{OTHER_NUMBER}", {"number": OTHER_NUMBER})
        ]
        assert desk.reply(caller) is None
        assert desk.m.qr is not None
        assert desk.m.qr.pairing_code is None
        desk.input(be.CommandDone(desk.m.incarnation, f"pair:{OTHER_NUMBER}", {"code": "WXYZ-1234"}))
        assert desk.m.qr.pairing_code == "WXYZ-1234"
        assert desk.reply(caller) is not None

    def test_a_pairing_code_that_comes_late_is_not_taken_for_another_numbers(self) -> None:
        desk = Desk()
        desk.command(Connect(number=NUMBER))
        desk.started()
        desk.code()
        caller = desk.command(Connect(number=OTHER_NUMBER, wait=5))
        desk.input(be.CommandDone(desk.m.incarnation, f"pair:{NUMBER}", {"code": "ABCD-EFGH"}))
        assert desk.m.qr is not None
        assert desk.m.qr.pairing_code is None
        assert desk.reply(caller) is None


class TestReachable:
    """What it waited for is back (`actors.reachability`)."""

    AWAY = Disconnection(503, "refused", {"error": "connection refused"}, awaits=Awaits.NETWORK)

    def lost(self, disconnection: Disconnection) -> Desk:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(disconnection)
        desk.clear()
        return desk

    def test_the_try_that_is_due_is_made_when_it_is_its_turn(self) -> None:
        desk = self.lost(self.AWAY)
        assert machine.awaits(desk.m) is Awaits.NETWORK
        desk.set_clock(3600)
        desk.input(be.Reachable(1.5))
        assert desk.of(do.ResumeLink) == [do.ResumeLink(1.5)]
        assert desk.m.restart_due == desk.wall + 1.5

    def test_one_whose_turn_is_later_than_its_try_keeps_to_it(self) -> None:
        desk = self.lost(self.AWAY)
        desk.wait(9.5)
        desk.input(be.Reachable(1.0))
        assert desk.of(do.ResumeLink) == []

    @pytest.mark.parametrize("other", [DROP, Disconnection(440, "replaced"), Disconnection(408, "keepalive")])
    def test_who_waits_for_something_else_goes_on_waiting(self, other: Disconnection) -> None:
        desk = self.lost(other)
        desk.input(be.Reachable(0.0))
        assert desk.of(do.ResumeLink) == []

    def test_who_used_up_its_attempts_starts_anew_in_its_turn(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(5):
            desk.exited(self.AWAY)
            if desk.m.link is Link.HELD:
                desk.started()
        desk.input(be.LinkStopped())
        assert machine.awaits(desk.m) is Awaits.NETWORK
        desk.clear()
        desk.input(be.Reachable(1.5))
        assert desk.of(do.SetTimer) == [do.SetTimer(stopping.COOLDOWN, 1.5)]
        desk.input(be.Tick(stopping.COOLDOWN))
        assert desk.m.phase is Phase.STARTING

    def test_who_is_not_to_be_tried_again_stays_as_it_is(self) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient(on_limit="abort", max_attempts=0)))
        desk.open()
        desk.exited(self.AWAY)
        desk.input(be.LinkStopped())
        desk.clear()
        desk.input(be.Reachable(0.0))
        assert desk.effects == []

    def test_who_is_open_or_at_rest_does_not_mind(self) -> None:
        desk = Desk(logged_in=True)
        desk.input(be.Reachable(0.0))
        desk.open()
        desk.clear()
        desk.input(be.Reachable(0.0))
        assert desk.effects == []


class TestProfile:
    def test_name_and_picture_are_asked_for_once_a_connection(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.opened()
        assert desk.of(do.PortCommand) == [do.PortCommand("profile", "profile")]
        desk.input(
            be.CommandDone(1, "profile", {"push_name": "Ana", "picture_url": "https://example.org/a.jpg"})
        )
        assert desk.m.profile_pic_url == "https://example.org/a.jpg"

    def test_an_account_without_either_changes_nothing(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.input(be.CommandDone(1, "profile", {"push_name": "", "picture_url": None}))
        desk.input(be.CommandDone(1, "profile", error="timed out"))
        assert not desk.of(do.Commit)


class TestQrLimit:
    """Invariant 2: each code counts; what gives one back, and what zeroes the count."""

    def test_the_code_after_the_limit_is_refused_and_the_instance_closed(self) -> None:
        desk = Desk(rules=DeskRules(qr_limit=2))
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.code()
        desk.clear()
        desk.code()
        assert desk.m.phase is Phase.STOPPING
        assert desk.of(do.StopLink)
        assert desk.m.qr_count == 0, "also for a host that dies before the link has ended"
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.CLOSED
        assert desk.m.desired is Desired.DOWN
        [row] = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert (row["code"], row["cause"], row["action"]) == (428, "qr", "qr-limit")
        assert row["previous_phase"] == "awaiting_scan"
        [limit, refused, gone] = desk.events()
        assert limit == (
            "qrcode.updated",
            {"message": "QR code limit reached, please login again", "statusCode": 500},
        )
        assert refused[0] == "connection.update"
        assert refused[1]["state"] == "refused"
        assert gone[0] == "no.connection"

    def test_after_the_limit_connect_counts_from_one(self) -> None:
        desk = Desk(rules=DeskRules(qr_limit=1))
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.code()
        desk.input(be.LinkStopped())
        desk.command(Connect())
        desk.started()
        desk.code()
        assert desk.m.qr_count == 1

    def test_a_batch_that_ran_out_is_followed_at_once_and_its_codes_stay_counted(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        for n in range(6):
            desk.code(f"2@{n}")
        desk.wait(160.0)
        desk.exited(Disconnection(408, "qr"))
        assert desk.of(do.ResumeLink) == [do.ResumeLink(0.0)]
        assert desk.m.qr_count == 6
        assert desk.m.recovery_attempts == 0
        [row] = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert (row["code"], row["action"], row["previous_phase"]) == (408, "next-batch", "awaiting_scan")

    @pytest.mark.parametrize("code", [428, 408, 503])
    def test_a_lost_connection_gives_its_last_code_back(self, code: int) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.wait(20.0)
        desk.code()
        desk.exited(Disconnection(code, "reset"))
        assert desk.m.qr_count == 1
        assert desk.of(do.ResumeLink) == [do.ResumeLink(0.0)]

    def test_no_wait_is_longer_than_the_longest(self) -> None:
        desk = Desk(rules=DeskRules(settings=patient(max_delay=3.0)))
        desk.command(Connect())
        for _ in range(2):
            desk.started()
            desk.code()
            desk.exited(Disconnection(503, "reset"))
        assert desk.of(do.ResumeLink)[-1] == do.ResumeLink(3.0)

    @pytest.mark.parametrize(("code", "delay"), [(428, 2.0), (408, 5.0), (503, 10.0)])
    def test_losses_soon_one_after_the_other_wait_longer_and_longer(self, code: int, delay: float) -> None:
        """Else a service that ends every connection after its first code would be dialled without a pause."""
        desk = Desk()
        desk.command(Connect())
        for _ in range(4):
            desk.started()
            desk.code()
            desk.wait(CALM_SECONDS - 0.5)
            desk.exited(Disconnection(code, "reset"))
        waits = [0.0, delay, 2 * delay, 4 * delay]
        assert desk.of(do.ResumeLink) == [do.ResumeLink(wait) for wait in waits]
        desk.started()
        desk.code()
        desk.wait(CALM_SECONDS)
        desk.exited(Disconnection(code, "reset"))
        assert desk.of(do.ResumeLink)[-1] == do.ResumeLink(0.0)

    def test_a_code_that_nobody_scans_comes_to_an_end_even_if_each_connection_is_lost(self) -> None:
        desk = Desk()
        desk.command(Connect())
        losses = 0
        while desk.m.phase is not Phase.STOPPING:
            desk.started()
            desk.code()
            if desk.m.phase is not Phase.STOPPING:
                desk.exited(Disconnection(428, "closed"))
                losses += 1
        assert losses == 30 + GIVEN_BACK_IN_A_ROW
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.CLOSED

    def test_a_batch_that_ran_out_makes_the_losses_count_anew(self) -> None:
        desk = Desk()
        desk.command(Connect())
        for disconnection in (DROP, DROP, Disconnection(408, "qr"), DROP):
            desk.started()
            desk.code()
            desk.exited(disconnection)
        assert desk.of(do.ResumeLink) == [do.ResumeLink(wait) for wait in (0.0, 2.0, 0.0, 0.0)]

    def test_a_connect_after_the_limit_makes_the_losses_count_anew(self) -> None:
        desk = Desk()
        desk.command(Connect())
        for _ in range(3):
            desk.started()
            desk.code()
            desk.exited(DROP)
        desk.command(Logout())
        desk.input(be.LinkStopped())
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.exited(DROP)
        assert desk.of(do.ResumeLink)[-1] == do.ResumeLink(0.0)

    def test_a_port_that_is_killed_while_it_shows_codes_leaves_a_row_and_a_figure(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.input(be.Crashed(desk.m.incarnation, "SIGKILL"))
        assert desk.m.phase is Phase.STARTING
        assert desk.m.qr_count == 1
        [row] = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert (row["code"], row["cause"], row["action"], row["detail"]) == (
            428,
            "crash",
            "restart",
            {"signal": None, "reason": "SIGKILL"},
        )
        assert row["previous_phase"] == "awaiting_scan"
        assert desk.m.stats.disconnections == {(428, "restart"): 1}

    def test_a_connection_that_showed_no_code_gives_none_back_and_is_retried_with_a_delay(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.exited(Disconnection(503, "refused"))
        assert desk.of(do.ResumeLink) == [do.ResumeLink(10.0, Step.RECONNECT)]

    def test_codes_of_the_connection_before_are_not_this_ones(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.exited(Disconnection(408, "qr"))
        desk.started()
        desk.clear()
        desk.exited(Disconnection(503, "refused"))
        assert desk.of(do.ResumeLink) == [do.ResumeLink(10.0, Step.RECONNECT)]
        assert desk.m.qr_count == 1

    def test_any_other_end_gives_no_code_back_and_waits(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.exited(Disconnection(515, "pairing"))
        assert desk.of(do.ResumeLink) == [do.ResumeLink(1.0, Step.RECONNECT)]
        assert desk.m.qr_count == 1

    def test_a_crash_is_followed_by_the_next_code(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.input(be.Crashed(desk.m.incarnation, "killed by signal 9"))
        assert desk.m.phase is Phase.STARTING

    def test_a_phone_without_multi_device_is_reported_as_a_conflict(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.exited(Disconnection(411, "pairing"))
        assert ("multidevice.conflict", {"action": "logout_required", "statusReason": 411}) in desk.events()

    def test_the_count_is_not_zeroed_by_a_reconnect_of_its_own(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.exited(Disconnection(408, "qr"))
        desk.started()
        desk.code()
        assert desk.m.qr_count == 2

    def test_what_a_connect_is_told_counts_the_codes_of_earlier_connections_too(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.exited(Disconnection(408, "qr"))
        desk.started()
        desk.code()
        caller = desk.command(Connect())
        assert desk.reply(caller) == do.Reply(caller, "Code 2 of 30 is waiting to be scanned")

    def test_neither_a_restart_nor_a_connect_after_a_failure_zeroes_the_count(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.command(Restart())
        desk.input(be.LinkStopped())
        assert (desk.m.phase, desk.m.qr_count) == (Phase.STARTING, 1)
        desk.started()
        desk.code()
        desk.exited(Disconnection(405, "outdated"))
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        desk.command(Connect())
        assert (desk.m.phase, desk.m.qr_count) == (Phase.STARTING, 2)

    def test_a_clean_reconnection_counts_from_one(self) -> None:
        """The codes were those of a session that is no more."""
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.clear()
        desk.command(ForceReconnection(clean_session=True))
        desk.input(be.LinkStopped())
        assert desk.of(do.WipeCredentials)
        assert desk.of(do.Commit)[-1].fields["qr_count"] == 0
        desk.started()
        desk.code()
        assert desk.m.qr_count == 1


class TestRecovery:
    def test_a_drop_ends_open_at_once_and_the_clients_own_reconnect_is_a_recovery(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        assert desk.m.phase is Phase.RECOVERING
        desk.wait(0.007)
        desk.opened()
        assert desk.m.phase is Phase.OPEN
        [(_, data)] = [event for event in desk.events() if event[0] == "reconnection.success"]
        assert data == {"code": 428, "timeMs": 7, "strategy": "self"}
        assert desk.m.recovery_attempts == 0

    def test_the_time_to_recover_counts_from_the_first_loss(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(2):
            desk.exited(DROP)
            desk.wait(5)
            desk.started()
        desk.clear()
        desk.opened()
        [(_, data)] = [event for event in desk.events() if event[0] == "reconnection.success"]
        assert data["timeMs"] == 10_000

    def test_each_time_to_recover_is_its_own(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for seconds in (3, 5):
            desk.wait(100)
            desk.clear()
            desk.input(be.LinkDown(desk.m.incarnation, DROP))
            desk.wait(seconds)
            desk.opened()
            [(_, data)] = [event for event in desk.events() if event[0] == "reconnection.success"]
            assert data["timeMs"] == 1000 * seconds

    def test_a_drop_of_the_connection_after_one_that_did_not_heal_is_a_row_of_its_own(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.input(be.Crashed(desk.m.incarnation, "killed by signal 9"))
        desk.started()
        desk.exited(DROP)
        rows = [row["cause"] for commit in desk.of(do.Commit) for row in commit.history]
        assert rows == ["closed", "crash", "closed"]

    @pytest.mark.parametrize(("code", "cools_down"), [(408, True), (405, False)])
    def test_a_session_that_is_restarted_goes_on_cooling_down(self, code: int, cools_down: bool) -> None:
        desk = Desk(logged_in=True)
        desk.m.desired, desk.m.phase, desk.m.last_code = Desired.UP, Phase.FAILED, code
        effects = machine.begin(desk.m, Now(desk.time, desk.time))
        assert (do.SetTimer(stopping.COOLDOWN, 300.0) in effects) == cools_down

    def test_a_cooldown_does_not_bring_up_what_was_logged_out(self) -> None:
        desk = Desk()
        desk.m.restart_due = desk.time
        assert desk.input(be.Tick(stopping.COOLDOWN)) == []

    def test_a_drop_that_does_not_heal_is_one_row_of_history_and_one_attempt(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.exited(DROP)
        rows = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert [row["kind"] for row in rows] == ["disconnection"]
        assert desk.m.recovery_attempts == 1
        assert desk.of(do.ResumeLink) == [do.ResumeLink(2.0, Step.RECONNECT)]

    def test_delays_double_and_steps_climb_the_ladder_and_a_network_failure_keeps_the_session(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(DROP)
        for _ in range(2):
            desk.started()
            desk.exited(DROP)
        assert [(effect.after, effect.step) for effect in desk.of(do.ResumeLink)] == [
            (2.0, Step.RECONNECT),
            (4.0, Step.CLEAR_CACHE),
            (8.0, Step.RECONNECT),
        ]
        desk.started()
        desk.exited(DROP)
        assert desk.of(do.SetTimer)[-1] == do.SetTimer("escalate", 16.0)
        desk.input(be.Tick("escalate"))
        assert desk.of(do.Escalate)
        assert not desk.of(do.WipeCredentials)

    def test_who_waits_for_a_code_is_answered_before_the_last_rung_replaces_the_session(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(DROP)
        caller = desk.command(Connect(wait=60))
        for _ in range(3):
            desk.started()
            desk.exited(DROP)
        assert desk.reply(caller) is None
        desk.input(be.Tick("escalate"))
        asked = [effect for effect in desk.effects if isinstance(effect, do.Reply | do.Escalate)]
        assert asked[-2:] == [do.Reply(caller, "Still connecting"), do.Escalate()]

    def test_the_budget_ends_as_failed_visible_and_resumable(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for code in (428, 408, 428, 408, 428, 408):
            desk.exited(Disconnection(code, "closed"))
            if desk.m.link is Link.HELD:
                desk.started()
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        assert desk.m.failed_reason == "5 attempts failed, last with 408"
        assert desk.m.desired is Desired.UP
        assert desk.m.logged_in
        assert not desk.of(do.WipeCredentials)
        desk.command(Connect())
        assert desk.m.phase is Phase.STARTING
        assert desk.m.recovery_attempts == 0

    def test_five_disconnections_with_one_code_end_the_attempts_before_the_budget_does(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(5):
            desk.exited(DROP)
            desk.wait(3600)
            if desk.m.link is Link.HELD:
                desk.started()
                desk.opened()
        assert desk.m.phase is Phase.STOPPING
        desk.input(be.LinkStopped())
        assert desk.m.failed_reason == "5 times 428 without a stable connection"

    def test_those_that_healed_by_themselves_do_not_count_and_silence_does(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(3):
            desk.input(be.LinkDown(desk.m.incarnation, DROP))
            desk.opened()
        assert desk.m.fallen == []
        desk.input(be.Silent())
        assert [code for _, code in desk.m.fallen] == [408]

    def test_one_that_the_client_could_not_heal_counts_once(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.exited(DROP)
        assert [code for _, code in desk.m.fallen] == [428]

    def test_drops_that_healed_do_not_make_the_next_outage_the_last(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(6):
            desk.input(be.LinkDown(desk.m.incarnation, DROP))
            desk.opened()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.exited(DROP)
        assert desk.m.phase is Phase.RECOVERING
        assert desk.m.recovery_attempts == 1

    def test_a_connect_after_a_failure_counts_anew_also_in_a_host_that_is_restarted(self) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient(same_code_limit=2)))
        desk.open()
        desk.exited(DROP)
        desk.started()
        desk.exited(DROP)
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        desk.wait(30.0)
        desk.clear()
        desk.command(Connect())
        assert desk.m.fallen == []
        [row] = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert row == {"kind": "recovery", "at": 1030.0, "result": "fresh", "incarnation": 2}
        desk.started()
        desk.exited(DROP)
        assert desk.m.phase is Phase.RECOVERING

    @pytest.mark.parametrize("input", [be.Resume(), be.Tick(stopping.COOLDOWN)])
    def test_so_do_a_boot_and_the_end_of_a_cooldown(self, input: be.Input) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient(same_code_limit=2)))
        desk.open()
        desk.exited(DROP)
        desk.started()
        desk.exited(DROP)
        desk.input(be.LinkStopped())
        assert desk.m.fallen
        desk.input(input)
        assert desk.m.phase is Phase.STARTING
        assert desk.m.fallen == []

    def test_replacements_are_counted_anew_too(self) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient(same_code_limit=1000)))
        desk.open()
        for _ in range(5):
            desk.exited(Disconnection(440, "replaced"))
            desk.started()
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        desk.command(Connect())
        desk.started()
        desk.exited(Disconnection(440, "replaced"))
        assert desk.m.phase is Phase.RECOVERING

    @pytest.mark.parametrize("message", [Restart(), ForceReconnection()])
    def test_a_drop_that_a_command_cuts_short_is_noted_as_settled(self, message: Any) -> None:
        """Its row has no sequel: a session that reads it would count it, while this one does not."""
        desk = Desk(logged_in=True)
        desk.open()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.clear()
        desk.command(message)
        desk.input(be.LinkStopped())
        rows = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert [row.get("result") for row in rows] == ["fresh"]

    def test_so_is_one_that_healed_once_the_connection_is_stable(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.opened()
        desk.clear()
        for _ in range(2):
            desk.input(be.Tick(losing.STABLE))
        rows = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert [row.get("result") for row in rows] == ["stable"]

    def test_a_connection_that_cannot_be_started_is_in_the_history_and_counts(self) -> None:
        desk = Desk(logged_in=True)
        desk.command(Connect())
        desk.clear()
        desk.input(be.StartFailed("no more processes"))
        [commit] = desk.of(do.Commit)
        [row] = commit.history
        assert (row["code"], row["cause"], row["action"]) == (503, "start", "abort")
        assert row["detail"] == {"signal": None, "error": "no more processes"}
        assert commit.fields["disconnection_code"] == 503
        assert [code for _, code in desk.m.fallen] == [503]

    def test_a_start_with_nothing_to_forget_leaves_no_row(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        assert [row for commit in desk.of(do.Commit) for row in commit.history] == []

    def test_a_lost_link_does_not_go_on_becoming_stable(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        assert desk.of(do.CancelTimer) == [do.CancelTimer(losing.STABLE)]

    def test_a_stable_connection_in_between_makes_the_same_code_count_anew(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(12):
            desk.exited(DROP)
            desk.started()
            desk.opened()
            desk.input(be.Tick(losing.STABLE))
        assert desk.m.phase is Phase.OPEN

    def test_disconnections_older_than_the_window_do_not_count(self) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient()))
        desk.open()
        for _ in range(12):
            desk.exited(DROP)
            desk.wait(6 * 3600 + 1)
            desk.started()
            desk.opened()
        assert desk.m.phase is Phase.OPEN

    def test_who_was_replaced_once_too_often_does_not_take_the_session_back_by_itself(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(5):
            desk.exited(Disconnection(440, "replaced"))
            if desk.m.link is Link.HELD:
                desk.wait(60)
                desk.started()
                desk.opened()
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        assert desk.m.restart_due is None
        assert not [timer for timer in desk.of(do.SetTimer) if timer.name == stopping.COOLDOWN]
        desk.command(Connect())
        assert desk.m.phase is Phase.STARTING

    def test_nor_does_its_next_session(self) -> None:
        desk = Desk(logged_in=True)
        desk.m.phase, desk.m.desired, desk.m.last_code = Phase.FAILED, Desired.UP, 440
        desk.m.fallen = [(desk.wall, 440)] * 5
        assert machine.begin(desk.m, Now(desk.time, desk.wall)) == []

    def test_one_replacement_at_the_end_of_an_outage_is_no_reason_to_stay_away(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for code in (503, 408, 503, 408, 503, 440):
            desk.exited(Disconnection(code, "some"))
            if desk.m.link is Link.HELD:
                desk.started()
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        assert desk.m.restart_due is not None

    def test_a_cooldown_starts_anew_with_a_fresh_budget(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(5):
            desk.exited(DROP)
            if desk.m.link is Link.HELD:
                desk.started()
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        assert desk.of(do.SetTimer)[-1] == do.SetTimer(stopping.COOLDOWN, 300.0)
        assert desk.m.restart_due == desk.time + 300.0
        desk.wait(900)
        desk.input(be.Tick(stopping.COOLDOWN))
        assert desk.m.phase is Phase.STARTING
        assert desk.m.recovery_attempts == 0

    def test_with_abort_nothing_happens_until_somebody_connects(self) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient(on_limit="abort", max_attempts=0)))
        desk.open()
        desk.clear()
        desk.exited(DROP)
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        assert not [timer for timer in desk.of(do.SetTimer) if timer.name == stopping.COOLDOWN]

    def test_a_ban_refuses_to_connect_before_its_end(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(Disconnection(402, "ban", {"ban": 101, "expireSeconds": 3600}))
        desk.input(be.LinkStopped())
        refused = desk.reply(desk.command(Connect()))
        assert refused is not None
        assert isinstance(refused.refusal, Banned)
        assert refused.refusal.until == desk.time + 3600
        desk.wait(3600)
        desk.command(Connect())
        assert desk.m.phase is Phase.STARTING

    def test_a_connect_that_is_forced_ignores_the_ban(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(Disconnection(402, "ban", {"ban": 101, "expireSeconds": 3600}))
        desk.input(be.LinkStopped())
        caller = desk.command(Connect(force=True))
        assert desk.reply(caller) == do.Reply(caller, "Connecting")
        assert desk.m.phase is Phase.STARTING

    def test_a_forced_reconnection_ignores_the_ban(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(Disconnection(402, "ban", {"ban": 101, "expireSeconds": 3600}))
        desk.input(be.LinkStopped())
        desk.command(ForceReconnection())
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.STARTING

    def test_silence_replaces_the_connection_and_is_a_recovery(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.input(be.Silent())
        assert desk.of(do.StopLink)
        desk.input(be.LinkStopped())
        assert desk.of(do.StartLink)
        desk.started()
        desk.opened()
        [(_, data)] = [event for event in desk.events() if event[0] == "reconnection.success"]
        assert (data["code"], data["strategy"]) == (408, "inactivity")

    def test_silence_is_an_attempt_like_others_but_waits_no_longer(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.input(be.Silent())
        assert desk.m.recovery_attempts == 1
        [(_, data)] = [event for event in desk.events() if event[0] == "recovery.attempt"]
        assert (data["statusReason"], data["strategy"], data["delayMs"]) == (408, "inactivity", 0)

    @pytest.mark.parametrize(
        "limit", [{"max_attempts": 2, "same_code_limit": 100}, {"max_attempts": 100, "same_code_limit": 3}]
    )
    def test_silence_again_and_again_is_given_up(self, limit: dict[str, int]) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient(**limit)))
        desk.open()
        for _ in range(2):
            desk.input(be.Silent())
            desk.input(be.LinkStopped())
            desk.started()
            desk.opened()
        desk.input(be.Silent())
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        assert desk.m.logged_in, "silence deletes no session"

    @pytest.mark.parametrize("phase", ["closed", "failed", "stopping"])
    def test_silence_at_rest_is_no_news(self, phase: str) -> None:
        desk = Desk(logged_in=True)
        desk.m.phase, desk.m.link = Phase(phase), Link.RUNNING
        assert desk.input(be.Silent()) == []

    def test_the_attempts_are_cleared_by_stability_only(self) -> None:
        """Invariant 11."""
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(DROP)
        desk.started()
        desk.opened()
        assert desk.m.recovery_attempts == 1
        desk.input(be.Tick(losing.STABLE))
        assert desk.m.recovery_attempts == 0
        assert desk.of(do.Stable)

    def test_a_connection_is_stable_after_a_minute_of_being_open(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        assert do.SetTimer(losing.STABLE, 60.0) in desk.effects

    def test_stability_is_noted_so_that_a_restarted_host_counts_from_there_too(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(DROP)
        desk.started()
        desk.opened()
        desk.clear()
        desk.input(be.Tick(losing.STABLE))
        [row] = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert (row["kind"], row["result"]) == ("recovery", "stable")

    def test_a_connection_that_was_lost_meanwhile_is_not_stable(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(DROP)
        assert desk.input(be.Tick(losing.STABLE)) == []
        assert desk.m.recovery_attempts == 1

    def test_replacements_that_are_further_apart_are_told_as_any_other_loss(self) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient(same_code_limit=1000)))
        desk.open()
        for _ in range(8):
            desk.wait(10)
            desk.exited(Disconnection(440, "replaced"))
            desk.started()
            desk.opened()
        assert desk.m.phase is Phase.OPEN

    def test_five_replacements_in_thirty_seconds_stop_the_instance(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(5):
            desk.wait(5)
            desk.exited(Disconnection(440, "replaced"))
            if desk.m.link is Link.HELD:
                desk.started()
                desk.opened()
                desk.input(be.Tick(losing.STABLE))
        assert desk.m.phase is Phase.STOPPING
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        assert "another host uses it" in (desk.m.failed_reason or "")
        assert desk.m.logged_in

    @pytest.mark.parametrize("code", [401, 403, 500])
    def test_a_worthless_session_is_closed_and_its_credentials_deleted(self, code: int) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.exited(Disconnection(code, "logout"))
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.CLOSED
        assert desk.m.desired is Desired.DOWN
        assert not desk.m.logged_in
        assert desk.of(do.WipeCredentials)
        assert desk.event_names() == [
            "connection.update",
            "status.instance",
            "logout.instance",
            "connection.update",
        ]

    def test_who_asked_for_the_connection_that_showed_a_session_to_be_worthless_gets_a_code(self) -> None:
        """Otherwise the answer would be no code, `count` 0 and a closed instance, for something that worked."""
        desk = Desk(logged_in=True)
        caller = desk.command(Connect(wait=5))
        desk.started()
        desk.exited(Disconnection(500, "store"))
        desk.input(be.LinkStopped())
        assert desk.reply(caller) is None
        order = [type(effect) for effect in desk.effects]
        assert order.index(do.WipeCredentials) < len(order) - 1 - order[::-1].index(do.StartLink)
        desk.started()
        desk.code()
        assert desk.reply(caller) == do.Reply(caller, "Code 1 of 30 is waiting to be scanned")

    def test_a_session_store_that_stays_broken_is_tried_once(self) -> None:
        desk = Desk(logged_in=True)
        caller = desk.command(Connect(wait=5))
        for _ in range(2):
            desk.started()
            desk.exited(Disconnection(500, "store"))
            desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.CLOSED
        assert desk.reply(caller) is not None

    def test_a_drop_that_does_not_heal_and_was_the_last_allowed_is_recorded_as_the_end(self) -> None:
        desk = Desk(logged_in=True, rules=DeskRules(settings=patient(max_attempts=0)))
        desk.open()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.exited(DROP)
        rows = [row for commit in desk.of(do.Commit) for row in commit.history]
        assert [row["action"] for row in rows] == ["grace", "abort"]

    @pytest.mark.parametrize("code", [402, 405, 406, 411])
    def test_a_refusal_that_may_pass_keeps_the_credentials(self, code: int) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(Disconnection(code, "refused"))
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.FAILED
        assert desk.m.logged_in
        assert not desk.of(do.WipeCredentials)

    def test_a_crash_is_the_supervisors_to_restart_and_shows_as_recovering(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.input(be.Crashed(desk.m.incarnation, "killed by signal 9"))
        assert desk.m.phase is Phase.RECOVERING
        assert not desk.of(do.ResumeLink)
        assert "instance.crash" in desk.event_names()
        assert desk.m.recovery_attempts == 0, "bugs spend the supervisor's budget"
        desk.started()
        desk.opened()
        [(_, data)] = [event for event in desk.events() if event[0] == "reconnection.success"]
        assert data["strategy"] == "restart"

    def test_a_connect_while_a_restart_waits_long_makes_it_now(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(2):
            desk.exited(DROP)
            desk.started()
        desk.exited(DROP)
        desk.wait(2.0)
        desk.clear()
        desk.command(Connect(wait=1))
        assert desk.of(do.ResumeLink) == [do.ResumeLink(0.0)]

    def test_but_not_before_the_delay_of_its_code_is_over(self) -> None:
        """Who asks every second would use up all the attempts of an outage in as many seconds."""
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(2):
            desk.exited(DROP)
            desk.started()
        desk.exited(DROP)
        desk.wait(0.5)
        desk.clear()
        desk.command(Connect())
        assert desk.of(do.ResumeLink) == [do.ResumeLink(1.5)]

    @pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
    def test_nor_later_or_sooner_when_the_clock_is_set(self, seconds: float) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(2):
            desk.exited(DROP)
            desk.started()
        desk.exited(DROP)
        desk.wait(0.5)
        desk.set_clock(seconds)
        desk.clear()
        desk.command(Connect())
        assert desk.of(do.ResumeLink) == [do.ResumeLink(1.5)]
        assert desk.m.restart_due == desk.wall + 1.5

    def test_a_hurried_attempt_runs_its_rung_all_the_same(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(DROP)
        desk.started()
        desk.exited(DROP)
        desk.wait(2.0)
        desk.clear()
        desk.command(Connect())
        assert desk.of(do.ResumeLink) == [do.ResumeLink(0.0, Step.CLEAR_CACHE)]

    def test_so_does_the_last_one(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(3):
            desk.exited(DROP)
            desk.started()
        desk.exited(DROP)
        desk.wait(2.0)
        desk.clear()
        desk.command(Connect())
        assert desk.of(do.ResumeLink) == []
        assert do.SetTimer(losing.ESCALATE, 0.0) in desk.effects
        desk.input(be.Tick(losing.ESCALATE))
        assert desk.of(do.Escalate)

    def test_the_rung_is_what_is_reported(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(2):
            desk.exited(DROP)
            desk.started()
        desk.opened()
        told = [(name, data["strategy"]) for name, data in desk.events() if "strategy" in data]
        assert told == [
            ("recovery.attempt", "reconnect"),
            ("recovery.attempt", "clear-cache"),
            ("reconnection.success", "clear-cache"),
        ]

    def test_a_rung_that_was_not_reached_is_not_run_later(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(4):
            desk.exited(DROP)
            desk.started()
        desk.clear()
        desk.input(be.Tick(losing.ESCALATE))
        assert desk.of(do.Escalate) == []

    def test_and_once_for_each_attempt(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        for _ in range(2):
            desk.exited(DROP)
            desk.started()
        desk.exited(DROP)
        desk.clear()
        for _ in range(5):
            desk.wait(0.3)
            desk.command(Connect())
        assert len(desk.of(do.ResumeLink)) == 1

    def test_a_first_attempt_waits_no_longer_than_it_has_to(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.exited(DROP)
        desk.clear()
        desk.command(Connect(wait=1))
        assert desk.of(do.ResumeLink) == []


class TestStaleMessages:
    """Invariants 3 and 5."""

    def test_nothing_of_an_old_incarnation_changes_anything(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        old = desk.m.incarnation
        desk.exited(DROP)
        desk.started()
        before = (desk.m.phase, desk.m.qr_count, desk.m.recovery_attempts, desk.m.link)
        for item in (
            be.CodeShown(old, "2@old"),
            be.Opened(old, DEVICE, "Ana"),
            be.LinkDown(old, DROP),
            be.Exited(old, Disconnection(401, "logout")),
            be.Crashed(old, "late"),
            be.CommandDone(old, stopping.UNLINK),
        ):
            assert desk.input(item) == []
        assert (desk.m.phase, desk.m.qr_count, desk.m.recovery_attempts, desk.m.link) == before

    def test_nothing_of_a_connection_that_is_gone_changes_anything(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.command(Logout())
        desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
        desk.input(be.LinkStopped())
        for item in (be.Opened(1, DEVICE, "Ana"), be.Exited(1, DROP), be.Paired(1, DEVICE)):
            assert desk.input(item) == []
        assert (desk.m.phase, desk.m.logged_in) == (Phase.CLOSED, False)

    def test_what_arrives_while_stopping_is_ignored(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.command(Restart())
        desk.opened()
        assert desk.m.phase is Phase.STOPPING


class TestCommands:
    def test_logout_tells_the_phone_ends_the_port_and_forgets(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        caller = desk.command(Logout())
        assert desk.of(do.PortCommand)[-1] == do.PortCommand("logout", stopping.UNLINK)
        assert not desk.of(do.StopLink)
        desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
        assert desk.of(do.StopLink)
        desk.input(be.LinkStopped())
        assert desk.reply(caller) == do.Reply(caller, "Instance logged out")
        assert desk.of(do.WipeCredentials)
        assert (desk.m.phase, desk.m.desired, desk.m.logged_in) == (Phase.CLOSED, Desired.DOWN, False)

    def test_a_logout_that_the_phone_does_not_hear_ends_here_and_says_so(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        caller = desk.command(Logout())
        desk.input(be.Tick(stopping.UNLINK))
        desk.input(be.LinkStopped())
        reply = desk.reply(caller)
        assert reply is not None
        assert reply.message == "Instance logged out; the phone could not be told and still lists the device"
        assert not desk.m.logged_in

    @pytest.mark.parametrize("message", [Logout(), Reset(), ForceReconnection(clean_session=True)])
    def test_a_phone_that_has_removed_the_device_before_it_answers_was_told(self, message: Any) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        caller = desk.command(message)
        desk.exited(Disconnection(401, "logout"))
        desk.input(be.LinkStopped())
        reply = desk.reply(caller)
        assert reply is not None
        assert "still lists" not in reply.message

    def test_so_was_one_that_does_it_after_its_answer(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        caller = desk.command(Logout())
        desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK, error="websocket disconnected"))
        desk.exited(Disconnection(401, "logout"))
        desk.input(be.LinkStopped())
        assert desk.reply(caller) == do.Reply(caller, "Instance logged out")

    @pytest.mark.parametrize(
        ("message", "code", "cause"),
        [
            (Logout(), 401, "command"),
            (Reset(), 401, "reset"),
            (ForceReconnection(clean_session=True), 401, "command"),
        ],
    )
    def test_what_a_stop_is_for_is_stored_as_it_begins(self, message: Any, code: int, cause: str) -> None:
        """A host that dies in the middle of it can then say why the instance is closed."""
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.wait(5.0)
        desk.command(message)
        [commit] = desk.of(do.Commit)
        assert commit.fields["disconnection_code"] == code
        assert commit.fields["disconnection_object"]["cause"] == cause
        assert commit.fields["disconnection_at"] == desk.time

    def test_a_delete_leaves_nothing_to_tell_but_itself(self) -> None:
        for before in ([], [Logout()]):
            desk = Desk(logged_in=True)
            desk.open()
            for message in before:
                desk.command(message)
            desk.input(be.Purge())
            assert desk.of(do.Commit)[-1].fields["disconnection_code"] is None

    @pytest.mark.parametrize("message", [Logout(), Reset(), ForceReconnection(clean_session=True)])
    def test_a_link_that_ends_otherwise_before_the_answer_leaves_that_open(self, message: Any) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        caller = desk.command(message)
        desk.exited(Disconnection(503, "reset"))
        desk.input(be.LinkStopped())
        reply = desk.reply(caller)
        assert reply is not None
        assert "still lists" in reply.message

    def test_the_phone_is_waited_for_a_second_longer_than_a_port_may_take_to_answer(self) -> None:
        """The port says itself that it missed its deadline; this one is for a connection that says nothing."""
        for message in (Logout(), Reset(), ForceReconnection(clean_session=True)):
            desk = Desk(logged_in=True)
            desk.open()
            desk.command(message)
            assert do.SetTimer(stopping.UNLINK, desk.m.rules.command_timeout + 1.0) in desk.effects

    def test_the_row_says_why_it_was_closed_also_when_nothing_was_lost(self) -> None:
        for message, cause in ((Logout(), "command"), (Reset(), "reset")):
            desk = Desk(logged_in=True)
            desk.open()
            desk.command(message)
            desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
            desk.wait(3)
            desk.input(be.LinkStopped())
            row = desk.of(do.Commit)[-1].fields
            assert (row["disconnection_code"], row["disconnection_at"]) == (401, desk.time)
            assert row["disconnection_object"]["cause"] == cause

    def test_logout_without_a_session_is_refused(self) -> None:
        desk = Desk()
        caller = desk.command(Logout())
        reply = desk.reply(caller)
        assert reply is not None
        assert isinstance(reply.refusal, NotLoggedIn)

    def test_a_logout_that_meets_the_scan_says_that_the_phone_lists_a_device(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        caller = desk.command(Logout())
        desk.input(be.Paired(desk.m.incarnation, DEVICE))
        desk.input(be.LinkStopped())
        text = "Instance logged out; the phone could not be told and still lists the device"
        assert desk.reply(caller) == do.Reply(caller, text)
        assert do.WipeCredentials(DEVICE) in desk.effects

    def test_logout_in_the_qr_phase_stops_the_pairing(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        caller = desk.command(Logout())
        desk.input(be.LinkStopped())
        assert desk.reply(caller) == do.Reply(caller, "Pairing stopped; no device was linked")
        assert (desk.m.phase, desk.m.qr_count) == (Phase.CLOSED, 0)

    def test_a_second_logout_joins_the_first(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        first, second = desk.command(Logout()), desk.command(Logout())
        desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
        desk.input(be.LinkStopped())
        assert desk.reply(first) is not None
        assert desk.reply(second) is not None
        assert len(desk.of(do.StopLink)) == 1

    def test_connect_during_logout_waits_its_turn_and_then_starts_anew(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.command(Logout())
        caller = desk.command(Connect(wait=5))
        desk.clear()
        desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.STARTING
        assert desk.of(do.StartLink)
        wiped = next(i for i, e in enumerate(desk.effects) if isinstance(e, do.WipeCredentials))
        started = next(i for i, e in enumerate(desk.effects) if isinstance(e, do.StartLink))
        assert wiped < started, "the old credentials are gone before the new connection looks for any"
        desk.started()
        desk.code()
        assert desk.reply(caller) is not None

    def test_more_commands_than_can_wait_for_a_stop_are_refused(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.command(Logout())
        waiting = [desk.command(Connect()) for _ in range(commands.DEFERRED_LIMIT)]
        reply = desk.reply(desk.command(Connect()))
        assert reply is not None
        assert isinstance(reply.refusal, NotNow)
        assert "already wait" in str(reply.refusal)
        desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
        desk.input(be.LinkStopped())
        assert all(desk.reply(caller) is not None for caller in waiting)

    def test_two_connects_make_one_connection(self) -> None:
        desk = Desk()
        first, second = desk.command(Connect(wait=5)), desk.command(Connect(wait=5))
        assert len(desk.of(do.StartLink)) == 1
        desk.started()
        desk.code()
        assert desk.reply(first) is not None
        assert desk.reply(second) is not None

    def test_restart_gives_a_new_connection_with_the_same_session(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        caller = desk.command(Restart())
        desk.input(be.LinkStopped())
        assert desk.m.phase is Phase.STARTING
        assert desk.m.logged_in
        assert not desk.of(do.WipeCredentials)
        assert desk.reply(caller) == do.Reply(caller, "Instance restarted")

    def test_restart_of_a_closed_instance_is_refused_with_the_phase(self) -> None:
        desk = Desk()
        caller = desk.command(Restart())
        reply = desk.reply(caller)
        assert reply is not None
        assert isinstance(reply.refusal, NotNow)
        assert "closed" in str(reply.refusal)

    def test_a_clean_reconnection_deletes_the_credentials_first(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.command(ForceReconnection(clean_session=True))
        desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
        desk.clear()
        desk.input(be.LinkStopped())
        kinds = [type(effect) for effect in desk.effects]
        assert kinds.index(do.WipeCredentials) < kinds.index(do.StartLink)
        assert not desk.m.logged_in

    def test_reset_is_accepted_at_rest_and_zeroes_the_counters(self) -> None:
        desk = Desk(logged_in=True)
        desk.m.qr_count, desk.m.recovery_attempts = 7, 3
        caller = desk.command(Reset())
        desk.input(be.LinkStopped())
        assert desk.reply(caller) is not None
        assert (desk.m.qr_count, desk.m.recovery_attempts, desk.m.logged_in) == (0, 0, False)
        assert desk.of(do.WipeCredentials)
        assert desk.of(do.ClearCache)

    def test_presence_needs_an_open_connection(self) -> None:
        desk = Desk(logged_in=True)
        caller = desk.command(SetPresence("available"))
        reply = desk.reply(caller)
        assert reply is not None
        assert isinstance(reply.refusal, NotNow)

    def test_a_caller_whose_connection_ends_before_the_answer_is_told(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        caller = desk.command(SetPresence("available"))
        desk.command(Restart())
        desk.input(be.LinkStopped())
        reply = desk.reply(caller)
        assert reply is not None
        assert isinstance(reply.refusal, NotNow)

    def test_settings_are_stored_in_any_phase(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.command(Restart())
        caller = desk.command(Configure(webhook={"url": "https://example.org"}))
        assert desk.reply(caller) is not None
        assert desk.of(do.Commit)[-1].fields["webhook"] == {"url": "https://example.org"}

    def test_a_purge_ends_whatever_goes_on_and_says_nothing_more(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        waiting = desk.command(Logout())
        later = desk.command(Connect(wait=5))
        desk.clear()
        desk.input(be.Purge())
        desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
        desk.input(be.LinkStopped())
        assert desk.of(do.Purged)
        assert desk.event_names() == []
        for caller in (waiting, later):
            reply = desk.reply(caller)
            assert reply is not None
            assert isinstance(reply.refusal, BeingDeleted)


class TestBoot:
    def test_a_desired_instance_starts_when_it_is_granted_its_turn(self) -> None:
        desk = Desk(logged_in=True)
        desk.m.desired, desk.m.phase = Desired.UP, Phase.STARTING
        desk.input(be.Resume())
        assert desk.of(do.StartLink)

    def test_a_boot_does_not_break_a_ban(self) -> None:
        desk = Desk(logged_in=True)
        desk.m.desired, desk.m.phase = Desired.UP, Phase.FAILED
        desk.m.banned_until = desk.time + 60
        assert desk.input(be.Resume()) == []
        desk.wait(60)
        desk.input(be.Resume())
        assert desk.of(do.StartLink)

    def test_an_instance_that_is_not_desired_stays_closed(self) -> None:
        desk = Desk(logged_in=True)
        assert desk.input(be.Resume()) == []
        assert desk.m.phase is Phase.CLOSED

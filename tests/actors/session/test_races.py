"""Orders of messages that random search has found to matter, each as the smallest example of itself."""

from __future__ import annotations

from actors.disconnect import Disconnection
from actors.messages import Banned, Connect, ForceReconnection, Logout, NotNow, Reset, Restart, SetPresence
from actors.recovery import Step
from actors.session import effects as do
from actors.session import inputs as be
from actors.session import stopping
from actors.session.memory import Link
from actors.session.recall import first_phase
from actors.store import Instance
from actors.views import Desired, Phase
from supervisor.config import InstanceSettings, RecoverySettings
from supervisor.config.codes import DEFAULT_RULES
from supervisor.config.frozen import FrozenDict
from tests.actors.session.desk import DEVICE, DROP, Desk, DeskRules


class TestCredentials:
    """Invariant 7: deleted everywhere, so also where they are found by their device alone."""

    def test_the_wipe_names_the_device_that_the_row_has_forgotten_by_then(self) -> None:
        for message in (Logout(), Reset(), ForceReconnection(clean_session=True)):
            desk = Desk(logged_in=True)
            desk.open()
            desk.command(message)
            desk.input(be.CommandDone(desk.m.incarnation, stopping.UNLINK))
            desk.input(be.LinkStopped())
            assert desk.m.device_jid is None
            assert desk.of(do.WipeCredentials) == [do.WipeCredentials(DEVICE)]
            assert desk.of(do.ClearCache)

    def test_a_step_that_resets_the_session_forgets_the_device_too(self) -> None:
        """Otherwise the next connection would look for a device that is not there and call it a bad session."""
        rules = {**DEFAULT_RULES, 428: DEFAULT_RULES[428].model_copy(update={"cleanup": True})}
        settings = InstanceSettings(
            recovery=RecoverySettings(jitter=0.0, ladder=("reset-session",)), disconnect=FrozenDict(rules)
        )
        desk = Desk(logged_in=True, rules=DeskRules(settings=settings))
        desk.open()
        desk.exited(DROP)
        assert desk.of(do.ResumeLink)[-1].step is Step.RESET_SESSION
        assert desk.of(do.WipeCredentials) == [do.WipeCredentials(DEVICE)]
        assert (desk.m.logged_in, desk.m.device_jid) == (False, None)


class TestStopping:
    def test_a_start_that_fails_while_it_is_being_stopped_does_not_lose_who_stops_it(self) -> None:
        desk = Desk()
        desk.command(Connect())
        caller = desk.command(Logout())
        desk.input(be.StartFailed("no more processes"))
        desk.input(be.LinkStopped())
        assert desk.reply(caller) is not None
        assert desk.m.phase is Phase.CLOSED

    def test_a_logout_is_wanted_from_its_first_moment_on(self) -> None:
        """Invariant 4: a host that dies in the middle of it does not come back with a connection."""
        for message in (Logout(), Reset()):
            desk = Desk(logged_in=True)
            desk.open()
            desk.command(message)
            assert desk.m.phase is Phase.STOPPING
            assert desk.m.desired is Desired.DOWN

    def test_a_failure_is_stored_from_its_first_moment_on(self) -> None:
        """A host that dies in the middle of it comes back to the failure, and does not break a ban."""
        desk = Desk(logged_in=True)
        desk.open()
        desk.clear()
        desk.exited(Disconnection(402, "ban", {"ban": 101, "expireSeconds": 3600}))
        assert desk.m.phase is Phase.STOPPING
        [commit] = desk.of(do.Commit)
        assert commit.fields["failed_reason"]
        stored = Instance("sales", "token", phase="stopping", failed_reason=commit.fields["failed_reason"])
        assert first_phase(stored, Desired.UP) is Phase.FAILED

    def test_a_restart_that_is_under_way_is_still_wanted_up(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.command(Restart())
        assert desk.m.desired is Desired.UP

    def test_a_reconnection_of_what_is_closed_is_wanted_up_from_its_first_moment_on(self) -> None:
        """Invariant 7: a host that dies in the middle of it does not take it for a logout."""
        desk = Desk(logged_in=True)
        desk.command(ForceReconnection())
        assert (desk.m.phase, desk.m.desired) == (Phase.STOPPING, Desired.UP)

    def test_what_is_to_lose_its_device_is_stored_as_such_from_its_first_moment_on(self) -> None:
        """Invariants 4 and 7: a host that dies in the middle of it does not come back to that device."""
        for message in (Logout(), Reset(), ForceReconnection(clean_session=True)):
            desk = Desk(logged_in=True)
            desk.open()
            desk.command(message)
            assert (desk.m.phase, desk.m.desired, desk.m.logged_in) == (Phase.STOPPING, Desired.DOWN, True)

    def test_a_logout_of_what_has_failed_is_no_failure_any_more(self) -> None:
        """A host that dies in the middle of it does not come back to the failure, with the device."""
        desk = Desk(logged_in=True)
        banned(desk)
        assert desk.m.failed_reason is not None
        desk.clear()
        desk.command(Logout())
        [commit] = desk.of(do.Commit)
        assert commit.fields["failed_reason"] is None

    def test_a_device_that_is_linked_at_the_limit_of_codes_is_not_lost_with_the_host(self) -> None:
        """Invariant 7: nobody has asked for its deletion."""
        desk = Desk(rules=DeskRules(qr_limit=1))
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.code()
        desk.clear()
        desk.input(be.Paired(desk.m.incarnation, DEVICE))
        [commit] = desk.of(do.Commit)
        assert commit.fields["desired"] is Desired.UP
        desk.input(be.LinkStopped())
        assert (desk.m.phase, desk.m.desired, desk.m.logged_in) == (Phase.CLOSED, Desired.DOWN, True)
        assert not desk.of(do.WipeCredentials)

    def test_a_delete_does_not_let_a_restarted_session_connect(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.input(be.Purge())
        assert desk.m.desired is Desired.DOWN

    def test_a_delete_during_a_restart_does_not_either(self) -> None:
        desk = Desk(logged_in=True)
        desk.open()
        desk.command(Restart())
        desk.input(be.Purge())
        assert desk.m.desired is Desired.DOWN

    def test_a_device_that_is_linked_while_it_is_being_stopped_is_known_to_whoever_deletes_it(self) -> None:
        desk = Desk()
        desk.command(Connect())
        desk.started()
        desk.code()
        desk.command(Logout())
        desk.input(be.Paired(desk.m.incarnation, DEVICE))
        assert desk.m.phase is Phase.STOPPING
        desk.input(be.LinkStopped())
        assert desk.of(do.WipeCredentials) == [do.WipeCredentials(DEVICE)]


class TestCallers:
    def test_a_caller_whose_port_dies_is_told_so(self) -> None:
        for end in (be.Exited(1, DROP), be.Crashed(1, "killed by signal 9")):
            desk = Desk(logged_in=True)
            desk.open()
            caller = desk.command(SetPresence("available"))
            desk.input(end)
            reply = desk.reply(caller)
            assert reply is not None
            assert isinstance(reply.refusal, NotNow)


def banned(desk: Desk) -> None:
    """Open, then banned for an hour."""
    desk.open()
    desk.exited(Disconnection(402, "ban", {"ban": 101, "expireSeconds": 3600}))
    desk.input(be.LinkStopped())
    assert desk.m.phase is Phase.FAILED


class TestTimers:
    def test_a_restart_does_not_break_a_ban(self) -> None:
        desk = Desk(logged_in=True)
        banned(desk)
        reply = desk.reply(desk.command(Restart()))
        assert reply is not None
        assert isinstance(reply.refusal, Banned)

    def test_a_cooldown_of_an_earlier_failure_does_not_break_a_ban(self) -> None:
        desk = Desk(logged_in=True)
        desk.m.rules.settings = InstanceSettings(  # type: ignore[attr-defined]
            recovery=RecoverySettings(jitter=0.0, max_attempts=0, on_limit="cooldown")
        )
        desk.open()
        desk.exited(DROP)
        desk.input(be.LinkStopped())
        assert desk.m.restart_due is not None
        banned(desk)
        desk.input(be.Tick(stopping.COOLDOWN))
        assert desk.m.phase is Phase.FAILED

    def test_a_rung_that_was_made_void_by_a_restart_does_not_restart_the_instance(self) -> None:
        desk = Desk(logged_in=True)
        desk.m.rules.settings = InstanceSettings(  # type: ignore[attr-defined]
            recovery=RecoverySettings(jitter=0.0, ladder=("restart-instance", "reconnect"))
        )
        desk.open()
        desk.exited(DROP)
        desk.command(Restart())
        desk.input(be.LinkStopped())
        desk.started()
        desk.m.recovery_attempts = 1
        desk.exited(DROP)
        assert desk.m.link is Link.HELD
        desk.clear()
        desk.input(be.Tick("escalate"))
        assert not desk.of(do.Escalate)


class TestStarting:
    def test_a_start_that_is_refused_leaves_nothing_that_the_next_one_meets(self) -> None:
        """What the supervisor still has, a connection or a restart that is due, is ended before it counts as failed."""
        desk = Desk(logged_in=True)
        desk.command(Connect())
        desk.clear()
        desk.input(be.StartFailed("it is restarting"))
        assert desk.m.phase is Phase.STOPPING
        assert desk.of(do.StopLink)
        desk.input(be.LinkStopped())
        assert (desk.m.phase, desk.m.link, desk.m.logged_in) == (Phase.FAILED, Link.ABSENT, True)

    def test_a_start_that_was_refused_over_one_that_has_ended_since_is_no_failure(self) -> None:
        desk = Desk(logged_in=True)
        desk.command(Connect())
        desk.started()
        desk.exited(DROP)
        desk.input(be.StartFailed("it is restarting"))
        assert desk.m.phase is Phase.RECOVERING
        assert desk.m.link is Link.HELD

    def test_a_connection_that_could_not_be_started_is_tried_again_after_the_cooldown(self) -> None:
        """A restart of the forkserver, or a machine without descriptors, passes."""
        desk = Desk()
        caller = desk.command(Connect())
        desk.input(be.StartFailed("no more processes"))
        desk.input(be.LinkStopped())
        assert desk.reply(caller) is not None
        assert desk.m.phase is Phase.FAILED
        assert desk.m.restart_due is not None
        assert stopping.COOLDOWN in [timer.name for timer in desk.of(do.SetTimer)]
        starts = len(desk.of(do.StartLink))
        desk.input(be.Tick(stopping.COOLDOWN))
        assert desk.m.phase is Phase.STARTING
        assert len(desk.of(do.StartLink)) == starts + 1

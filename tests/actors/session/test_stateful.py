"""The instance under random commands, signals and deaths: its invariants hold after every step.

`python -m tests.actors.session` takes as many random steps as it is told; more of them search deeper.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actors.disconnect import Disconnection
from actors.messages import (
    Connect,
    ForceReconnection,
    Logout,
    Reset,
)
from actors.recovery import REPLACED_WINDOW
from actors.session import effects as do
from actors.session import inputs as be
from actors.session import machine
from actors.session.losing import CALM_SECONDS, GIVEN_BACK_IN_A_ROW
from actors.session.memory import Link, Purpose
from actors.session.recall import fallen_since_stable, noted_since, replaced_lately
from actors.session.stopping import COOLDOWN, UNLINK
from actors.views import Desired, Phase
from supervisor.config import Settings
from tests.actors.session.vocabulary import (
    BAN_SECONDS,
    COMMANDS,
    DELETING,
    ENDS,
    NETWORK,
    UNBANNING,
    budget,
    some_settings,
)
from tests.actors.session.world import DEVICE, Connection, World

STEPS_AN_EXAMPLE = 60


class Machine(RuleBasedStateMachine):
    """One instance in its `World`; beside it, what an onlooker may expect of it."""

    @initialize(configuration=some_settings())
    def start(self, configuration: Settings) -> None:
        self.world = World(configuration)
        self.configuration = configuration
        self.count = 0
        self.banned_until = 0.0
        self.link_is_up = False
        self.opened_at: float | None = None
        self.last_exit: int | None = None
        self.purging = self.purge_seen = False
        self.codes = 0

    # -- what the outside does ------------------------------------------------------------------------------

    @precondition(lambda self: not self.purging)
    @rule(message=COMMANDS)
    def command(self, message: Any) -> None:
        self.world.command(message)

    @precondition(lambda self: not self.purging)
    @rule(message=COMMANDS)
    def command_carried_out(self, message: Any) -> None:
        self.world.command(message)
        self.settle()

    @precondition(lambda self: self.world.session)
    @rule()
    def deliver(self) -> None:
        self.observe_delivery()

    @precondition(lambda self: self.world.store)
    @rule()
    def store_commits(self) -> None:
        self.world.commit()

    @precondition(lambda self: self.world.supervisor)
    @rule()
    def supervise(self) -> None:
        self.world.supervise()

    @precondition(lambda self: not self.world.quiet)
    @rule()
    def settle(self) -> None:
        while not self.world.quiet:
            if self.world.session and not self.world.store:
                self.observe_delivery()
            else:
                self.world.step()

    @precondition(lambda self: self.world.timers or self.world.due or self.banned_until)
    @rule(seconds=st.sampled_from((0.5, 3.0, 11.0, 61.0, 1000.0)))
    def time_passes(self, seconds: float) -> None:
        """Long enough for a wait, a logout, stability, a cooldown."""
        target = self.world.time + seconds
        while (due := self.world._next_due()) is not None and due[0] <= target:
            self.world.advance(max(0.0, due[0] - self.world.time), settle=False)
            self.settle()
        self.world.time = target

    @precondition(lambda self: not self.world.quiet)
    @rule()
    def time_passes_while_messages_wait(self) -> None:
        self.world.advance(5.0, settle=False)

    # -- what the connection says ---------------------------------------------------------------------------

    @property
    def connection(self) -> Connection | None:
        return self.world.connection

    @precondition(lambda self: self.connection is not None)
    @rule(kind=st.sampled_from(("up", "code", "paired", "opened", "opened", "down", "alive")))
    def notice(self, kind: str) -> None:
        assert self.connection is not None
        number = self.connection.incarnation
        self.codes += 1
        notices: dict[str, be.Input] = {
            "up": be.PortUp(number, 4711),
            "code": be.CodeShown(number, f"2@{self.codes}"),
            "paired": be.Paired(number, DEVICE),
            "opened": be.Opened(number, DEVICE, "Ana"),
            "down": be.LinkDown(number, NETWORK[0]),
            "alive": be.Alive(number, 17_000_000, self.world.time),
        }
        self.world.tell(notices[kind])

    @precondition(lambda self: self.connection is not None)
    @rule(reason=ENDS)
    def disconnected(self, reason: Disconnection) -> None:
        self.world.end(reason)

    @precondition(lambda self: self.connection is not None)
    @rule(reason=ENDS)
    def disconnected_and_seen_to(self, reason: Disconnection) -> None:
        self.world.end(reason)
        self.settle()

    @precondition(lambda self: self.connection is not None)
    @rule(kind=st.sampled_from(("code", "opened", "paired", "down")), times=st.integers(1, 2))
    def notice_seen_to(self, kind: str, times: int) -> None:
        """As it goes when nothing else happens meanwhile."""
        self.settle()
        for _ in range(times):
            if self.connection is not None:
                self.notice(kind)
                self.settle()

    @precondition(lambda self: self.connection is None and not self.purging)
    @rule()
    def brought_up(self) -> None:
        self.world.command(Connect(force=True))
        self.settle()

    @precondition(lambda self: self.connection is not None)
    @rule()
    def port_killed(self) -> None:
        self.world.end("killed by signal 9")

    @precondition(lambda self: self.connection is not None and self.connection.told)
    @rule(error=st.sampled_from((None, None, "missed its deadline")))
    def port_answers(self, error: str | None) -> None:
        self.world.answer(error)

    @precondition(lambda self: self.world.memory.incarnation > 1)
    @rule(
        behind=st.integers(1, 3),
        item=st.sampled_from(
            (
                be.CodeShown(0, "2@late"),
                be.Opened(0, "5511000000000:1@s.whatsapp.net", "Eva"),
                be.Paired(0, "5511000000000:1@s.whatsapp.net"),
                be.LinkDown(0, NETWORK[0]),
                be.Exited(0, Disconnection(401, "logout")),
                be.Exited(0, NETWORK[0]),
                be.Crashed(0, "late"),
                be.Alive(0, 1, 1.0),
                be.CommandDone(0, UNLINK),
                be.CommandDone(0, "pair", {"code": "LATE-CODE"}),
            )
        ),
    )
    def late_message(self, behind: int, item: Any) -> None:
        """Invariants 3 and 5: what an earlier incarnation still says changes nothing."""
        memory = self.world.memory
        old = type(item)(
            max(1, memory.incarnation - behind),
            *(getattr(item, name) for name in item.__dataclass_fields__ if name != "incarnation"),
        )
        if old.incarnation == memory.incarnation:
            return
        before = copy.deepcopy(memory, {id(memory.rules): memory.rules})
        assert machine.handle(memory, old, self.world.now) == []
        assert memory == before

    # -- what goes wrong around it --------------------------------------------------------------------------

    @rule(which=st.sampled_from(("session", "session", "host")), seldom=st.integers(0, 3))
    def session_or_host_dies(self, which: str, seldom: int) -> None:
        if seldom == 0 and which == "session":
            self.world.overdue = self.purging
            self.world.restart_subtree()
            self.forget_link()
        elif seldom == 0 and not self.purging:
            self.world.boot()
            self.forget_link()
            self.count = self.world.row.qr_count
            if self.world.row.device_jid is None:
                # Linked, and not stored yet when the host died: nobody knows of that device (docs/invariants.md).
                self.world.credentials.clear()

    @precondition(lambda self: self.world.waiting)
    @rule()
    def granted(self) -> None:
        """The roster gives it its turn after the boot."""
        self.world.grant()

    @precondition(lambda self: self.world.is_starting)
    @rule()
    def supervisor_cannot_start_it(self) -> None:
        self.world.fail_start()

    @precondition(lambda self: self.connection is not None)
    @rule()
    def silence(self) -> None:
        """The watchdog sees no sign of life."""
        self.world.tell(be.Silent())

    @precondition(lambda self: not self.purging)
    @rule(seldom=st.integers(0, 9))
    def delete(self, seldom: int) -> None:
        if seldom == 0:
            self.purging = True
            self.world.delete()

    @precondition(lambda self: self.world.purged and self.world.quiet)
    @rule(configuration=some_settings())
    def created_again(self, configuration: Settings) -> None:
        self.start(configuration)

    # -- what an onlooker expects ---------------------------------------------------------------------------

    def forget_link(self) -> None:
        self.link_is_up = False
        self.opened_at = None

    def observe_delivery(self) -> None:
        """Let the session handle one message, and hold what it asks for against what it may."""
        world, memory = self.world, self.world.memory
        item = world.session[0]
        message = world.callers[item].message if isinstance(item, int) else None
        current = isinstance(item, be.Notice) and (
            isinstance(item, be.Started)
            or (item.incarnation == memory.incarnation and memory.link is not Link.ABSENT)
        )
        phase, ending, attempts = memory.phase, memory.ending, memory.recovery_attempts
        waiting = memory.codes_shown > 0 and not memory.logged_in
        calm = world.time - memory.began >= CALM_SECONDS
        gives_back = calm or memory.qr_losses < GIVEN_BACK_IN_A_ROW
        due = memory.restart_due
        self.note_ban(item, message, current and phase is not Phase.STOPPING)
        told = be.Paired if phase is Phase.STOPPING else be.Paired | be.Opened
        if current and isinstance(item, told):
            world.credentials.add(DEVICE)
        effects = world.deliver()
        memory = world.memory
        self.count_codes(item, current and phase is not Phase.STOPPING, ending, waiting and gives_back)
        self.follow_link(item, current, phase)
        self.purge_seen |= isinstance(item, be.Purge)
        self.check_starts(effects, message, due)
        self.check_wipes(effects, ending)
        self.check_attempts(item, message, attempts, memory.recovery_attempts)
        if self.purge_seen:
            assert not any(isinstance(e, do.Commit) and e.events for e in effects), "no event after a delete"

    def note_ban(self, item: Any, message: Any, current: bool) -> None:
        """Until when the host may not connect unless it is told to."""
        if current and isinstance(item, be.Exited):
            self.last_exit = item.disconnection.code
            if item.disconnection.code == 402:
                self.banned_until = self.world.time + BAN_SECONDS
        lifted = isinstance(message, UNBANNING) or (isinstance(message, Connect) and message.force)
        if lifted or (current and isinstance(item, be.Opened)):
            self.banned_until = 0.0

    def count_codes(self, item: Any, counts: bool, ending: Any, waiting: bool) -> None:
        """The onlooker's own QR counter; `waiting` for a scan is a connection that has shown a code, and whose loss is
        not one of too many.
        """
        match item:
            case be.CodeShown() if counts:
                self.count = self.count + 1 if self.count < self.configuration.qrcode.limit else 0
            case be.Opened() if counts:
                self.count = 0
            case be.Exited(disconnection=why) if counts and waiting:
                if why.code in (428, 408, 503) and why.cause != "qr":
                    self.count = max(0, self.count - 1)
            case be.LinkStopped() if ending is not None:
                zeroes = ending.purpose in (Purpose.LOGOUT, Purpose.RESET)
                if zeroes or (ending.wipe and ending.purpose is not Purpose.PURGE):
                    self.count = 0

    def follow_link(self, item: Any, current: bool, phase: Phase) -> None:
        ends = isinstance(item, be.LinkDown | be.Exited | be.Crashed)
        if isinstance(item, be.Started) or (current and ends):
            self.forget_link()
        elif current and isinstance(item, be.Opened) and phase is not Phase.STOPPING:
            self.link_is_up, self.opened_at = True, self.opened_at or self.world.time

    def check_starts(self, effects: list[do.Effect], message: Any, due: float | None) -> None:
        """Invariant 4: a connection is started for those who want one, and no ban is broken by the host."""
        stopped_again = any(isinstance(effect, do.StopLink) for effect in effects)
        for effect in effects:
            if isinstance(effect, do.StartLink | do.ResumeLink | do.Escalate):
                assert self.world.desired is Desired.UP or stopped_again, "nothing reconnects after a logout"
                assert not self.purge_seen, "nothing reconnects after a delete"
            if isinstance(effect, do.Escalate):
                assert due is None or due <= self.world.time, "its wait is not over"
            if isinstance(effect, do.StartLink) and self.banned_until > self.world.time:
                raise AssertionError(f"a ban was broken by {message}")

    def check_wipes(self, effects: list[do.Effect], ending: Any) -> None:
        """Invariants 6 and 7: a user asked for it, or the connection ended with one of three codes."""
        if not any(isinstance(effect, do.WipeCredentials) for effect in effects):
            return
        assert ending is not None
        asked = [self.world.callers[caller].message for caller in ending.callers]
        by_user = any(
            isinstance(message, Logout | Reset) or message == ForceReconnection(clean_session=True)
            for message in asked
        )
        by_code = ending.purpose is Purpose.PERMANENT and self.last_exit in DELETING
        by_delete = ending.purpose is Purpose.PURGE and self.purging
        assert by_user or by_code or by_delete, "credentials were deleted though nothing allows it"

    def check_attempts(self, item: Any, message: Any, before: int, after: int) -> None:
        """Invariant 11: the count falls by stability, by a user, by a boot, or once it has been given up."""
        if after >= before or message is not None or isinstance(item, be.Resume | be.LinkStopped):
            return
        assert isinstance(item, be.Tick), item
        if item.name == "stable":
            assert self.opened_at is not None
            assert self.world.time - self.opened_at >= self.configuration.recovery.stable_after
        else:
            assert item.name == COOLDOWN

    # -- invariants -----------------------------------------------------------------------------------------

    @invariant()
    def all_is_well(self) -> None:
        self.the_count_is_right()
        self.open_is_said_of_a_live_link_only()
        self.there_is_one_connection()
        self.nothing_of_a_code_outlives_its_phase()
        self.the_row_is_what_the_session_says()
        self.what_is_stored_is_what_was_reported()
        self.a_session_that_takes_over_would_count_the_same()
        self.someone_will_answer_every_caller()
        self.it_never_sits_where_nothing_will_move_it()
        self.a_deleted_instance_leaves_nothing()

    def the_count_is_right(self) -> None:
        """Invariant 2. What is being deleted shows no code any more."""
        assert self.purging or self.world.memory.qr_count == self.count

    def open_is_said_of_a_live_link_only(self) -> None:
        """Invariant 12."""
        assert (self.world.phase is Phase.OPEN) <= self.link_is_up

    def there_is_one_connection(self) -> None:
        """Invariant 9: the session never asks for a connection where there is one."""
        assert self.world.link_errors == []

    def nothing_of_a_code_outlives_its_phase(self) -> None:
        """Invariant 3."""
        memory = self.world.memory
        assert (memory.qr is not None) <= (memory.phase is Phase.AWAITING_SCAN)

    def the_row_is_what_the_session_says(self) -> None:
        """In the order in which it is written."""
        row, memory = self.world.latest, self.world.memory
        assert row.desired == memory.desired
        assert row.logged_in == memory.logged_in
        assert row.device_jid == memory.device_jid
        assert row.recovery_attempts == memory.recovery_attempts
        assert row.qr_count == memory.qr_count
        assert not self.world.quiet or self.world.row == row

    def a_session_that_takes_over_would_count_the_same(self) -> None:
        """Invariant 11: nobody gains or loses attempts by a restart of the session or the host.

        Of a drop that the client is still healing nobody knows yet whether it counts; what is at rest, or on its way to
        it, starts anew; and no client that shows codes had a link to heal.
        """
        memory, past = self.world.memory, self.world.past[::-1]
        at_rest = memory.phase in (Phase.CLOSED, Phase.FAILED, Phase.STOPPING)
        if not self.world.quiet or memory.healing or memory.codes_shown or at_rest:
            return
        since = self.world.time - memory.rules.recovery.history_window
        recalled = [one for one in fallen_since_stable(past) if one[0] >= since]
        assert recalled == [one for one in memory.fallen if one[0] >= since], past
        assert replaced_lately(past, self.world.now) == [
            at for at in memory.replaced_at if self.world.time - at <= REPLACED_WINDOW
        ]
        assert noted_since(past) == memory.noted

    def what_is_stored_is_what_was_reported(self) -> None:
        """Invariant 13: a receiver that has every committed event knows what the row says, also after a kill.

        Only what is being stopped is on its way to something that is reported when it is there.
        """
        phase, said = self.world.row.phase, self.world.reported
        if phase in (Phase.CLOSED, Phase.FAILED):
            assert said in ("close", "refused"), said
        elif phase != Phase.STOPPING:
            assert (phase == Phase.OPEN) == (said == "open"), (phase, said)

    def someone_will_answer_every_caller(self) -> None:
        """A caller who is neither answered nor waited for by anything would hang."""
        world, memory = self.world, self.world.memory
        if not world.quiet or self.world.purged:
            return
        held = {*memory.waiters, *(caller for caller, _ in memory.deferred)}
        held |= set(memory.ending.callers) if memory.ending else set()
        if world.connection is not None:
            tags = {told.tag for _, told in world.connection.told}
            held |= {caller for caller in memory.asked if f"presence:{caller}" in tags}
        open_ = {number for number, caller in world.callers.items() if caller.reply is None}
        assert open_ <= held
        assert all(f"wait:{caller}" in world.timers for caller in memory.waiters)

    def it_never_sits_where_nothing_will_move_it(self) -> None:
        """Each phase that is not at rest has something under way: a connection, a timer or a stop."""
        world, memory = self.world, self.world.memory
        if not world.quiet:
            return
        match memory.phase:
            case Phase.CLOSED | Phase.FAILED:
                assert (memory.link, world.child) == (Link.ABSENT, "terminated")
                assert (memory.phase is Phase.FAILED) or memory.desired is Desired.DOWN
                assert memory.ending is None
                assert not memory.waiters
            case Phase.STOPPING:
                assert UNLINK in world.timers or world.purged
            case _:
                assert memory.desired is Desired.UP
                held = world.child == "held" and "escalate" in world.timers
                waits = world.child == "waiting" and memory.link is Link.HELD
                runs = world.child == "running" and memory.link is Link.RUNNING
                boots = world.waiting and memory.link is Link.ABSENT
                assert held or waits or runs or boots, (memory.phase, memory.link, world.child)
                if runs:
                    assert world.connection is not None
                    assert world.connection.incarnation == memory.incarnation

    def a_deleted_instance_leaves_nothing(self) -> None:
        """Invariant 10."""
        if self.world.purged and self.world.quiet:
            assert self.world.child == "terminated"

    def teardown(self) -> None:
        """However it was left, it comes to something by itself."""
        if not hasattr(self, "world"):
            return
        self.world.grant()
        self.settle()
        self.time_passes(30.0)
        assert self.purging or all(caller.reply is not None for caller in self.world.callers.values())
        if self.purging:
            assert self.world.purged or self.world.overdue


def test_the_machine_keeps_its_invariants() -> None:
    """Invariants 2, 3, 4, 5, 6, 7, 9, 10, 11 and 12, for any order of any messages."""
    run_state_machine_as_test(Machine, settings=budget(10_000, STEPS_AN_EXAMPLE))

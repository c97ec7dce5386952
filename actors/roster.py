"""The roster: which instances there are. It creates and deletes them, and brings them back at boot."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from actors import register
from actors.context import InstanceContext
from actors.deletion import PURGE_MARGIN, STORE_DEADLINE, Deletion
from actors.instance import TREE_DEADLINE, cut_down, end_subtree, instance_spec, supervisor_of_all
from actors.janitor import WIPE_DEADLINE
from actors.leftovers import Leftovers
from actors.messages import (
    NAME,
    BadName,
    BeingDeleted,
    CreateInstance,
    DeleteInstance,
    NameTaken,
    TokenTaken,
    UnknownInstance,
)
from actors.notices import (
    Boot,
    GaveUp,
    GaveWay,
    LookAgain,
    LookThrough,
    Overdue,
    Purged,
    Released,
    Remove,
    Settled,
    StartAgain,
    StillThere,
    StrikeAgain,
    Struck,
    Unfinished,
    Wiped,
)
from actors.refused import Refused, Untried
from actors.services import INSTANCES, Services
from actors.session.inputs import Purge, Resume
from actors.session.memory import Now
from actors.session.recall import remember
from actors.session.shown import view
from actors.store import Duplicate, Instance, StoreTimeout, StoreUnavailable, instances, write
from actors.trace import traced, untraced, working_for
from actors.turns import Turns, urgency
from actors.views import Desired, InstanceView, Phase
from supervisor.otp import (
    NO_REPLY,
    Actor,
    AlreadyStarted,
    Caller,
    StartFailed,
    Timer,
    start_child,
)

log = structlog.get_logger("zapvisor.roster")

STORE_RETRY = 2.0
"""Seconds after which the roster tries again what the database did not take."""
START_RETRY = 15.0
"""Seconds after which the roster tries again to start an instance's subtree."""


class Roster(Actor):
    """Child `roster` of the root, after the supervisor of the instances that it fills."""

    def init(self, services: Services) -> None:
        self._services = services
        self._contexts: dict[str, InstanceContext] = {}
        self._deletions: dict[str, Deletion] = {}
        self._leftovers = Leftovers(services, self.ref, self.send_after, self._show, self._write)
        self._refused = Refused(services, self.ref, self.send_after)
        host = services.settings.host
        self._turns = Turns(
            lambda: host.boot_concurrency, self._give_turn, self.log.info, self.clock.monotonic
        )
        self._boot_with(self._show_all)
        self.ref.cast(Boot())

    def handle_call(self, message: Any, caller: Caller) -> Any:
        message, request_id = untraced(message)
        try:
            with working_for(request_id):
                return self._answer(message, caller)
        except StoreUnavailable as error:
            caller.error(error)
            return NO_REPLY

    def _answer(self, message: Any, caller: Caller) -> Any:
        match message:
            case CreateInstance():
                return self._create(message)
            case DeleteInstance(name=name):
                self._delete(name, caller)
                return NO_REPLY
            case _:
                return super().handle_call(message, caller)

    def handle_cast(self, message: Any) -> None:
        match message:
            case Boot():
                self._boot_with(self._boot)
            case Settled(name=name):
                self._turns.settled(name)
            case Purged(name=name, wiped=wiped):
                self._remove(name, wiped=wiped)
            case Wiped(instance_id=instance_id):
                self._wiped(instance_id)
            case GaveWay(name=name):
                self._hold(name)
            case Unfinished():
                self._leftovers.look_soon()
            case Released(instance_id=instance_id):
                self._release(instance_id)
            case StillThere(instance_id=instance_id, why=why):
                self._leftovers.still_there(instance_id, why)
            case Struck(attempts=attempts):
                self._refused.struck(attempts)
            case GaveUp(name=name, reason=reason):
                self._bring_back_failed(name, reason)
            case StartAgain(name=name):
                self._start_again(name)
            case LookAgain(instance_id=instance_id):
                self._leftovers.look_again(instance_id)
            case LookThrough():
                self._leftovers.look_through(self._deletions)
            case StrikeAgain():
                self._refused.strike()
            case Overdue(name=name, what="boot"):
                self._turns.settled(name)
            case Remove(name=name, wiped=wiped):
                self._remove(name, wiped=wiped)
            case Overdue(name=name, what="delete"):
                self.log.warning("delete of %s: the session did not answer in time; removed without it", name)
                cut_down(self.system, name)
                self._remove(name)
            case Overdue(name=name, what="wipe"):
                self.log.warning(
                    "delete of %s: its credentials are not gone yet; answered without that", name
                )
                self._deleted(name)
            case _:
                super().handle_cast(message)

    handle_info = handle_cast

    # -- boot -----------------------------------------------------------------------------------------------

    def _boot_with(self, step: Callable[[], None]) -> None:
        """A step of the boot, or, while the database does not answer, the whole of it again later."""
        try:
            step()
        except StoreUnavailable as error:
            self.log.error("the boot is put off for %g s: %s", STORE_RETRY, error)
            self.send_after(STORE_RETRY, Boot())

    def _show_all(self) -> None:
        """Make every instance known before the API answers: one that is still to start is not one that is not there."""
        for row in self._write(instances.all_instances):
            if self._services.board.view(row.name) is None:
                self._show(row)

    def _show(self, row: Instance, **otherwise: Any) -> None:
        now = Now(self.clock.monotonic(), self.clock.wall())
        shown = view(row, remember(row, (), self._context(row), now))
        self._services.board.publish(dataclasses.replace(shown, **otherwise), lambda: True)

    def _boot(self) -> None:
        """Start every instance's subtree, so that all answer, and let them connect a few at a time."""
        self._take_up_deletions()
        self._leftovers.take_up(self._deletions)
        rows: list[Instance] = self._write(instances.all_instances)
        rows.sort(key=urgency, reverse=True)
        started = [row for row in rows if not self._leftovers.holds(row.id) and self._started(row)]
        desired = [row.name for row in started if row.desired == "up"]
        limit = self._services.settings.host.boot_concurrency
        log.info("boot", instances=len(rows), to_connect=len(desired), at_once=limit)
        self._turns.begin(desired)

    def _give_turn(self, name: str) -> Timer | None:
        """Let an instance connect; None if there is none of that name any more."""
        context = self._contexts.get(name)
        if context is None:
            return None
        context.granted = True
        if not self.system.cast(context.session_path, Resume()):
            return None
        return self.send_after(context.settings.port.start_timeout, Overdue(name, "boot"))

    def _started(self, row: Instance) -> bool:
        """Start an instance's subtree; one that cannot be started is shown as failed, and tried again later."""
        try:
            self._start(row)
        except StartFailed as failure:
            self.log.error("instance %s cannot be started: %s", row.name, failure)
            self._show(row, phase=Phase.FAILED, failed_reason=str(failure))
            self.send_after(START_RETRY, StartAgain(row.name))
            return False
        return True

    def _start_again(self, name: str) -> None:
        try:
            row: Instance | None = self._write(lambda tx: instances.by_name(tx, name))
        except StoreUnavailable as error:
            self.log.error("%s is started again in %g s: %s", name, START_RETRY, error)
            self.send_after(START_RETRY, StartAgain(name))
            return
        if row is None or name in self._deletions or self._leftovers.holds(row.id) or not self._started(row):
            return
        if row.desired == "up" and row.phase != Phase.FAILED:
            self.system.cast(self._context(row).session_path, Resume())

    def _hold(self, name: str) -> None:
        """A subtree has ended over its former device: it is started again once that is deleted."""
        if name in self._deletions:
            self._remove(name)
            return
        if name not in self._contexts or self.system.whereis(f"{INSTANCES}/{name}"):
            return  # what gave way is no more, or not what has the name now
        self._turns.settled(name)
        self._leftovers.look_through(self._deletions)
        self._start_again(name)  # unless it is held, which nobody else would start

    def _release(self, instance_id: str) -> None:
        self._leftovers.answered(instance_id)
        name = self._leftovers.release(instance_id)
        if name is not None:
            self._start_again(name)

    def _take_up_deletions(self) -> None:
        """What an earlier host, or roster, was told to delete is not there any more, wiped or not."""
        refused = self._refused.attempts
        rows = self._write(partial(register.doomed, services=self._services, refused=refused))
        self._refused.struck(refused)
        for row in rows:
            if row.name not in self._deletions:
                cut_down(self.system, row.name)
                end_subtree(self.system, row.name)
                self._write(partial(register.delete_for_good, row=row, services=self._services, wiped=False))
                self._forget(row)

    def _start(self, row: Instance) -> None:
        context = self._context(row)
        try:
            start_child(supervisor_of_all(self.system), instance_spec(context), TREE_DEADLINE)
        except AlreadyStarted:
            self.log.info("instance %s runs already", row.name)

    def _context(self, row: Instance) -> InstanceContext:
        known = self._contexts.get(row.name)
        if known is not None and known.id == row.id:
            return known
        context = InstanceContext(row.id, row.name, self._services, granted=row.desired != Desired.UP)
        self._contexts[row.name] = context
        return context

    # -- create ---------------------------------------------------------------------------------------------

    def _create(self, request: CreateInstance) -> InstanceView:
        if not NAME.fullmatch(request.name):
            raise BadName(request.name)
        if request.name in self._deletions:
            raise BeingDeleted(request.name)
        row = self._insert(register.asked_for(request))
        self._started(row)
        view = self._services.board.view(row.name)
        assert view is not None, "a session publishes before its start returns"
        self.log.info("instance %s is created", row.name)
        return view

    def _insert(self, row: Instance) -> Instance:
        try:
            stored: Instance = self._write(partial(register.enter, row=row, services=self._services))
            return stored
        except Duplicate as duplicate:
            raise (TokenTaken() if duplicate.field == "token" else NameTaken(row.name)) from None
        except StoreTimeout:
            # Its COMMIT may be under way. What is asked of the store later is answered after that.
            self.send_after(START_RETRY, StartAgain(row.name))
            raise

    # -- delete ---------------------------------------------------------------------------------------------

    def _delete(self, name: str, caller: Caller) -> None:
        under_way = self._deletions.get(name)
        if under_way is not None:
            under_way.callers.append(caller)
            return
        attempt = secrets.token_hex(8)
        try:
            row = self._write(lambda tx: register.noted_for_deletion(tx, name, attempt))
        except Untried:
            raise
        except StoreUnavailable:
            # Its COMMIT may be under way; what is answered now is that nothing will be deleted.
            self._refused.add(attempt)
            raise
        if row is None:
            raise UnknownInstance(name)
        self._refused.accept(attempt)
        self._turns.leave(name)
        self._leftovers.release(row.id)
        patience = self._services.settings.instance(name).port.command_timeout + PURGE_MARGIN
        timer = self.send_after(patience, Overdue(name, "delete"))
        self._deletions[name] = Deletion(row, timer, [caller])
        if not self.system.cast(f"{INSTANCES}/{name}/session", traced(Purge())):
            self._remove(name)

    def _remove(self, name: str, *, wiped: bool | None = None) -> None:
        """The connection is gone, or is not waited for: remove the rows, and have the rest wiped.

        Args:
            wiped: whether its session has deleted the credentials, as far as it said so. What it could not delete is
                tried again later: its store has just not answered.
        """
        deletion = self._deletions.get(name)
        if deletion is None:
            return
        deletion.timer.cancel()
        end_subtree(self.system, name)
        unit = partial(
            register.delete_for_good, row=deletion.row, services=self._services, wiped=wiped is True
        )
        try:
            left = self._write(unit)
        except StoreUnavailable as error:
            self.log.error("the delete of %s is put off for %g s: %s", name, STORE_RETRY, error)
            deletion.timer = self.send_after(STORE_RETRY, Remove(name, wiped))
            return
        self._forget(deletion.row)
        if left and wiped is not False:
            deletion.timer = self.send_after(WIPE_DEADLINE, Overdue(name, "wipe"))
            self._leftovers.wipe(deletion.row.id, left, Wiped(deletion.row.id))
        else:
            self._deleted(name)
        if left:
            self._leftovers.look_soon()

    def _forget(self, row: Instance) -> None:
        self._contexts.pop(row.name, None)
        self._services.board.withdraw(row.name)
        self._services.metrics.forget(row.name)
        self._services.keep_secrets(row.id, ())

    def _wiped(self, instance_id: str) -> None:
        self._leftovers.answered(instance_id)
        for name, deletion in list(self._deletions.items()):
            if deletion.row.id == instance_id:
                self._deleted(name)

    def _deleted(self, name: str) -> None:
        deletion = self._deletions.pop(name)
        deletion.timer.cancel()
        with working_for(deletion.request_id):
            self.log.info("instance %s is deleted", name)
        for caller in deletion.callers:
            caller.reply(None)

    # -- an instance that gave up ---------------------------------------------------------------------------

    def _bring_back_failed(self, name: str, reason: str) -> None:
        """A subtree that crashed too often comes back as failed: visible, and ready to be connected again."""
        if (
            name in self._deletions
            or name not in self._contexts
            or self.system.whereis(f"{INSTANCES}/{name}")
        ):
            return  # what gave up is no more, or not what has the name now
        self._turns.settled(name)
        unit = partial(register.crashed, name=name, reason=reason, services=self._services)
        try:
            row = self._write(unit)
        except StoreUnavailable as error:
            self.log.error("%s is brought back in %g s: %s", name, STORE_RETRY, error)
            self.send_after(STORE_RETRY, GaveUp(name, reason))
            return
        if row is not None:
            end_subtree(self.system, name)
            if not self._leftovers.holds(row.id):
                self._started(row)

    def _write(self, unit: Any) -> Any:
        # To wait for a database that is gone would let everybody wait who asks for something else.
        trouble = self._services.condition.trouble
        if trouble is not None:
            raise Untried(trouble.why)
        return write(self.system, unit, STORE_DEADLINE)

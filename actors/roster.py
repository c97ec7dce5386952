"""The roster: which instances there are. It creates and deletes them, and brings them back at boot."""

from __future__ import annotations

import dataclasses
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from actors import register
from actors.context import InstanceContext
from actors.instance import instance_spec
from actors.leftovers import is_void, wipe
from actors.messages import (
    BeingDeleted,
    CreateInstance,
    DeleteInstance,
    NameTaken,
    TokenTaken,
    UnknownInstance,
)
from actors.notices import GaveUp, Purged, Settled
from actors.services import INSTANCES, Services
from actors.session.actor import view
from actors.session.inputs import Purge, Resume
from actors.session.memory import Now
from actors.session.recall import remember
from actors.store import (
    Duplicate,
    Instance,
    StoreTimeout,
    StoreUnavailable,
    instances,
    write,
)
from actors.trace import current, traced, untraced, working_for
from actors.turns import Turns, urgency
from actors.views import Desired, InstanceView, Phase
from supervisor.otp import (
    NO_REPLY,
    Actor,
    AlreadyStarted,
    Caller,
    NoSuchActor,
    NotFound,
    Ref,
    Refusal,
    StartFailed,
    Timer,
    start_child,
    terminate_child,
)

log = structlog.get_logger("zapvisor.roster")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
STORE_DEADLINE = 15.0
STORE_RETRY = 2.0
"""Seconds after which the roster tries again what the database did not take."""
START_RETRY = 15.0
"""Seconds after which the roster tries again to start an instance's subtree."""
TREE_DEADLINE = 30.0
PURGE_MARGIN = 5.0
"""Seconds that a delete has beyond the port's own deadline for the logout."""


class BadName(Refusal):
    """The name is not one that an instance can have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"instanceName: {name[:80]!r} is not allowed; allowed: {NAME.pattern}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Boot:
    """Bring back what is desired."""


@dataclass(frozen=True, slots=True)
class StartAgain:
    """Time to try again what could not be started."""

    name: str


@dataclass(frozen=True, slots=True)
class Overdue:
    """A delete whose session did not answer, or a boot that came to nothing, is not waited for any longer."""

    name: str
    what: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Time to try again to remove the rows of what is deleted otherwise."""

    name: str
    wiped: bool


@dataclass(slots=True)
class Deletion:
    """A delete under way."""

    row: Instance
    timer: Timer
    callers: list[Caller] = field(default_factory=list)
    request_id: str | None = field(default_factory=current)


class Roster(Actor):
    """Child `roster` of the root, after the supervisor of the instances that it fills."""

    def init(self, services: Services) -> None:
        self._services = services
        self._contexts: dict[str, InstanceContext] = {}
        self._deletions: dict[str, Deletion] = {}
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
            case GaveUp(name=name, reason=reason):
                self._bring_back_failed(name, reason)
            case _:
                super().handle_cast(message)

    def handle_info(self, message: Any) -> None:
        match message:
            case Boot():
                self._boot_with(self._boot)
            case GaveUp(name=name, reason=reason):
                self._bring_back_failed(name, reason)
            case StartAgain(name=name):
                self._start_again(name)
            case Overdue(name=name, what="boot"):
                self._turns.settled(name)
            case Remove(name=name, wiped=wiped):
                self._remove(name, wiped=wiped)
            case Overdue(name=name, what="delete") if name in self._deletions:
                self.log.warning("delete: the session did not answer in time; removed without it")
                self._remove(name)

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
        self._finish_cleanups()
        rows: list[Instance] = self._write(instances.all_instances)
        rows.sort(key=urgency, reverse=True)
        started = [row for row in rows if self._started(row)]
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
        if row is None or name in self._deletions or not self._started(row):
            return
        if row.desired == "up" and row.phase != Phase.FAILED:
            self.system.cast(self._context(row).session_path, Resume())

    def _finish_cleanups(self) -> None:
        """What an earlier host, or roster, had begun to remove and could not finish.

        A credential store that all instances share, and that does not answer, is waited for once.
        """
        away = False
        for note, row in self._write(register.noted):
            if row is not None and "delete" in note.what:
                self._end_subtree(row.name)
                self._services.board.withdraw(row.name)
            elif row is not None and self.system.whereis(self._context(row).session_path) is not None:
                continue  # it may be about to link a device; the next host finds it at rest
            void = is_void(note, row, self._services)
            if away and not void:
                continue
            if void or wipe(self._services, note.instance_id, note.what.get("credentials")):
                self._write(partial(register.finish_cleanup, note=note, services=self._services))
                log.info("finished a clean-up that an earlier host had begun", instance_id=note.instance_id)
            else:
                away = self._services.credentials.by_device

    def _start(self, row: Instance) -> None:
        context = self._context(row)
        try:
            start_child(self._instances(), instance_spec(context), TREE_DEADLINE)
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
        row = Instance(
            name=request.name,
            token=request.token or secrets.token_hex(18).upper(),
            number=request.number,
            integration=request.integration,
            settings=dict(request.settings),
            webhook=dict(request.webhook),
            proxy=dict(request.proxy),
            chatwoot=dict(request.chatwoot),
        )
        row = self._insert(row)
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
        row = self._write(lambda tx: register.noted_for_deletion(tx, name))
        if row is None:
            raise UnknownInstance(name)
        self._turns.leave(name)
        patience = self._services.settings.instance(name).port.command_timeout + PURGE_MARGIN
        timer = self.send_after(patience, Overdue(name, "delete"))
        self._deletions[name] = Deletion(row, timer, [caller])
        if not self.system.cast(f"{INSTANCES}/{name}/session", traced(Purge())):
            self._remove(name)

    def _remove(self, name: str, *, wiped: bool | None = None) -> None:
        """The connection is gone, or is not waited for: remove what is left.

        Args:
            wiped: whether its session has deleted the credentials, as far as it said so. To try again here would let
                everybody wait for a store that has just not answered.
        """
        deletion = self._deletions.get(name)
        if deletion is None:
            return
        deletion.timer.cancel()
        self._end_subtree(name)
        if wiped is None:
            wiped = wipe(self._services, deletion.row.id, deletion.row.device_jid)
        try:
            self._write(
                partial(register.delete_for_good, row=deletion.row, services=self._services, wiped=wiped)
            )
        except StoreUnavailable as error:
            self.log.error("the delete of %s is put off for %g s: %s", name, STORE_RETRY, error)
            deletion.timer = self.send_after(STORE_RETRY, Remove(name, wiped))
            return
        del self._deletions[name]
        self._contexts.pop(name, None)
        self._services.board.withdraw(name)
        self._services.metrics.forget(name)
        self._services.keep_secrets(deletion.row.id, ())
        with working_for(deletion.request_id):
            self.log.info("instance %s is deleted", name)
        for caller in deletion.callers:
            caller.reply(None)

    def _end_subtree(self, name: str) -> None:
        try:
            terminate_child(self._instances(), name, TREE_DEADLINE)
        except NotFound:
            self.log.debug("%s: no subtree to end", name)

    # -- an instance that gave up ---------------------------------------------------------------------------

    def _bring_back_failed(self, name: str, reason: str) -> None:
        """A subtree that crashed too often comes back as failed: visible, and ready to be connected again."""
        if name in self._deletions or name not in self._contexts:
            return
        self._turns.settled(name)
        unit = partial(register.crashed, name=name, reason=reason, services=self._services)
        try:
            row = self._write(unit)
        except StoreUnavailable as error:
            self.log.error("%s is brought back in %g s: %s", name, STORE_RETRY, error)
            self.send_after(STORE_RETRY, GaveUp(name, reason))
            return
        if row is not None:
            self._end_subtree(name)
            self._started(row)

    def _instances(self) -> Ref:
        ref = self.system.whereis(INSTANCES)
        if ref is None:
            raise NoSuchActor(INSTANCES)
        return ref

    def _write(self, unit: Any) -> Any:
        # To wait for a database that is gone would let everybody wait who asks for something else.
        trouble = self._services.condition.trouble
        if trouble is not None:
            raise StoreUnavailable(trouble.why)
        return write(self.system, unit, STORE_DEADLINE)

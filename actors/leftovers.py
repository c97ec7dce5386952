"""What is left of an instance that is logged out or deleted: which of it has to go, and who sees to it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import structlog

from actors.janitor import WIPE_DEADLINE, Wipe
from actors.notices import LookAgain, LookThrough, Released, StillThere, Wiped
from actors.register import Noted, is_void, noted, strike
from actors.services import INSTANCES, JANITOR, Services
from actors.store import Cleanup, Instance, StoreUnavailable, Tx
from actors.views import Phase
from supervisor.otp import NoSuchActor, Ref, Timer

log = structlog.get_logger("zapvisor.leftovers")

AGAIN_FIRST = 2.0
AGAIN_LAST = 60.0
"""Seconds after which what is not deleted is tried again, doubling from the first to the last."""
WAITS = "it is not started before the credentials of its former device are deleted"


@dataclass(slots=True)
class Hold:
    """An instance that is not started before its former device is gone.

    Attributes:
        row: the instance.
        since: monotonic seconds.
        timer: when it is looked after.
        delay: seconds until it is tried again, should it not work this time.
        asked: whether the janitor has not answered yet.
    """

    row: Instance
    since: float
    timer: Timer
    delay: float = AGAIN_FIRST
    asked: bool = True


class Leftovers:
    """What the janitor was asked to remove. It belongs to the roster, and runs on its thread.

    What is noted is tried until it is done: of an instance that is held for it by a timer of its own, all else by one
    for all of it. While nothing is noted there is no timer, and nobody asks the database.

    Args:
        services: the host's.
        roster: who is told.
        send_after: the roster's.
        show: shows an instance as its row says, but for some attributes of its view.
        transact: has a unit of work done; raises StoreUnavailable.
    """

    def __init__(
        self,
        services: Services,
        roster: Ref,
        send_after: Callable[[float, object], Timer],
        show: Callable[..., None],
        transact: Callable[[Callable[[Tx], Any]], Any],
    ) -> None:
        self._services = services
        self._roster = roster
        self._send_after = send_after
        self._show = show
        self._transact = transact
        self._held: dict[str, Hold] = {}
        self._asked: set[str] = set()
        """Owners about whose notes the janitor has not answered."""
        self._timer: Timer | None = None
        self._delay = AGAIN_FIRST

    def wipe(self, instance_id: str, notes: list[Cleanup], then: Wiped) -> None:
        """Have the janitor do what some notes of a deleted instance say, and tell the roster, however that ends."""
        self._ask(Wipe(instance_id, tuple(notes)), lambda _why, _error: self._roster.cast(then))

    def take_up(self, deleting: Collection[str]) -> None:
        """Have the janitor do what somebody had begun to remove and could not finish.

        An instance that does not run and has no device linked now is held: a device that it linked meanwhile might be
        taken for the former one, or it would resume that. All others need not wait.

        Args:
            deleting: names of the instances whose delete is under way, which sees to all that is theirs.

        Raises:
            StoreUnavailable: some of it may be under way.
        """
        there = [(note, row) for note, row in self._noted() if row is None or row.name not in deleting]
        void: list[Cleanup] = []
        unheld = False
        for instance_id, group in groupby(sorted(there, key=_owner), key=_owner):
            notes, rows = zip(*group, strict=True)
            row: Instance | None = rows[0]
            void += [note for note in notes if is_void(note, row, self._services)]
            left = [note for note in notes if note not in void and not _is_refused(note, row)]
            if not left or self.holds(instance_id):
                continue
            runs = self._runs(row)
            if row is not None and not row.logged_in and not runs:
                timer = self._send_after(WIPE_DEADLINE, LookAgain(instance_id))
                self._held[instance_id] = Hold(row, self._now(), timer)
                self._show(row, failed_reason=WAITS)
            else:
                unheld = True
                if instance_id in self._asked or (runs and self._may_link(row)):
                    continue
            self._wipe_former(instance_id, left)
        if void:
            self._transact(partial(strike, notes=void))
        if unheld:
            self._look_later()
        else:
            self._delay = AGAIN_FIRST

    def look_soon(self) -> None:
        """Something could not be deleted just now."""
        self._no_timer()
        self._delay = AGAIN_FIRST
        self._look_later()

    def look_through(self, deleting: Collection[str]) -> None:
        """Time to try again what is noted; see `take_up`."""
        self._no_timer()
        try:
            self.take_up(deleting)
        except StoreUnavailable:
            self._look_later()

    def answered(self, instance_id: str) -> None:
        """The janitor has done what it could about an owner's notes."""
        self._asked.discard(instance_id)

    def holds(self, instance_id: str) -> bool:
        """Whether the start of an instance has to wait."""
        return instance_id in self._held

    def release(self, instance_id: str) -> str | None:
        """It need not wait any longer: its name, if it did."""
        hold = self._held.pop(instance_id, None)
        if hold is None:
            return None
        hold.timer.cancel()
        return hold.row.name

    def still_there(self, instance_id: str, why: str) -> None:
        """The former device could not be deleted: it is tried again, as long as it takes."""
        self.answered(instance_id)
        hold = self._held.get(instance_id)
        if hold is None:
            return
        hold.asked = False
        self._later(hold, hold.delay, why)
        hold.delay = min(hold.delay * 2, AGAIN_LAST)

    def look_again(self, instance_id: str) -> None:
        """Time to try one that is held again, or to say that the janitor has not come to it yet."""
        hold = self._held.get(instance_id)
        if hold is None:
            return
        if hold.asked:
            self._later(hold, AGAIN_LAST, f"no answer for {self._now() - hold.since:.0f} s")
            return
        try:
            left = [note for note, _ in self._noted() if note.instance_id == instance_id]
        except StoreUnavailable as error:
            self._later(hold, hold.delay, str(error))
            return
        hold.asked, hold.since = True, self._now()
        hold.timer = self._send_after(WIPE_DEADLINE, LookAgain(instance_id))
        self._wipe_former(instance_id, left)

    def _wipe_former(self, instance_id: str, notes: list[Cleanup]) -> None:
        """Have the janitor delete a former device; the roster hears what came of it."""
        held = self.holds(instance_id)
        # In a store by device, what could not be deleted cannot be taken for what is linked from now on either.
        insists = held and not self._services.credentials.by_device

        def answered(why: str | None, error: BaseException | None) -> None:
            if error is not None:
                self._roster.cast(StillThere(instance_id, "the janitor ended"))
            elif why is not None and insists:
                self._roster.cast(StillThere(instance_id, why))
            else:
                self._roster.cast(Released(instance_id))

        self._ask(Wipe(instance_id, tuple(notes), tells=insists), answered)

    def _ask(self, wipe: Wipe, answered: Callable[[Any, BaseException | None], object]) -> None:
        self._asked.add(wipe.instance_id)
        janitor = self._services.system.whereis(JANITOR)
        if janitor is None:
            answered(None, NoSuchActor(JANITOR))
        else:
            janitor.request(wipe, answered)

    def _later(self, hold: Hold, seconds: float, why: str) -> None:
        """Say to the log, and to whoever looks at the instance, why it is not started, and look after it later."""
        log.error("a former device is not deleted", instance=hold.row.name, error=why, again_in=seconds)
        self._show(hold.row, phase=Phase.FAILED, failed_reason=f"{WAITS}: {why}")
        hold.timer.cancel()
        hold.timer = self._send_after(seconds, LookAgain(hold.row.id))

    def _no_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        if self._timer is None:
            self._timer = self._send_after(self._delay, LookThrough())
            self._delay = min(self._delay * 2, AGAIN_LAST)

    def _noted(self) -> list[Noted]:
        found: list[Noted] = self._transact(partial(noted, services=self._services))
        return found

    def _now(self) -> float:
        return self._services.system.clock.monotonic()

    def _runs(self, row: Instance | None) -> bool:
        return row is not None and self._services.system.whereis(f"{INSTANCES}/{row.name}") is not None

    def _may_link(self, row: Instance | None) -> bool:
        """Whether one that runs may be about to link a device that would be taken for the former one."""
        if row is None:
            return False
        at_rest = row.phase in (Phase.CLOSED, Phase.FAILED)
        return not self._services.credentials.by_device or not (row.logged_in or at_rest)


def _is_refused(note: Cleanup, row: Instance | None) -> bool:
    """Whether it is about a delete that nobody carries out: it is struck yet (`actors.refused`)."""
    return row is not None and "delete" in note.what


def _owner(noted: Noted) -> str:
    return noted[0].instance_id

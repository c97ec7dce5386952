"""What is left of an instance that is logged out or deleted: which of it has to go, and who sees to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import structlog

from actors.janitor import WIPE_DEADLINE, Wipe
from actors.notices import LookAgain, Released, StillThere, Wiped
from actors.register import Noted, is_void
from actors.services import INSTANCES, JANITOR, Services
from actors.store import Cleanup, Instance, StoreUnavailable
from actors.views import Phase
from supervisor.otp import NoSuchActor, Ref, Timer

log = structlog.get_logger("zapvisor.leftovers")

AGAIN_FIRST = 2.0
AGAIN_LAST = 60.0
"""Seconds after which a former device is tried again, doubling from the first to the last."""
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

    Args:
        services: the host's.
        roster: who is told.
        send_after: the roster's.
        show: shows an instance as its row says, but for some attributes of its view.
    """

    def __init__(
        self,
        services: Services,
        roster: Ref,
        send_after: Callable[[float, object], Timer],
        show: Callable[..., None],
    ) -> None:
        self._services = services
        self._roster = roster
        self._send_after = send_after
        self._show = show
        self._held: dict[str, Hold] = {}

    def wipe(self, instance_id: str, notes: list[Cleanup], then: Wiped) -> None:
        """Have the janitor do what some notes of a deleted instance say, and tell the roster, however that ends."""
        self._ask(Wipe(instance_id, tuple(notes)), lambda _why, _error: self._roster.cast(then))

    def take_up(self, noted: list[Noted]) -> list[Cleanup]:
        """Have the janitor do what an earlier host, or roster, had begun to remove and could not finish.

        An instance that has no device linked now is held: a device that it linked meanwhile might be taken for the
        former one, or it would resume that. All others need not wait.

        Returns:
            The notes that are void.
        """
        void: list[Cleanup] = []
        for instance_id, group in groupby(sorted(noted, key=_owner), key=_owner):
            notes, rows = zip(*group, strict=True)
            row: Instance | None = rows[0]
            void += [note for note in notes if is_void(note, row, self._services)]
            left = [note for note in notes if note not in void]
            if not left or self.holds(instance_id) or self._runs(row):
                continue
            if row is not None and not row.logged_in:
                timer = self._send_after(WIPE_DEADLINE, LookAgain(instance_id))
                self._held[instance_id] = Hold(row, self._now(), timer)
                self._show(row, failed_reason=WAITS)
            self._wipe_former(instance_id, left)
        return void

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
        hold = self._held.get(instance_id)
        if hold is None:
            return
        hold.asked = False
        self._later(hold, hold.delay, why)
        hold.delay = min(hold.delay * 2, AGAIN_LAST)

    def look_again(self, instance_id: str, read: Callable[[], list[Noted]]) -> None:
        """Time to try it again, or to say that the janitor has not come to it yet.

        Args:
            instance_id: one that may be held.
            read: what is noted now; raises StoreUnavailable.
        """
        hold = self._held.get(instance_id)
        if hold is None:
            return
        if hold.asked:
            self._later(hold, AGAIN_LAST, f"no answer for {self._now() - hold.since:.0f} s")
            return
        try:
            left = [note for note, _ in read() if note.instance_id == instance_id]
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

        self._ask(Wipe(instance_id, tuple(notes), again=insists), answered)

    def _ask(self, wipe: Wipe, answered: Callable[[Any, BaseException | None], object]) -> None:
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

    def _now(self) -> float:
        return self._services.system.clock.monotonic()

    def _runs(self, row: Instance | None) -> bool:
        """Whether it may be about to link a device; the next host finds it at rest."""
        return (
            row is not None and self._services.system.whereis(f"{INSTANCES}/{row.name}/session") is not None
        )


def _owner(noted: Noted) -> str:
    return noted[0].instance_id

"""What is left of an instance that is logged out or deleted: which of it has to go, and who sees to it."""

from __future__ import annotations

from itertools import groupby

from actors.janitor import Wipe
from actors.notices import Released, Wiped
from actors.register import Noted
from actors.services import INSTANCES, JANITOR, Services
from actors.store import Cleanup, Instance
from supervisor.otp import Ref


class Leftovers:
    """What the janitor was asked to remove. It belongs to the roster, and runs on its thread.

    Args:
        services: the host's.
        roster: who is told.
    """

    def __init__(self, services: Services, roster: Ref) -> None:
        self._services = services
        self._roster = roster
        self._held: dict[str, str] = {}

    def wipe(self, instance_id: str, notes: list[Cleanup], then: Wiped | Released) -> None:
        """Have the janitor do what some notes of one instance say, and tell the roster `then`, however that ends."""
        janitor = self._services.system.whereis(JANITOR)
        if janitor is None:
            self._roster.cast(then)
        else:
            janitor.request(Wipe(instance_id, tuple(notes)), lambda _value, _error: self._roster.cast(then))

    def take_up(self, noted: list[Noted]) -> list[Cleanup]:
        """Have the janitor do what an earlier host, or roster, had begun to remove and could not finish.

        An instance that has no device linked now is held: a device that it linked meanwhile might be taken for the
        former one. All others need not wait.

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
                self._held[instance_id] = row.name
            self.wipe(instance_id, left, Released(instance_id))
        return void

    def holds(self, instance_id: str) -> bool:
        """Whether the start of an instance has to wait."""
        return instance_id in self._held

    def release(self, instance_id: str) -> str | None:
        """It need not wait any longer: its name, if it did."""
        return self._held.pop(instance_id, None)

    def _runs(self, row: Instance | None) -> bool:
        """Whether it may be about to link a device; the next host finds it at rest."""
        return (
            row is not None and self._services.system.whereis(f"{INSTANCES}/{row.name}/session") is not None
        )


def is_void(note: Cleanup, row: Instance | None, services: Services) -> bool:
    """Whether a device was linked since a clean-up was noted, so that what is there now is not what it was about."""
    if row is None or "delete" in note.what or not row.logged_in:
        return False
    return not services.credentials.by_device or note.what.get("credentials") in (None, row.device_jid)


def _owner(noted: Noted) -> str:
    return noted[0].instance_id

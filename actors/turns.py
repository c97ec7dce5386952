"""Whose turn it is at boot: a few instances connect at a time, the most urgent first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from actors.progress import Progress
from actors.store import Instance
from actors.views import Phase
from supervisor.otp import Timer


class Turns:
    """The queue of a boot. It belongs to the roster, and runs on its thread.

    Args:
        limit: how many may have their turn at once, as the configuration says when it is asked.
        give: gives an instance its turn; the timer that ends it at the latest, or None if there is no such instance.
        say: told how far the boot has come.
        now: the time, in monotonic seconds.
    """

    def __init__(
        self,
        limit: Callable[[], int],
        give: Callable[[str], Timer | None],
        say: Callable[[str], None],
        now: Callable[[], float],
    ) -> None:
        self._limit = limit
        self._give = give
        self._say = say
        self._now = now
        self._waiting: deque[str] = deque()
        self._under_way: dict[str, Timer] = {}
        self._progress = Progress(0, now())

    def begin(self, names: Iterable[str]) -> None:
        """Queue them, in this order, and give the first their turns."""
        self._waiting = deque(names)
        self._progress = Progress(len(self._waiting), self._now())
        self._grant()

    def settled(self, name: str) -> None:
        """It has come to something, or is not waited for any longer: the next one has its turn."""
        timer = self._under_way.pop(name, None)
        if timer is not None:
            timer.cancel()
            self._advance()
            self._grant()

    def leave(self, name: str) -> None:
        """It is to be no more, and needs no turn."""
        self.settled(name)
        if name in self._waiting:
            self._waiting.remove(name)
            self._advance()

    def _grant(self) -> None:
        while self._waiting and len(self._under_way) < self._limit():
            name = self._waiting.popleft()
            timer = self._give(name)
            if timer is not None:
                self._under_way[name] = timer
            else:
                self._advance()

    def _advance(self) -> None:
        text = self._progress.step(self._now())
        if text is not None:
            self._say(text)


def urgency(row: Instance) -> tuple[bool, float]:
    """Who is brought back first: what was open when the host ended, and of that what was used last."""
    return row.phase == Phase.OPEN, row.last_open_at or 0.0

"""What is scarce, counted by who holds it, so that one holder cannot take it all."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable

GiveBack = Callable[[], None]
"""Ends the holding of one; from any thread, and without effect when it was called before."""


class Shares:
    """Who holds how many.

    The threads of the server share it, hence a lock, held for a few dictionary operations.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[Hashable] = Counter()

    def take(self, holder: Hashable, *, each: int, total: int | None = None) -> GiveBack | None:
        """Hold one more.

        Args:
            holder: who.
            each: how many this holder may have.
            total: how many all may have together for this holder to get one; None for any number.

        Returns:
            What gives it back; None when there is none for this holder now.
        """
        with self._lock:
            if self._held[holder] >= each or (total is not None and self._held.total() >= total):
                return None
            self._held[holder] += 1
        left = [holder]

        def give_back() -> None:
            with self._lock:
                if left:
                    self._give_back(left.pop())

        return give_back

    def _give_back(self, holder: Hashable) -> None:
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]

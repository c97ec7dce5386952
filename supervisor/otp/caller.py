"""The answer of one call: settled once, by whoever comes first."""

from __future__ import annotations

import _thread
import sys
import threading
from typing import TYPE_CHECKING, Any

import pykka

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXPIRED = TimeoutError("deadline passed")


class Caller(pykka.Future[Any]):
    """Who waits for the answer of a call; ``handle_call`` receives it.

    An actor that returns ``NO_REPLY`` keeps it and answers later, from any thread, with `reply` or `error`.
    The first answer counts, later ones change nothing; an actor that ends unanswered answers ``ActorDown``.
    """

    # One bare lock is the gate, held until there is an answer: a Condition as in ThreadingFuture costs
    # several times as much, and nothing here waits for more than one event.
    _get_hook: Any = None
    _on_settled: Sequence[Callable[[], object]] = ()
    _value: Any = None
    _error: BaseException | None = None
    taken = False

    def __init__(self) -> None:
        self._claim = _thread.allocate_lock()
        self._gate = _thread.allocate_lock()
        self._gate.acquire()

    def reply(self, value: Any = None) -> bool:
        """Answer with a value. False if it was answered before."""
        return self._settle(value, None)

    def error(self, exception: BaseException) -> bool:
        """Answer with an exception, raised in the caller. False if it was answered before."""
        return self._settle(None, exception)

    @property
    def answered(self) -> bool:
        """Whether there is an answer, or will be in a moment."""
        # Not the gate: who waits takes it for an instant when it opens.
        return self._claim.locked()

    def wait(self, seconds: float | None) -> bool:
        """Block until there is an answer, for at most ``seconds`` of real time. Whether there is one."""
        limit = -1.0 if seconds is None else min(max(seconds, 0.0), threading.TIMEOUT_MAX)
        if not self._gate.acquire(True, limit):
            return False
        self._gate.release()
        return True

    def result(self) -> Any:
        """The answer, which must be there: returns the value or raises the error."""
        if self._error is not None:
            raise self._error
        return self._value

    def expire(self) -> None:
        """Wake who waits, without an answer."""
        self._settle(None, EXPIRED)

    @property
    def expired(self) -> bool:
        """Whether `expire` came first."""
        return self._error is EXPIRED

    def _settle(self, value: Any, error: BaseException | None) -> bool:
        if not self._claim.acquire(False):
            return False
        self._value = value
        self._error = error
        self._gate.release()
        for callback in self._on_settled:
            callback()
        return True

    # pykka's Future protocol, so that ActorRef.ask and what builds on it go on working.

    def set(self, value: Any = None) -> None:
        self._settle(value, None)

    def set_exception(self, exc_info: Any = None) -> None:
        error = (exc_info or sys.exc_info())[1]
        self._settle(None, error if error is not None else RuntimeError("no exception to set"))

    def set_get_hook(self, func: Any) -> None:
        super().__init__()
        super().set_get_hook(func)

    def get(self, *, timeout: float | None = None) -> Any:
        if self._get_hook is not None:
            return super().get(timeout=timeout)
        if not self.wait(timeout):
            raise pykka.Timeout(f"{timeout} seconds")
        return self.result()

"""Exit reasons: why an actor ended.

They are those of Erlang/OTP (Reference Manual, Processes, "Termination"): ``normal``, ``shutdown``,
``{shutdown, Term}``, ``killed``, or a crash with its exception.
"""

from __future__ import annotations

import traceback
from collections import deque
from dataclasses import dataclass
from types import CodeType
from typing import TypeAlias

_MOST_FRAMES = 100

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


class Trace:
    """Where an exception and those that led to it were raised, taken down quickly and rendered later.

    `traceback.TracebackException` would do, but it looks at every source file when it is made, which is a quarter
    of the time in which a crashed child is back. The tracebacks are taken off the exceptions: they would hold the
    frames, and with them the actor.
    """

    __slots__ = ("_links",)

    def __init__(self, exception: BaseException) -> None:
        self._links: list[tuple[BaseException, list[traceback.FrameSummary], str]] = []
        link: BaseException | None = exception
        while link is not None and not any(link is seen for seen, _, _ in self._links):
            frames = deque(traceback.walk_tb(link.__traceback__), _MOST_FRAMES)
            link.__traceback__ = None
            stack = [_summary(frame.f_code, line) for frame, line in frames]
            cause = link.__cause__
            self._links.append((link, stack, _CAUSE if cause is not None else _CONTEXT))
            link = cause if cause is not None or link.__suppress_context__ else link.__context__

    def render(self) -> str:
        """The text that Python would have printed."""
        parts: list[str] = []
        for exception, stack, joint in reversed(self._links):
            if parts:
                parts.append(joint)
            if stack:
                parts.append("Traceback (most recent call last):\n")
                parts += traceback.StackSummary.from_list(stack).format()
            parts += traceback.format_exception_only(exception)
        return "".join(parts)


def _summary(code: CodeType, line: int | None) -> traceback.FrameSummary:
    return traceback.FrameSummary(code.co_filename, line, code.co_qualname, lookup_line=False)


@dataclass(frozen=True, slots=True)
class Normal:
    """The actor had nothing left to do."""

    def __str__(self) -> str:
        return "normal"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The actor was told to stop, or ended in an expected way that ``term`` describes.

    ``Shutdown()`` is OTP's ``shutdown``; ``Shutdown(term)`` is ``{shutdown, Term}``.
    """

    term: object = None

    def __str__(self) -> str:
        return "shutdown" if self.term is None else f"shutdown({self.term!r})"


@dataclass(frozen=True, slots=True)
class Killed:
    """The actor was ended from outside, without its cooperation."""

    def __str__(self) -> str:
        return "killed"


class Crash:
    """An exception that no handler caught ended the actor.

    Two are equal if they have the same exception. The frames are let go, so that a kept reason keeps no
    actor alive; ``traceback`` is made into text when it is first read: most are never looked at.
    """

    __slots__ = ("_text", "_trace", "exception")

    def __init__(self, exception: BaseException, traceback: str | None = None) -> None:
        self.exception = exception
        self._text = traceback
        self._trace = Trace(exception) if traceback is None else None

    @property
    def traceback(self) -> str:
        """The exception with its traceback, as Python prints it."""
        if self._text is None:
            self._text = "" if self._trace is None else self._trace.render()
            self._trace = None
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Crash) and self.exception is other.exception

    def __hash__(self) -> int:
        return hash((Crash, id(self.exception)))

    def __repr__(self) -> str:
        return f"Crash({self.exception!r})"

    def __str__(self) -> str:
        return f"crash: {type(self.exception).__name__}: {self.exception}"


ExitReason: TypeAlias = Normal | Shutdown | Killed | Crash

NORMAL = Normal()
SHUTDOWN = Shutdown()
KILLED = Killed()


def is_abnormal(reason: ExitReason) -> bool:
    """Whether a transient child with this reason is restarted (OTP: not normal, shutdown, {shutdown, _})."""
    return not isinstance(reason, Normal | Shutdown)

"""Where the threads of this process stand, for the log of a host that hangs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import PurePath
from traceback import walk_stack
from types import CodeType, FrameType

from supervisor.otp.mailbox import Mailbox

DEEPEST = 30
"""Calls of one thread that are told."""


def of_busy_threads() -> Iterator[tuple[str, str]]:
    """Where each thread stands that does anything but wait for its actor's next message.

    The interpreter's own dump (`faulthandler`) ends after the 100 youngest threads, which are the instances' where
    there are many; the parts that all stand on are the oldest.

    Yields:
        A thread's name, which is an actor's path, and its calls on one line, the innermost first.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident() and frame.f_code is not _WAITING:
            yield names.get(ident, str(ident)), _calls(frame)


def _calls(innermost: FrameType) -> str:
    calls: list[str] = []
    for frame, line in walk_stack(innermost):
        if len(calls) == DEEPEST:
            calls.append("…")
            break
        calls.append(
            f"{'/'.join(PurePath(frame.f_code.co_filename).parts[-2:])}:{line} {frame.f_code.co_name}"
        )
    return " < ".join(calls)


_WAITING: CodeType = Mailbox.get.__code__

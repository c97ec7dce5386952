"""Where the threads of this process stand, for the log of a host that hangs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import PurePath
from traceback import walk_stack
from types import CodeType, FrameType

from supervisor.otp.mailbox import Mailbox

DEEPEST = 30
"""Calls of one thread that are told."""


def of_busy_threads(silent: Mapping[str, int]) -> list[tuple[str, str]]:
    """Where each thread stands that does anything but wait for its actor's next message, and each that should answer.

    The interpreter's own dump (`faulthandler`) ends after the 100 youngest threads, which are the instances' where
    there are many; the parts that all stand on are the oldest.

    All is looked at before anything is told, so that it is of one moment; and no frame is kept, which would keep alive
    what its thread holds.

    Args:
        silent: the actors that did not answer, with how many messages wait in the mailbox of each. They are told in
            any case: one that hangs in its mailbox looks as if it waited for a message.

    Returns:
        Each thread's name, which is an actor's path, and its calls on one line, the innermost first. The silent ones
        come first.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = sys._current_frames()
    del frames[threading.get_ident()]  # this function's own, which would keep itself alive
    told = []
    for ident, frame in frames.items():
        name = names.get(ident, str(ident))
        if frame.f_code is not _WAITING:
            told.append((name, _calls(frame)))
        elif name in silent:
            told.append((name, f"{_calls(frame)} (in its mailbox, where {silent[name]} messages wait)"))
    gone = silent.keys() - names.values()
    told += [(name, "nowhere: it has no thread") for name in sorted(gone)]
    return sorted(told, key=lambda one: one[0] not in silent)


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

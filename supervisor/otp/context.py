"""Which actor the current thread runs: how a fenced actor's sends are recognised."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from supervisor.otp.errors import Fenced

if TYPE_CHECKING:
    from supervisor.otp.process import Process


class _Context(threading.local):
    process: Process | None = None


current = _Context()


def check_not_fenced() -> Process | None:
    """The process of this thread, None outside of actors.

    Raises:
        Fenced: the actor of this thread was killed.
    """
    process = current.process
    if process is not None and process.killed:
        raise Fenced(process.path)
    return process

"""The few calls to the Linux kernel that Python does not wrap."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Collection
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_M_ARENA_MAX = -8
_NAME_BYTES = 15
_STANDARD_DESCRIPTORS = 3

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (`prctl(2)`); end now if it did already.

    The signal is sent when the *thread* that started this process ends.

    Args:
        parent: process id of the parent as this process's starter knows it.

    Raises:
        OSError: the kernel refused.
        SystemExit: the parent is gone.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(0)


def set_process_name(name: str) -> None:
    """Set what `ps -o comm` shows; 15 bytes are kept."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:_NAME_BYTES]))


def one_malloc_arena() -> None:
    """Keep all threads on one malloc arena; only before there are threads.

    Each arena keeps what was freed in it, and threads take turns with a dozen of them. One is no bottleneck where
    threads mostly wait, or hold the interpreter's lock when they allocate.
    """
    _libc.mallopt(_M_ARENA_MAX, 1)


def trim_malloc() -> None:
    """Give unused heap pages back to the kernel."""
    _libc.malloc_trim(0)


def close_all_descriptors(keep: Collection[int]) -> None:
    """Close every descriptor but the standard three and `keep`."""
    low = _STANDARD_DESCRIPTORS
    for descriptor in sorted(keep):
        if descriptor >= low:
            os.closerange(low, descriptor)
            low = descriptor + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 1 << 20)


def prefer_as_oom_victim(score: int) -> None:
    """Have the out-of-memory killer take this process before others (0 to 1000), where that may be said."""
    try:
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, str(score).encode())
        finally:
            os.close(descriptor)
    except OSError:
        return  # a locked-down /proc: the kernel then decides by size, which is no fault of ours


def resident_bytes() -> int:
    """Give this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def count_threads() -> int:
    """Count this process's threads, those of the Go library included."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def count_descriptors() -> int:
    """Count this process's open descriptors."""
    return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208


def _prctl(option: int, argument: object) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")

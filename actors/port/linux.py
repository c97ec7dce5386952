"""The few calls to the Linux kernel that Python does not wrap."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Collection
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_KEPT_BYTES = 1 << 20
_NAME_BYTES = 15
_STANDARD_DESCRIPTORS = 3

_HOLE_SIZES = (*(1 << power for power in range(16, 10, -1)), *range(1008, 8, -16))
"""Bytes. Larger ones might be mapped instead; from 1024 down, each multiple of 16 is a list of its own in malloc."""
_CACHED_PIECES = 7
"""Free pieces of each size that malloc keeps for a thread, and does not count as free."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.free.argtypes = [ctypes.c_void_p]
_libc.getenv.restype = ctypes.c_void_p
_libc.getenv.argtypes = [ctypes.c_char_p]


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2`; `fordblks` is all that is free, `keepcost` the part of it at the top of the heap."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names.split())

    @property
    def holes(self) -> int:
        """Free bytes between what is in use."""
        return int(self.fordblks - self.keepcost)


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
    threads mostly wait, or hold the interpreter's lock when they allocate. Nothing without glibc.
    """
    _ask_malloc("mallopt", _M_ARENA_MAX, 1)


def keep_little_freed() -> None:
    """Have malloc give back what is freed at the top of the heap beyond a MiB, whatever was allocated before.

    By itself it gives back more reluctantly with every larger piece that was freed: after one of 30 MiB it would keep
    60 for good. For a process that lives for years. Nothing without glibc.
    """
    _ask_malloc("mallopt", _M_TRIM_THRESHOLD, _KEPT_BYTES)
    _ask_malloc("mallopt", _M_MMAP_THRESHOLD, _KEPT_BYTES)


def trim_malloc() -> None:
    """Give unused heap pages back to the kernel. Nothing without glibc."""
    _ask_malloc("malloc_trim", 0)


def fill_malloc_holes() -> int:
    """Take every free piece of the malloc heap for good, so that what is allocated next is in pages of its own.

    For a process that forks: a child that allocates would fill the holes between what it shares with its parent, and
    each hole that is written makes its whole page the child's own.

    Returns:
        Bytes taken, which are never given back; 0 where the C library does not tell what is free (glibc before 2.33).
    """
    tell = getattr(_libc, "mallinfo2", None)
    if tell is None:
        return 0
    tell.restype = _MallocInfo
    taken = 0
    for size in _HOLE_SIZES:
        info = tell()
        for _ in range(info.holes // size + _CACHED_PIECES):
            top = info.keepcost
            piece = _libc.malloc(size)
            info = tell()
            if info.keepcost != top:  # it was cut from the top: no hole is so large
                _libc.free(piece)
                break
            taken += size
    return taken


def forget_variable(name: str) -> None:
    """Remove an environment variable also for a Go runtime that is loaded later.

    Go reads the array of variables that the kernel made for the program, not libc's `environ`. They are the same until
    a new name is set: then libc goes on with a copy of the array, and what is unset in the copy stays in the first one.
    Both point to the same strings, so the string is emptied; Go skips an empty one, and `/proc/PID/environ` has no more
    of it either.

    Args:
        name: one that this process has not set anew, which would have given libc a string of its own.
    """
    value = _libc.getenv(name.encode())
    os.environ.pop(name, None)  # first, since libc finds it by the string
    if value is not None:
        size = len(ctypes.string_at(value))
        start = value - len(f"{name}=".encode())
        ctypes.memset(start, 0, value + size - start)


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


def _ask_malloc(function: str, *arguments: int) -> None:
    """Call what only glibc has. Another C library (musl) has neither its arenas nor its ways to keep memory."""
    call = getattr(_libc, function, None)
    if call is not None:
        call(*arguments)


def _prctl(option: int, argument: object) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")

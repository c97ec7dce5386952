"""What a process costs, from /proc. Needs Linux."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
_FIELD = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes.

    Attributes:
        uss: what its end would free.
        pss: its share of what it uses.
        rss: all that it maps.
        dirty: the part of `uss` that it has written. The rest are pages of files, which are its own only as long as no
            other process maps them.
    """

    uss: int
    pss: int
    rss: int
    dirty: int


def memory(pid: int) -> Memory:
    """A process's memory.

    Raises:
        FileNotFoundError, ProcessLookupError: it has ended.
        PermissionError: it is another user's.
    """
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = {name: int(value) for name, value in _FIELD.findall(text)}
    unique = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return Memory(
        unique << 10, kilobytes["Pss"] << 10, kilobytes["Rss"] << 10, kilobytes["Private_Dirty"] << 10
    )


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time of all threads of some processes, from the scheduler's own nanoseconds."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue  # the thread ended between the two looks
    return total / 1e9


def threads(pid: int) -> int:
    """How many threads it has."""
    return _entries(f"/proc/{pid}/task")


def descriptors(pid: int) -> int:
    """How many file descriptors it has open."""
    return _entries(f"/proc/{pid}/fd")


def _entries(directory: str) -> int:
    return sum(1 for _ in Path(directory).iterdir())

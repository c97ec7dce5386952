"""What a host does not take of memory, whatever its many threads do."""

from __future__ import annotations

import itertools
from pathlib import Path

from tests.e2e.harness import HostProcess

MIB = 1 << 20
HEAP = 64 * MIB
"""Address space that the C library sets aside for each arena but the first, at a multiple of it."""


def arenas(pid: int) -> int:
    """How many malloc arenas a process has besides the first, seen by the part of their space that is not in use."""
    spans = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        place, access, *rest = line.split()
        begin, end = (int(each, 16) for each in place.split("-"))
        spans.append((begin, end, access, len(rest) > 3))
    return sum(
        begin % HEAP == 0
        and (access, rest) == ("rw-p", "---p")
        and end == next_begin
        and next_end == begin + HEAP
        for (begin, end, access, file), (next_begin, next_end, rest, _) in itertools.pairwise(spans)
        if not file
    )


def test_all_threads_of_a_host_share_one_malloc_arena(tmp_path: Path) -> None:
    """Each arena would keep what was freed in it, so memory would grow with the threads that have drawn a picture."""
    host = HostProcess(tmp_path, {}).start()
    try:
        for name in ("one", "two", "three"):
            host.api.create(name)
            host.api.row(name)
        assert arenas(host.pid) == 0
    finally:
        host.stop()

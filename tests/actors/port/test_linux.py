"""What is asked of the C library."""

from __future__ import annotations

from tests.actors.port.test_library import run

FILL = """
import ctypes
from actors.port import linux

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.malloc.argtypes = [ctypes.c_size_t]
pieces = [libc.malloc(size) for size in (40, 200, 700, 3000, 20000) for _ in range(200)]
top = max(pieces)
for piece in pieces[::2]:
    libc.free(piece)
"""


def test_what_is_allocated_after_the_holes_are_filled_lies_above_everything_before() -> None:
    told = run(
        FILL + "taken = linux.fill_malloc_holes()\n"
        "new = [libc.malloc(size) for size in (40, 200, 700, 3000, 20000) for _ in range(50)]\n"
        "print(taken > 2_000_000, sum(piece < top for piece in new))"
    )
    taken, below = told.split()
    assert taken == "True"
    assert int(below) < 10  # what Python itself frees meanwhile

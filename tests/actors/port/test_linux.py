"""What is asked of the C library."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.port import linux
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


def test_what_is_freed_at_the_top_of_the_heap_is_given_back_however_much_there_was() -> None:
    """Small pieces after a large one, as a burst of them leaves it: malloc would keep all that they took."""
    told = run(
        FILL + "linux.one_malloc_arena()\n"
        "linux.keep_little_freed()\n"
        "libc.free(libc.malloc(30 << 20))\n"
        "for piece in [libc.malloc(100_000) for _ in range(300)]:\n"
        "    libc.free(piece)\n"
        "libc.mallinfo2.restype = linux._MallocInfo\n"
        "print(libc.mallinfo2().keepcost)"
    )
    assert int(told) < 2 << 20


def test_a_c_library_with_a_malloc_of_its_own_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As musl's, which has none of these."""
    monkeypatch.setattr(linux, "_libc", SimpleNamespace())
    linux.one_malloc_arena()
    linux.keep_little_freed()
    linux.trim_malloc()
    assert linux.fill_malloc_holes() == 0


@pytest.mark.parametrize("first", ["", "os.environ['NEW'] = '1'"])
def test_a_variable_is_forgotten_where_the_kernel_put_it_and_no_other(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """A new name makes libc leave the kernel's array, which is what Go reads."""
    for name in ("ZAP", "ZAP_PROXY", "ZAP_PROXY_2"):
        monkeypatch.setenv(name, f"{name} é")
    told = run(
        f"import os, pathlib\nfrom actors.port import linux\n{first}\n"
        "linux.forget_variable('ZAP_PROXY')\n"
        "linux.forget_variable('ZAP_NOT_THERE')\n"
        "kernels = pathlib.Path('/proc/self/environ').read_bytes().split(b'\\0')\n"
        "kernels = {entry.partition(b'=')[0].decode() for entry in kernels}\n"
        "print([{name for name in held if name in ('ZAP', 'ZAP_PROXY', 'ZAP_PROXY_2')} == {'ZAP', 'ZAP_PROXY_2'}\n"
        "    for held in (kernels, os.environ)], os.environ['ZAP_PROXY_2'])"
    )
    assert told == "[True, True] ZAP_PROXY_2 é"

"""Leaves out of a process what its libraries would load on the chance that somebody uses it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def absent(*modules: str) -> Iterator[None]:
    """Have what is imported meanwhile believe that these modules are not installed.

    For optional imports at the top of a library, which cost megabytes in a process that lives for years and never
    calls them. Those that are loaded already stay; afterwards every one can be imported again.

    Args:
        modules: names of packages at the top level.
    """
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it is an ImportError (import system, 5.3.1)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]

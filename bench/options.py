"""What the command lines of this package have in common."""

from __future__ import annotations

import argparse
import os

KEPT = frozenset({"ZAPVISOR_TEST_POSTGRES"})
"""Variables that are meant for measurements as well."""


def positive(text: str) -> int:
    """A whole number above 0."""
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def seconds(text: str) -> float:
    """A span of time above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def shed_environment() -> None:
    """Nothing of the user's environment configures the host, and no proxy is asked on the way to this machine."""
    for name in [name for name in os.environ if name.startswith("ZAPVISOR_") and name not in KEPT]:
        del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"

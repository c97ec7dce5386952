"""Breaks single rules of the library, one at a time, and sees whether a test notices.

``python -m tests.otp.mutations [--jobs N] [NAME ...]`` copies the library and its tests, applies one change, runs the
tests that need no Erlang, and expects them to fail. It ends with 1 if a change went unnoticed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.mutants import ROOT, Suite, main, read

SOURCE = "supervisor/otp"
LIBRARY = ROOT / SOURCE
MUTATIONS = read(Path(__file__).with_suffix(".txt"))

SUITE = Suite(
    module="tests.otp.mutations",
    about=__doc__,
    mutations=MUTATIONS,
    source=SOURCE,
    copied=(SOURCE, "tests/otp", "tests/mutants.py"),
    stages=[("-k", "not test_what_erlang_does and not mutations", "-m", "not slow", "tests/otp")],
)

if __name__ == "__main__":
    sys.exit(main(SUITE))

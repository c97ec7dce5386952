"""Signals are heard whichever thread gets them. In a process of its own, since the main thread is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, threading
from supervisor.signals import WOKEN, Signals

def other():
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.pthread_kill(threading.get_ident(), number)

signals = Signals((signal.SIGTERM, signal.SIGHUP))
threading.Thread(target={start}).start()
print([signals.wait() for _ in range({count})])
signals.ignore()
os.kill(os.getpid(), signal.SIGTERM)
"""


def run(start: str, count: int) -> str:
    program = PROGRAM.format(start=start, count=count)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


def test_a_signal_that_another_thread_gets_wakes_the_main_thread() -> None:
    assert run("other", 2) == "[1, 15]"


@pytest.mark.parametrize("times", [1, 3])
def test_it_can_be_woken_without_a_signal(times: int) -> None:
    assert run(f"lambda: [signals.wake() for _ in range({times})]", times) == str([0] * times)


def test_signals_that_nobody_asked_for_are_passed_over() -> None:
    start = "lambda: (signal.raise_signal(signal.SIGCHLD), signals.wake())"
    assert run(start, 1) == "[0]"

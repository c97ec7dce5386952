"""Answers to callers: at once, or to those who wait for a code or for `open`."""

from __future__ import annotations

from actors.session.effects import Reply, SetTimer
from actors.session.memory import Memory

WAIT = "wait:"


def reply(m: Memory, caller: int, text: str) -> None:
    m.ask(Reply(caller, text))


def refuse(m: Memory, caller: int, refusal: Exception) -> None:
    m.ask(Reply(caller, refusal=refusal))


def wait(m: Memory, caller: int, seconds: float) -> None:
    """Answer at the first code, at `open`, at a failure, or when the time is over."""
    if seconds <= 0:
        reply(m, caller, "Connecting")
    else:
        m.waiters.append(caller)
        m.ask(SetTimer(f"{WAIT}{caller}", seconds))


def answer_waiters(m: Memory, text: str) -> None:
    m.waiters, waiters = [], m.waiters
    for caller in waiters:
        reply(m, caller, text)


def waited_long_enough(m: Memory, timer: str) -> None:
    caller = int(timer.removeprefix(WAIT))
    if caller in m.waiters:
        m.waiters.remove(caller)
        reply(m, caller, "Still connecting")

"""Where threads stand, as the watchdog asks for it."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from actors import stacks
from supervisor.otp.mailbox import Mailbox

WAIT = 20.0


class Thing:
    """Something that a thread holds."""


def told(name: str, *silent: str) -> list[str]:
    queued = dict.fromkeys(silent, 3)
    return [calls for thread, calls in stacks.of_busy_threads(queued) if thread == name]


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)  # the pace of the questions


@contextmanager
def getting(mailbox: Mailbox) -> Iterator[None]:
    """A thread `getter` that waits for one message of a mailbox, which is closed at the end."""
    thread = threading.Thread(target=mailbox.get, name="getter", daemon=True)
    thread.start()
    try:
        yield
    finally:
        mailbox.close()
        thread.join(WAIT)


def test_who_waits_for_a_message_is_told_only_if_it_did_not_answer() -> None:
    mailbox = Mailbox()
    with getting(mailbox):
        until(lambda: mailbox.waiting)
        until(lambda: told("getter") == [])
        [calls] = told("getter", "getter", "another")
        assert calls.startswith("otp/mailbox.py:")
        assert calls.endswith(" (in its mailbox, where 3 messages wait)")


def test_who_hangs_at_the_lock_of_its_mailbox_is_told() -> None:
    """It looks like one that waits for a message."""
    mailbox = Mailbox()
    mailbox._lock.acquire()
    with getting(mailbox):
        try:
            until(lambda: told("getter", "getter")[0].startswith("otp/mailbox.py:"))
            assert not mailbox.waiting
        finally:
            mailbox._lock.release()


def test_a_part_without_a_thread_is_told_and_silent_ones_come_first() -> None:
    stands = threading.Event()
    thread = threading.Thread(target=stands.wait, args=(WAIT,), name="a part")
    thread.start()
    try:
        found = stacks.of_busy_threads({"a part": 0, "gone": 0})
    finally:
        stands.set()
        thread.join(WAIT)
    assert {name for name, _ in found[:2]} == {"a part", "gone"}
    assert ("gone", "nowhere: it has no thread") in found


def test_it_is_of_one_moment_and_keeps_nothing_alive() -> None:
    entered, leave = threading.Event(), threading.Event()
    held: list[weakref.ref[Thing]] = []

    def stand() -> None:
        thing = Thing()
        held.append(weakref.ref(thing))
        entered.set()
        leave.wait(WAIT)

    thread = threading.Thread(target=stand, name="standing")
    thread.start()
    assert entered.wait(WAIT)
    found = stacks.of_busy_threads({})
    leave.set()
    thread.join(WAIT)
    assert held[0]() is None, "what the thread held is gone with it"
    [calls] = [calls for name, calls in found if name == "standing"]
    assert "test_stacks.py" in calls
    assert " stand" in calls


def test_asking_leaves_no_frame_to_the_garbage_collector() -> None:
    """The frame of whoever asks is one of them, and would hold itself."""
    thing = Thing()
    gone = weakref.ref(thing)

    def ask(kept: Thing) -> None:
        stacks.of_busy_threads({})

    ask(thing)
    del thing
    assert gone() is None

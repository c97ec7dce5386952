"""Polls connectionState, and holds every answer against what the service itself saw of the connections."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import httpx

from tests.e2e.harness import HostProcess
from tests.loopback.api import LoopbackApi
from tests.loopback.journal import Event

TOLD_WITHIN = 5.0
"""Seconds after its end for which a connection may still be called open: its end is told at once by the socket or by
the process, and the rest is a busy machine. What is promised is 40 s."""
FOUND_OUT_WITHIN = 40.0
"""The same for a connection through which nothing comes any more: nothing tells of it."""
PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """One answer, with the time before the question and after it (monotonic seconds)."""

    name: str
    asked: float
    answered: float
    state: str


@dataclass(frozen=True)
class Life:
    """When a connection was logged in, and until when it may have been called open at the latest."""

    since: float
    until: float


class Watch:
    """Asks for the state of some instances as fast as it is answered, until it is closed.

    An answer is wrong if it says open while none of the instance's connections lived by the service's own journal,
    nor had ended within `TOLD_WITHIN` before the question. Every question must be answered, except while the test
    itself has the host down.
    """

    def __init__(self, host: HostProcess, wa: LoopbackApi) -> None:
        self._host = host
        self._wa = wa
        self._devices: dict[str, str] = {}
        self._answers: list[Answer] = []
        self._failures: list[str] = []
        self._over = threading.Event()
        self._changed = threading.Condition()
        self._rounds = 0
        self._downs = 0
        """Counted at the begin and at the end of each time that the host is down: odd while it is."""
        self._thread = threading.Thread(target=self._poll, name="watch", daemon=True)

    def follow(self, devices: Mapping[str, str]) -> None:
        """Ask for these instances; the linked device of each, by its name."""
        self._devices = dict(devices)

    @contextmanager
    def host_down(self) -> Iterator[None]:
        """Within the block the test ends the host and starts it again: no answer is no failure."""
        self._downs += 1
        try:
            yield
        finally:
            self._downs += 1

    def caught_up(self) -> None:
        """Wait until each has been asked for once more, and has answered or failed to."""
        with self._changed:
            rounds = self._rounds
            self._changed.wait_for(lambda: self._rounds >= rounds + 2, PATIENCE)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        if kind is None:
            self.caught_up()
        self._over.set()
        self._thread.join(PATIENCE)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Hold what was answered so far against the journal."""
        assert not self._over.is_set() or not self._thread.is_alive(), (
            f"a question was not answered within {PATIENCE:g} s"
        )
        assert not self._failures, self._failures[:5]
        unasked = set(self._devices) - {answer.name for answer in self._answers}
        assert not unasked, f"nothing was asked of {unasked}"
        wrong = self.wrong()
        assert not wrong, f"{len(wrong)} of {len(self._answers)} answers called a dead link open: {wrong[:5]}"

    def wrong(self) -> list[Answer]:
        """The answers that called a dead connection open."""
        lives = {
            name: lives_of(device, self._wa.events(jid=device)) for name, device in self._devices.items()
        }
        return [
            answer for answer in self._answers if answer.state == "open" and dead(answer, lives[answer.name])
        ]

    def _poll(self) -> None:
        downs, api = -1, None
        while not self._over.wait(0.005):  # the pace of the questions
            for name in list(self._devices):
                before = self._downs
                if api is None or downs != before:
                    downs, api = before, self._host.api_with_own_client()
                asked = time.monotonic()
                try:
                    state = api.state(name)
                except (
                    httpx.HTTPError,
                    RuntimeError,
                    AssertionError,
                ) as error:  # RuntimeError: closed by the test
                    if before % 2 == 0 and before == self._downs:
                        self._failures.append(f"{name}: {type(error).__name__}: {error}")
                    continue
                self._answers.append(Answer(name, asked, time.monotonic(), state))
            with self._changed:
                self._rounds += 1
                self._changed.notify_all()


def lives_of(device: str, events: list[Event]) -> list[Life]:
    """From a device's part of the journal: when each of its connections began and ended."""
    lives = []
    by_connection = itertools.groupby(
        sorted(events, key=lambda event: event.connection), lambda e: e.connection
    )
    for _, group in by_connection:
        since, until = None, float("inf")
        for event in sorted(group, key=lambda event: event.number):
            match event.kind:
                case "success":
                    since = event.at
                case "closed":
                    until = min(until, event.at + TOLD_WITHIN)
                case "black_hole" if event.detail["on"]:
                    until = min(until, event.at + FOUND_OUT_WITHIN)
                case "black_hole":
                    until = float("inf")
        if since is not None:
            lives.append(Life(since, until))
    return lives


def dead(answer: Answer, lives: list[Life]) -> bool:
    """Whether no connection can have been called open at any moment between question and answer."""
    return not any(life.since <= answer.answered and answer.asked <= life.until for life in lives)

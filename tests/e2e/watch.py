"""Polls connectionState, and holds every answer against what the host knew at that moment."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from tests.e2e.harness import HostProcess


@dataclass(frozen=True)
class Answer:
    """One answer, with the time before the question and after it (epoch seconds)."""

    name: str
    asked: float
    answered: float
    state: str


class Watch:
    """Asks for the state of some instances as fast as it is answered, until it is closed.

    An answer is wrong if it says open and was asked after the host had logged that the link is down, and
    answered before it logged that it is open again.
    """

    def __init__(self, host: HostProcess) -> None:
        self._host = host
        self._names: list[str] = []
        self._answers: list[Answer] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="watch", daemon=True)

    def follow(self, *names: str) -> None:
        self._names = list(names)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        self._over.set()
        self._thread.join(30)
        if kind is None:
            assert self._answers, "nothing was asked"
            assert self.wrong() == []

    def wrong(self) -> list[Answer]:
        return [answer for answer in self._answers if answer.state == "open" and self._dead(answer)]

    def _dead(self, answer: Answer) -> bool:
        changes = self._host.log.records(event="phase", instance=answer.name)
        before = [change for change in changes if moment(change) < answer.asked]
        within = [change for change in changes if answer.asked <= moment(change) <= answer.answered]
        return (
            bool(before) and before[-1]["phase"] != "open" and not any(c["phase"] == "open" for c in within)
        )

    def _poll(self) -> None:
        api = self._host.api_with_own_client()
        while not self._over.wait(0.005):  # the pace of the questions
            for name in list(self._names):
                asked = time.time()
                try:
                    state = api.state(name)
                except Exception:  # the host is just being stopped
                    continue
                self._answers.append(Answer(name, asked, time.time(), state))


def moment(record: dict[str, object]) -> float:
    """When a record was written, rounded up: the log's times are cut to milliseconds."""
    return datetime.fromisoformat(str(record["time"])).timestamp() + 0.001

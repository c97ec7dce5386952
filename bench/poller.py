"""Asks for the state of instances at a steady pace, and keeps how long each answer took."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlsplit

from tests.e2e.harness import KEY

PACE = 0.02
TIMEOUT = 30.0


class StateClient:
    """`GET /instance/connectionState/NAME` on one kept connection, with as little of its own cost as possible."""

    def __init__(self, url: str, key: str = KEY) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
        self._headers = {"apikey": key}

    def state(self, name: str) -> str:
        """The state of an instance."""
        self._connection.request("GET", f"/instance/connectionState/{name}", headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"connectionState/{name}: {answer.status} {body[:200]!r}")
        return str(json.loads(body)["instance"]["state"])

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Poller:
    """Asks until it is closed; a context manager.

    Args:
        url: the API.
        names: the instances that are asked for, in turn.
        pace: seconds between two questions.

    Attributes:
        latencies: seconds that each answer took.
    """

    def __init__(self, url: str, names: Sequence[str], pace: float = PACE) -> None:
        self.latencies: list[float] = []
        self._client = StateClient(url)
        self._names = itertools.cycle(names)
        self._pace = pace
        self._over = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._ask, name="poller", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        self._over.set()
        self._thread.join(TIMEOUT)
        self._client.close()
        if kind is None and self._failure is not None:
            raise self._failure

    def _ask(self) -> None:
        try:
            while not self._over.wait(self._pace):
                began = time.monotonic()
                self._client.state(next(self._names))
                self.latencies.append(time.monotonic() - began)
        except Exception as error:
            self._failure = error

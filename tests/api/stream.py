"""A gateway with an outbox, and clients of the stream of events."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from api import ApiServer
from tests.api.conftest import HOST_KEY
from tests.api.fakes import EPOCH, MemoryGateway

DEADLINE = 10.0


@dataclass(frozen=True)
class FakeEvent:
    seq: int
    id: str
    instance_id: str | None
    instance: str
    event: str = "connection.update"
    data: Mapping[str, Any] | None = None
    sender: str | None = None
    at: float = EPOCH


@dataclass(repr=False)
class FeedGateway(MemoryGateway):
    """A tree in memory whose events can be read along."""

    events: list[FakeEvent] = field(default_factory=list)
    listeners: list[Callable[[], object]] = field(default_factory=list)
    reads: int = 0
    broken: Exception | None = None
    deaf: Exception | None = None
    _seqs: Any = field(default_factory=lambda: itertools.count(1))

    def emit(self, instance: str, event: str = "connection.update", **data: Any) -> FakeEvent:
        """Commit an event and tell of it."""
        [made] = self.store(instance, event, **data)
        for listener in list(self.listeners):
            listener()
        return made

    def store(self, instance: str, event: str = "connection.update", count: int = 1, **data: Any) -> Any:
        """Commit events of which nobody is told."""
        view = self.view(instance)
        made = [
            FakeEvent(seq, f"event-{seq}", view.id if view else None, instance, event, {**data, "n": seq})
            for seq in itertools.islice(self._seqs, count)
        ]
        self.events.extend(made)
        return made

    def events_after(self, seq: int, limit: int, timeout: float) -> Sequence[FakeEvent]:
        self.reads += 1
        if self.broken is not None:
            raise self.broken
        return self.events[seq : seq + limit]  # they are numbered from 1, without gaps

    def newest_event(self, timeout: float) -> int:
        return self.events[-1].seq if self.events else 0

    def on_commit(self, callback: Callable[[], object], timeout: float) -> Callable[[], object]:
        if self.deaf is not None:
            raise self.deaf
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback)


@dataclass(frozen=True)
class Message:
    """A message as a browser reads it."""

    event: str
    data: Any
    id: int | None

    @property
    def number(self) -> int:
        return int(self.data["data"]["n"])


class Listener:
    """A client of the stream on a real socket."""

    def __init__(
        self, server: ApiServer, query: str = "", *, key: str | None = HOST_KEY, **headers: str
    ) -> None:
        self.connection = http.client.HTTPConnection(*server.address, timeout=DEADLINE)
        sent = {**({"apikey": key} if key else {}), **{k.replace("_", "-"): v for k, v in headers.items()}}
        self.connection.request("GET", f"/events{query}", headers=sent)
        self.socket = self.connection.sock
        self.response = self.connection.getresponse()
        self.comments = 0
        if self.response.status == 200:
            assert self.line() == "retry: 2000"
            assert self.line() == ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.response.close()
        self.connection.close()

    def line(self) -> str:
        raw = self.response.readline()
        if not raw:
            raise EOFError
        return raw.decode().rstrip("\n")

    def read(self) -> Message:
        """The next message."""
        fields: dict[str, str] = {}
        while True:
            line = self.line()
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                id = int(fields["id"]) if "id" in fields else None
                return Message(fields["event"], json.loads(fields["data"]), id)

    def messages(self) -> Iterator[Message]:
        while True:
            yield self.read()

    def numbers(self, count: int) -> list[int]:
        return [message.number for message in itertools.islice(self.messages(), count)]

    def numbers_until_closed(self) -> Iterator[int]:
        try:
            while True:
                yield self.read().number
        except (EOFError, http.client.HTTPException, ConnectionError):
            return

    def until_closed(self) -> None:
        """Read until the server ends it."""
        try:
            while True:
                self.line()
        except (EOFError, http.client.HTTPException, ConnectionError):
            return


def stream_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "api/events"]

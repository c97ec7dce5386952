"""The stream's other end: one thread that reads the outbox and passes it on to every client.

Nothing is kept for a client but its place in the outbox. One that takes its messages slowly is sent no more
than fits its window, and is read on for from its place when it has taken them; one that takes nothing at all
is closed, and resumes by the id of the last message that it got.

The thread starts with the first client and ends with the last.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from api.changes import Watch
from api.gateway import CallError, Clock, EventFeed, FeedEvent, Gateway
from api.sse import CHANGE, KEEP_ALIVE, Client, Wish, event_message, message
from api.streaming import Stream

log = logging.getLogger("zapvisor.api.events")

Encode = Callable[[FeedEvent], bytes]
_PAGE = 200
"""Events in one read."""

_PAGES = 10
"""Reads after which the clients that came and went have their turn."""

_COMMITTED = object()
_ROOM = object()


@dataclass(frozen=True, slots=True)
class Pace:
    """How often what is done. Times are in seconds.

    Attributes:
        look: between two looks for changes, while somebody wants to hear of them.
        poll: between two reads of the outbox of which no commit told.
        keep_alive: of silence, after which a client is sent a comment.
        stall: for which a client may take nothing.
        life: of one connection; after it the client comes again, and shows its key again.
        window: bytes under way to one client.
        read: a query's deadline.
    """

    look: float = 0.4
    poll: float = 2.0
    keep_alive: float = 15.0
    stall: float = 30.0
    life: float = 3600.0
    window: int = 64 * 1024
    read: float = 5.0


@dataclass(frozen=True, slots=True)
class _Gone:
    client: Client


class Hub:
    """Passes events and changes on to clients.

    Args:
        gateway: whose snapshots are watched for changes.
        feed: the outbox.
        clock: for time limits.
        server_url: for the envelope of events.
        picture: draws the text of a QR code as a data URL.
        pace: how often what is done.
    """

    def __init__(
        self,
        gateway: Gateway,
        feed: EventFeed,
        clock: Clock,
        *,
        server_url: str,
        picture: Callable[[str], str],
        pace: Pace | None = None,
    ) -> None:
        self._gateway = gateway
        self._feed = feed
        self._clock = clock
        self._encode: Encode = lambda event: event_message(event, server_url, picture)
        self._pace = pace or Pace()
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        # The thread ends by itself when it has no client; a client that comes just then must not be missed.
        self._starting = threading.Lock()
        self._running = False
        self._members: set[Client] = set()

    def attach(
        self,
        stream: Stream,
        wish: Wish,
        after: int,
        is_welcome: Callable[[], bool],
        gone: Callable[[], object],
    ) -> None:
        """Serve a client from now on.

        Args:
            stream: its connection.
            wish: what it wants.
            after: the sequence number that it has.
            is_welcome: whether it may still listen; called in the hub's thread, now and then.
            gone: called in the server's loop when its connection is closed.
        """
        client = Client(stream, wish, after, is_welcome, self._clock.monotonic())

        def closed() -> None:
            gone()
            self._inbox.put(_Gone(client))

        stream.on_close(closed)
        with self._starting:
            self._members.add(client)
            self._inbox.put(client)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="api/events", daemon=True).start()

    def _run(self) -> None:
        leave = self._listen()
        try:
            crew = _Crew(
                self._gateway,
                self._feed,
                self._clock,
                encode=self._encode,
                pace=self._pace,
                call=lambda: self._inbox.put(_ROOM),
            )
            while not self._is_over():
                self._turn(crew)
        except Exception:
            log.exception("the event stream failed; its clients come again")
            self._drop_all()
        finally:
            leave()

    def _is_over(self) -> bool:
        with self._starting:
            self._running = bool(self._members)
            return not self._running

    def _drop_all(self) -> None:
        with self._starting:
            for client in self._members:
                client.stream.abort()
            self._members.clear()
            self._running = False

    def _turn(self, crew: _Crew) -> None:
        try:
            items = [self._inbox.get(timeout=crew.patience())]
        except queue.Empty:
            items = []
        while not self._inbox.empty():
            items.append(self._inbox.get())
        for item in items:
            if isinstance(item, Client):
                crew.add(item)
            elif isinstance(item, _Gone):
                crew.remove(item.client)
        crew.serve(told=_COMMITTED in items)
        with self._starting:
            self._members.difference_update(crew.left)
        crew.left.clear()

    def _listen(self) -> Callable[[], object]:
        """Hear of commits; without the bus, polling has to do."""
        try:
            return self._feed.on_commit(lambda: self._inbox.put(_COMMITTED), self._pace.read)
        except CallError as error:
            log.warning("events are polled: %s", error)
            return lambda: None


class _Crew:
    """The clients, and how far the outbox was read; in the hub's thread alone."""

    def __init__(
        self,
        gateway: Gateway,
        feed: EventFeed,
        clock: Clock,
        *,
        encode: Encode,
        pace: Pace,
        call: Callable[[], object],
    ) -> None:
        self.clients: set[Client] = set()
        self.left: list[Client] = []
        self._greeted: set[Client] = set()
        self._gateway = gateway
        self._feed = feed
        self._now = clock.monotonic
        self._encode = encode
        self._pace = pace
        self._call = call
        self._watch: Watch | None = None
        self._position: int | None = None
        self._polled_at = self._looked_at = -math.inf

    def patience(self) -> float:
        """Seconds to wait for the next thing to happen."""
        waits = [self._pace.poll, self._pace.keep_alive, self._pace.stall]
        if any(client.wish.changes for client in self.clients):
            waits.append(self._pace.look)
        return min(waits)

    def add(self, client: Client) -> None:
        """One more, unless its connection is gone already."""
        self.clients.add(client)
        if not client.stream.is_open:
            self.remove(client)

    def remove(self, client: Client) -> None:
        """One less."""
        if client in self.clients:
            self.clients.remove(client)
            self._greeted.discard(client)
            self.left.append(client)

    def serve(self, *, told: bool) -> None:
        """Pass on what is new.

        Args:
            told: whether there was a commit.
        """
        try:
            if told or self._now() - self._polled_at >= self._pace.poll:
                self._read_on()
            for client in [client for client in self.clients if client.is_behind]:
                self._catch_up(client)
        except CallError as error:
            log.warning("the outbox cannot be read now: %s", error)
        self._tell_changes()
        self._look_after()

    def _read_on(self) -> None:
        """Read what was committed since, and pass it on to those who are not behind."""
        self._polled_at = self._now()
        readers = [client for client in self.clients if client.wish.outbox and not client.is_behind]
        if not readers:
            self._position = None  # those who are behind read for themselves
            return
        if self._position is None:
            self._position = min(client.position for client in readers)
        for _ in range(_PAGES):
            events = self._feed.events_after(self._position, _PAGE, self._pace.read)
            encoded: dict[int, bytes] = {}
            for client in readers:
                if not client.is_behind:  # it may have fallen behind at the page before
                    self._pass_on(client, events, encoded)
            if events:
                self._position = events[-1].seq
            if len(events) < _PAGE:
                return
        self._polled_at = -math.inf
        self._call()

    def _catch_up(self, client: Client) -> None:
        """Read on for a client from its own place, as far as its window goes; then when it has taken that."""
        while client.is_behind and client.stream.pending < self._pace.window:
            events = self._feed.events_after(client.position, _PAGE, self._pace.read)
            client.is_behind = len(events) == _PAGE
            self._pass_on(client, events, {})
        if client.is_behind:
            client.stream.on_room(self._call)

    def _pass_on(self, client: Client, events: Sequence[FeedEvent], encoded: dict[int, bytes]) -> None:
        for event in events:
            if event.seq <= client.position:
                continue
            if client.stream.pending >= self._pace.window:
                client.is_behind = True
                return
            if client.wish.wants(event):
                if event.seq not in encoded:
                    encoded[event.seq] = self._encode(event)
                client.send(encoded[event.seq], self._now())
            client.position = event.seq

    def _tell_changes(self) -> None:
        listeners = [client for client in self.clients if client.wish.changes]
        if not listeners:
            self._watch = None
            return
        if self._watch is None:
            self._watch = Watch(self._gateway)
        for client in [client for client in listeners if client not in self._greeted]:
            # What changed before the first look is not told: the client looks once more after it.
            client.send(message(CHANGE, {"instances": [], "tree": client.wish.sees is None}), self._now())
            self._greeted.add(client)
        if self._now() - self._looked_at < self._pace.look / 4:
            return  # there is another turn soon
        self._looked_at = self._now()
        change = self._watch.changed()
        for client in listeners if change else ():
            if client.stream.pending >= self._pace.window:
                continue  # it has changes waiting, and will look at everything when it reads them
            seen = [name for name, id in change.instances.items() if client.wish.concerns(name, id)]
            tree = change.tree and client.wish.sees is None
            if seen or tree:
                client.send(message(CHANGE, {"instances": seen, "tree": tree}), self._now())

    def _look_after(self) -> None:
        """Keep quiet connections alive, and end those that nobody reads or that have lasted long enough."""
        now = self._now()
        for client in list(self.clients):
            if client.stalled_for(now) > self._pace.stall:
                client.stream.abort()
                self.remove(client)
            elif now - client.since > self._pace.life:
                client.stream.close()
                self.remove(client)
            elif now - client.sent_at > self._pace.keep_alive:
                self._keep_alive(client, now)

    def _keep_alive(self, client: Client, now: float) -> None:
        if client.is_welcome():
            client.send(KEEP_ALIVE, now)
        else:
            client.stream.close()
            self.remove(client)

"""waitress, hardened: limits that hold against slow, many and broken clients, and errors in the API's one form.

waitress reads requests and writes answers in one loop, and hands a request to a thread only when it is whole, so a
client that sends or reads slowly holds no thread. What it lacks is added here:

- a time limit for sending a request, where waitress's own timeout starts anew with each byte;
- at the connection limit the connection that has been quiet or unfinished longest makes room for the new one,
  where waitress would accept nobody;
- three lanes, so that reads of snapshots are answered while others wait for the database or for their instances
  (`api/lanes.py`);
- a limit on the time that a request may wait for a thread;
- an answer to a request that was not read to its end arrives, where waitress's close resets the connection.
"""

from __future__ import annotations

import errno
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waitress import server, task, utilities, wasyncore

from api.errors import RETRY_AFTER, error_body
from api.lanes import SHARE, Lane
from api.settings import MAX_BODY
from api.streaming import StreamingChannel, StreamingTask

# Its published types leave out most of what a subclass works with.
TcpWSGIServer: Any = server.TcpWSGIServer
ErrorTask: Any = task.ErrorTask
Error: Any = utilities.Error

log = logging.getLogger("zapvisor.api.server")

_ACCEPT_PAUSE = 1.0
"""Seconds without accepting when the process has no descriptor left."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take. Times are in seconds.

    Attributes:
        connections: open at once.
        request_time: from a request's first byte (or the connection's start) to its last.
        idle_time: between requests, and for taking an answer.
        queue_time: that a whole request may wait for a thread.
        discard_time: for which the rest of a refused request is read and thrown away, so that its answer arrives.
        header_bytes: of a request's line and headers.
        body_bytes: of a request's body.
        discard_bytes: of the rest of a refused request.
    """

    connections: int = 256
    request_time: float = 20.0
    idle_time: float = 60.0
    queue_time: float = 30.0
    discard_time: float = 10.0
    header_bytes: int = 32 * 1024
    body_bytes: int = MAX_BODY
    discard_bytes: int = 16 * 1024 * 1024


class Busy(Error):  # type: ignore[misc]
    """A request waited too long for a thread."""

    code = 503
    reason = "Service Unavailable"


class JsonErrorTask(ErrorTask):  # type: ignore[misc]
    """Answers what never reached the application, in the form of every other error."""

    def execute(self) -> None:
        """Send the error and close the connection."""
        error = self.request.error
        body = json.dumps(error_body(error.code, [error.body])).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.append(("Content-Type", "application/json"))
        self.response_headers.append(("X-Content-Type-Options", "nosniff"))
        self.response_headers.append(("Cache-Control", "no-store"))
        if error.code == Busy.code:
            self.response_headers.append(("Retry-After", str(RETRY_AFTER)))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class LaneTask(StreamingTask):
    """Serves a request; tells the application how much of its lane one holder may take."""

    def get_environment(self) -> dict[str, Any]:
        """The WSGI environment."""
        environ = super().get_environment()
        lane: Lane | None = self.channel.lane
        if lane is not None and lane.share is not None:
            environ[SHARE] = lane.share
        return environ


class Channel(StreamingChannel):
    """One connection.

    Attributes:
        since: when it was opened, began its present request or was last answered, on the monotonic clock.
        patience: seconds after `since` when it is closed, unless a request of it is being served then.
        queued_at: when its request was whole, on the monotonic clock.
        lane: where its request is served.
    """

    task_class = LaneTask
    error_task_class = JsonErrorTask
    queued_at = 0.0
    lane: Lane | None = None
    _is_refused = False
    _discard_until: float | None = None
    _discarded = 0

    def __init__(self, owner: Server, *args: Any, **kwargs: Any) -> None:
        self.limits = owner.limits
        self._wait(self.limits.request_time)
        super().__init__(owner, *args, **kwargs)

    @property
    def is_overdue(self) -> bool:
        """Whether it took too long to send a request, or to take an answer and send the next."""
        if self._discard_until is not None:
            return time.monotonic() > self._discard_until
        return self.is_waiting and time.monotonic() - self.since > self.patience

    @property
    def is_waiting(self) -> bool:
        """Whether it is the client's turn: nothing of it is being served, and no answer goes on."""
        return not self.requests and self.stream is None

    def _wait(self, patience: float) -> None:
        self.since = time.monotonic()
        self.patience = patience

    def received(self, data: bytes) -> bool:
        """Bytes came; the first of a request start its time limit."""
        if self._discard_until is not None:
            self._discarded += len(data)
            self.will_close = self._discarded > self.limits.discard_bytes
            return False
        if self.request is None and not self.requests:
            self._wait(self.limits.request_time)
        return bool(super().received(data))

    def service(self) -> None:
        """Serve one request, in a thread of a lane."""
        request = self.requests[0]
        self._is_refused = bool(request.error)
        if not request.error and time.monotonic() - self.queued_at > self.limits.queue_time:
            request.error = Busy("The host has too many requests waiting; try again")
        super().service()
        self._wait(self.limits.idle_time)

    def send_continue(self) -> None:
        """The client asks before it sends a body; one that is refused already gets no yes."""
        if self.request.error:
            self.request.expect_continue = False
        else:
            super().send_continue()

    def handle_write(self) -> None:
        """The socket takes bytes, or is to be closed.

        Whoever still sends what was refused would find the connection reset, and the answer lost: the answer is
        ended, and what is sent is thrown away for a while, until the client closes."""
        ends_here = self.close_when_flushed and not self.will_close
        lingers = self._is_refused and self._discard_until is None and not self.server.is_draining
        if not (ends_here and lingers):
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if self.connected and not self.will_close and not self.total_outbufs_len:
            self._discard()

    def _discard(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # it is gone
            self.handle_close()
            return
        self._discard_until = time.monotonic() + self.limits.discard_time
        self.close_when_flushed = False

    def del_channel(self, map: dict[int, Any] | None = None) -> None:
        """It is closed; the last one of a server that stops ends the loop."""
        super().del_channel(map)
        self.server.channel_closed()


class Server(TcpWSGIServer):  # type: ignore[misc]
    """The loop: it accepts, reads and writes; closes who takes too long; ends when it is told to and all is sent."""

    channel_class = Channel

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:
        self.limits = limits
        self._draining = False
        self._accept_again_at = 0.0
        self._waking = threading.Lock()
        self._ended = False
        super().__init__(*args, **kwargs)

    @property
    def map(self) -> dict[int, Any]:
        """What the loop watches, by descriptor; the loop ends when it is empty."""
        watched: dict[int, Any] = self._map
        return watched

    def readable(self) -> bool:
        """Whether to accept; asked before each turn of the loop, so time limits are enforced here."""
        for each in list(self.active_channels.values()):
            if each.is_overdue:
                each.will_close = True
        return bool(self.accepting) and time.monotonic() >= self._accept_again_at

    def handle_accept(self) -> None:
        """Take a new connection; at the limit the one that is quiet longest makes room."""
        try:
            accepted = self.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                log.warning("no descriptor left for a new connection")
                self._make_room()
                self._accept_again_at = time.monotonic() + _ACCEPT_PAUSE
            return
        if accepted is None:
            return
        connection, address = accepted
        if len(self.active_channels) >= self.limits.connections and not self._make_room():
            connection.close()
            return
        try:
            self.set_socket_options(connection)
            self.channel_class(self, connection, address, self.adj, map=self.map)
        except OSError:  # it is gone already; waitress would close the listening socket for that
            connection.close()

    def _make_room(self) -> bool:
        """Close the connection that has been quiet or unfinished longest; False if all are being served."""
        waiting = [each for each in list(self.active_channels.values()) if each.is_waiting]
        if not waiting:
            return False
        min(waiting, key=lambda each: each.since).handle_close()
        return True

    def call_in_loop(self, thunk: Callable[[], object]) -> None:
        """Run a function in the loop, soon; in vain once the loop has ended. From any thread."""
        with (
            self._waking
        ):  # the pipe that wakes the loop must not be closed, and its number reused, meanwhile
            if not self._ended:
                self.trigger.pull_trigger(thunk)

    def close_trigger(self) -> None:
        """The loop has ended: nothing can wake it any more."""
        with self._waking:
            self._ended = True
            self.trigger.close()

    def drain(self) -> None:
        """In the loop: send what is left to send, then end the loop."""
        self._draining = True
        for each in list(self.active_channels.values()):
            each.finish()
        self.channel_closed()

    @property
    def is_draining(self) -> bool:
        """Whether what is left to send is the last."""
        return self._draining

    def stop_accepting(self) -> None:
        """In the loop: close the listening socket."""
        wasyncore.dispatcher.close(self)

    def abandon(self) -> None:
        """In the loop: close every connection, whatever it still waits for."""
        for each in list(self.active_channels.values()):
            each.handle_close()

    def channel_closed(self) -> None:
        """In the loop: the last connection of a server that drains ends the loop."""
        if self._draining and not self.active_channels:
            self.map.clear()

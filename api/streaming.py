"""Answers that go on: when a request's head and first bytes are sent, its connection is handed over to a
`Stream`, and the thread that served it is free again.

A handler finds the hand-over in the WSGI environment under `STREAM`; other servers have no such thing. The
connection then belongs to the server's loop alone: whatever is sent from other threads is put there first, so
an answer that lasts for hours costs a socket and no thread.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from waitress import channel, task

# Its published types leave out most of what a subclass works with.
HTTPChannel: Any = channel.HTTPChannel
WSGITask: Any = task.WSGITask

STREAM = "zapvisor.stream"
"""Key of the WSGI environment: call it with a function that takes the `Stream` once it can be written to, and one that
is called instead when it never can."""

MAX_PENDING = 1024 * 1024
"""Bytes that a client may leave untaken before its connection is closed."""

_DEAD_AFTER = 60.0
"""Seconds without an acknowledgement after which the peer counts as gone."""

Opened = Callable[["Stream"], object]
Lost = Callable[[], object]
HandOver = Callable[[Opened, Lost], object]


class Stream:
    """A connection that an answer goes on over. Every method may be called from any thread, `send` from one."""

    def __init__(self, connection: StreamingChannel, *, chunked: bool) -> None:
        self._connection = connection
        self._chunked = chunked
        self._given = 0
        self._pushed = 0
        self._on_close: Callable[[], object] | None = None
        self._on_room: Callable[[], object] | None = None
        self.is_open = True

    @property
    def pending(self) -> int:
        """Bytes that were sent and that the client's side has not taken yet; may be a moment old."""
        return self._given - self.taken

    @property
    def taken(self) -> int:
        """Bytes that the client's side has taken; may be a moment old."""
        return self._pushed - int(self._connection.total_outbufs_len)

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have a function called when the connection is gone, in the server's loop; at once if it is."""
        self._on_close = callback
        if not self._connection.connected:
            self._connection.call_in_loop(self.gone)

    def on_room(self, callback: Callable[[], object]) -> None:
        """Have a function called once, in the server's loop, when the client's side has taken everything."""
        self._on_room = callback
        self._connection.call_in_loop(self.written)

    def send(self, data: bytes) -> None:
        """Queue bytes; without effect on a connection that is gone. Does not wait."""
        if not self.is_open or not data:
            return
        self._given += len(data)
        framed = b"%X\r\n%b\r\n" % (len(data), data) if self._chunked else data
        self._connection.call_in_loop(partial(self._push, framed, len(data)))

    def close(self) -> None:
        """End the answer and, once all is sent, the connection."""
        if self.is_open:
            self._connection.call_in_loop(self._connection.finish)

    def abort(self) -> None:
        """Close the connection now, whatever is still to be sent."""
        self._connection.call_in_loop(self._abort)

    def written(self) -> None:
        """In the loop: bytes were written to the socket."""
        if self._on_room is not None and self.pending <= 0:
            tell, self._on_room = self._on_room, None
            tell()

    def gone(self) -> None:
        """In the loop: the connection is closed. The owner hears of it once."""
        self.is_open = False
        tell, self._on_close = self._on_close, None
        if tell is not None:
            tell()

    def _push(self, framed: bytes, length: int) -> None:
        self._pushed += length
        connection = self._connection
        if not connection.connected:
            self.gone()
        elif connection.will_close or connection.close_when_flushed:
            return
        elif connection.total_outbufs_len > MAX_PENDING:
            connection.will_close = True
        else:
            connection.write_soon(framed)
            self.written()

    def _abort(self) -> None:
        self._connection.will_close = True

    def finish(self) -> None:
        """In the loop: say that the answer ends here."""
        if self._chunked:
            self._push(b"0\r\n\r\n", 0)


class StreamingTask(WSGITask):  # type: ignore[misc]
    """Serves a request; hands the connection over where the application asked for it."""

    _opened: Opened | None = None
    _lost: Lost | None = None

    def get_environment(self) -> dict[str, Any]:
        """The WSGI environment, with the hand-over."""
        environ: dict[str, Any] = super().get_environment()
        environ[STREAM] = self._hand_over
        return environ

    def _hand_over(self, opened: Opened, lost: Lost) -> None:
        self._opened, self._lost = opened, lost

    def service(self) -> None:
        """Serve the request; whoever waits for the connection hears when it is not to be had."""
        try:
            super().service()
        finally:
            if self._lost is not None:
                self._lost()

    def finish(self) -> None:
        """The application's own part is sent."""
        if self._opened is None or not self.wrote_header:
            super().finish()
            return
        self.close_on_finish = False
        self._opened(self.channel.begin_stream(chunked=self.chunked_response))
        self._lost = None


class StreamingChannel(HTTPChannel):  # type: ignore[misc]
    """A connection that may be handed over."""

    task_class = StreamingTask
    stream: Stream | None = None

    def begin_stream(self, *, chunked: bool) -> Stream:
        """Hand the connection over; what the client sends from now on is not read as a request."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_DEAD_AFTER * 1000))
        self.stream = Stream(self, chunked=chunked)
        return self.stream

    def received(self, data: bytes) -> bool:
        """Bytes came."""
        return False if self.stream is not None else bool(super().received(data))

    def handle_write(self) -> None:
        """The socket takes bytes."""
        super().handle_write()
        if self.stream is not None:
            self.stream.written()

    def finish(self) -> None:
        """In the loop: end what is being sent, and close."""
        if self.stream is not None:
            self.stream.finish()
        self.close_when_flushed = True

    def call_in_loop(self, thunk: Callable[[], object]) -> None:
        """Run a function in the server's loop, soon."""
        self.server.call_in_loop(thunk)

    def del_channel(self, map: dict[int, Any] | None = None) -> None:
        """It is closed."""
        super().del_channel(map)
        if self.stream is not None:
            self.stream.gone()

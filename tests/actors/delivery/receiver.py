"""A webhook receiver that answers as it is told and keeps what it got."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = int | tuple[int, Mapping[str, str]] | str
"""A status, a status with headers, `reset` (the connection is cut) or `hang` (no answer until the end)."""


@dataclass(frozen=True)
class Got:
    """A request that was received, answered or not."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    answer: Answer

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def event_id(self) -> str:
        return self.headers["x-zapvisor-event-id"]

    @property
    def delivered(self) -> bool:
        status = self.answer[0] if isinstance(self.answer, tuple) else self.answer
        return isinstance(status, int) and 200 <= status <= 299


@dataclass
class Receiver:
    """An HTTP server on a free local port.

    Attributes:
        script: decides the answer to each request; 200 when not set.
    """

    script: Callable[[Got], Answer] = lambda _: 200
    port: int = 0
    got: list[Got] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def delivered(self) -> list[Got]:
        """What it took, in the order of arrival."""
        return [one for one in self.got if one.delivered]

    def start(self) -> Receiver:
        """Begin to listen; on the same port when it was stopped before."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                receiver._serve(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Connections that end early are what these tests are about."""

            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self._over.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop listening; new connections are refused."""
        self._over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def wait(self, ready: Callable[[Receiver], bool], seconds: float = 20.0) -> None:
        """Wait until something is true of what was received.

        Raises:
            TimeoutError: it did not become true.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: ready(self), seconds):
                raise TimeoutError(f"after {seconds:g} s: {[(g.path, g.answer) for g in self.got[-20:]]}")

    def wait_for(self, count: int, seconds: float = 20.0) -> list[Got]:
        """Wait for so many deliveries that were taken."""
        self.wait(lambda me: len(me.delivered) >= count, seconds)
        return self.delivered

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Got(handler.path, headers, body, time.monotonic(), 0)
        with self._changed:
            answer = self.script(asked)
            self.got.append(Got(asked.path, asked.headers, asked.body, asked.at, answer))
            self._changed.notify_all()
        if answer == "hang":
            self._over.wait(60)
        if isinstance(answer, str):
            handler.close_connection = True
            if answer == "reset":
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            handler.connection.close()
            return
        status, extra = answer if isinstance(answer, tuple) else (answer, {})
        handler.send_response(status)
        for name, value in extra.items():
            handler.send_header(name, value)
        handler.send_header("content-length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

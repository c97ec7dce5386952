"""The application on a socket, in threads of its own, started and stopped by whoever owns it."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments

from api.lanes import Lanes
from api.wsgi import Limits, Server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("zapvisor.api.server")

_LOOP_TURN = 0.5
"""Seconds: how long the loop waits at most before it looks at the time limits of its connections."""


class ListenError(OSError):
    """The address cannot be listened on."""


class ApiServer:
    """Serves a WSGI application.

    The socket is bound when the server is made, so a wrong or taken address is known at once. Connections are
    accepted from `start` on.

    Args:
        app: the application.
        listen: host and port; port 0 takes a free one.
        threads: that serve requests, in all.
        limits: what one client may take.
        on_failure: called, in the server's thread, when the loop ends by itself with an error.

    Raises:
        ListenError: the address cannot be listened on.
    """

    def __init__(
        self,
        app: WSGIApplication,
        listen: tuple[str, int],
        threads: int,
        *,
        limits: Limits | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._on_failure = on_failure
        self._socket = _bind(*listen)
        self._address: tuple[str, int] = self._socket.getsockname()[:2]
        self._app = app
        self._threads = threads
        self._lanes: Lanes | None = None
        self._server: Server | None = None
        self._loop: threading.Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that it listens on."""
        return self._address

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._address[1]

    def start(self) -> None:
        """Accept connections.

        Raises:
            RuntimeError: it was started before.
        """
        if self._server is not None:
            raise RuntimeError("an ApiServer is started once")
        self._lanes = Lanes(self._threads)
        self._server = self._make_server(self._lanes)
        self._loop = threading.Thread(target=self._run, args=(self._server,), name="api/loop", daemon=True)
        self._loop.start()

    def replace(self, app: WSGIApplication) -> None:
        """Serve what is asked from now on with another application; what is being served ends with its own."""
        self._app = app
        if self._server is not None:
            self._server.application = app

    def stop(self, timeout: float = 5.0) -> int:
        """Stop accepting, let what is being served finish, send the answers, close. May be called twice.

        Args:
            timeout: seconds in all.

        Returns:
            How many serving threads were still busy; they end with their request.
        """
        server, lanes, loop = self._server, self._lanes, self._loop
        if server is None or lanes is None or loop is None:
            self._socket.close()
            return 0
        ends = time.monotonic() + timeout
        if not loop.is_alive():
            server.stop_accepting()
            server.abandon()
            return lanes.shutdown(timeout=0)
        server.trigger.pull_trigger(server.stop_accepting)
        busy = lanes.shutdown(timeout=max(0.0, timeout * 0.8))
        server.trigger.pull_trigger(server.drain)
        loop.join(max(0.1, ends - time.monotonic()))
        if loop.is_alive():
            server.trigger.pull_trigger(server.abandon)
            loop.join(_LOOP_TURN * 4)
        if busy:
            log.warning("stopped with %d requests unanswered", busy)
        else:
            # A thread that still serves will wake the loop once more; the pipe for that must outlive it.
            server.close_trigger()
        return busy

    def _make_server(self, lanes: Lanes) -> Server:
        family, kind, proto = self._socket.family, self._socket.type, self._socket.proto
        adjustments = Adjustments(
            sockets=[self._socket],
            ident="",
            connection_limit=self._limits.connections * 2,
            channel_timeout=24 * 3600,
            # The application says itself whom it believes (`api/attempts.py`) and what a proxy may say of its client.
            clear_untrusted_proxy_headers=False,
            max_request_header_size=self._limits.header_bytes,
            max_request_body_size=self._limits.body_bytes,
            outbuf_high_watermark=4 * 1024 * 1024,
            asyncore_loop_timeout=_LOOP_TURN,
            asyncore_use_poll=True,
            log_socket_errors=False,
        )
        map_: dict[int, Any] = {}
        return Server(
            self._app,
            map_,
            True,
            self._socket,
            dispatcher=lanes,
            adj=adjustments,
            sockinfo=(family, kind, proto, self._address),
            bind_socket=False,
            limits=self._limits,
        )

    def _run(self, server: Server) -> None:
        try:
            wasyncore.loop(timeout=_LOOP_TURN, use_poll=True, map=server.map)
        except BaseException as error:
            log.exception("the server's loop failed")
            if self._on_failure is not None:
                self._on_failure(error)


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket; of a name's addresses an IPv4 one, since "localhost" is expected to be 127.0.0.1."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(error.errno, f"cannot listen on {host}: {error.strerror}") from None
    family, kind, proto, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listening = socket.socket(family, kind, proto)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        listening.bind(address)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ListenError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listening

"""HTTP to a Chatwoot server: within a deadline, abortable, to addresses that are allowed, answers of bounded size.

The connections are the deliveries' own (`actors.delivery.address`), so what holds for webhooks holds here.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

import httpcore
import httpx

from actors.delivery.address import Line, RefusedAddress
from actors.delivery.transport import ERRORS

ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of an answer: a list of some thousand inboxes."""


class ChatwootError(Exception):
    """Chatwoot did not do what it was asked.

    Attributes:
        retry_after: seconds that it asked to be left alone for.
    """

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Unanswered(ChatwootError):
    """There was no whole answer: whether it was done is not known."""


class Refused(ChatwootError):
    """Chatwoot answered that it does not do it.

    Attributes:
        status: of the answer.
    """

    def __init__(self, status: int, text: str, retry_after: float | None = None) -> None:
        super().__init__(text, retry_after)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, read to its end."""

    status: int
    headers: httpx.Headers
    body: bytes = field(repr=False)


class Wire:
    """Sends requests, one at a time. Belongs to one thread; `abort` may be called from any.

    Args:
        tls: gives the TLS settings.
        line: opens the connections.
    """

    def __init__(self, tls: Callable[[], ssl.SSLContext], line: Line | None = None) -> None:
        self._tls = tls
        self._line = line or Line()
        self._pool: httpcore.ConnectionPool | None = None

    def exchange(self, request: httpx.Request, seconds: float, *, allow_private: bool) -> Answer:
        """Send a request and read its answer, all within some seconds.

        Raises:
            Unanswered: there was no whole answer.
            ChatwootError: it cannot be sent.
        """
        self._line.start(seconds, allow_private=allow_private)
        try:
            return self._exchange(request)
        except (RefusedAddress, httpcore.UnsupportedProtocol, httpcore.LocalProtocolError) as error:
            raise ChatwootError(f"cannot be sent: {_said(error)}") from None
        except (*ERRORS, ValueError) as error:
            raise Unanswered(f"no answer: {_said(error)}") from None

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def abort(self) -> None:
        """End the request that is going on, and refuse all later ones."""
        self._line.abort()

    def _exchange(self, request: httpx.Request) -> Answer:
        if self._pool is None:
            self._pool = httpcore.ConnectionPool(
                ssl_context=self._tls(), max_connections=1, network_backend=self._line
            )
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        response = self._pool.handle_request(
            httpcore.Request(request.method, target, headers=request.headers.raw, content=request.read())
        )
        try:
            body = b""
            for chunk in cast("Iterable[bytes]", response.stream):
                body += chunk
                if len(body) > ANSWER_LIMIT:
                    raise ValueError(f"it has more than {ANSWER_LIMIT} bytes")
        finally:
            response.close()
        return Answer(response.status, httpx.Headers(response.headers), body)


def _said(error: Exception) -> str:
    """What an error says, without what a protocol error quotes of a header."""
    if isinstance(error, httpcore.LocalProtocolError):
        return "a header or the address has a character that HTTP does not allow"
    return str(error) or type(error).__name__

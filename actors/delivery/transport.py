"""HTTP for webhooks: no redirects, no cookies, no proxies from the environment, answers of bounded size.

It stands on httpcore, the engine of httpx, rather than on httpx's client: only there can connections be pinned to
checked addresses, and a request costs a quarter of the processor time.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

import httpcore

from actors.delivery.address import Line

logging.getLogger("httpcore").setLevel(logging.WARNING)
"""httpcore logs every step at level DEBUG, with hosts and headers."""

ANSWER_LIMIT = 64 * 1024
"""Bytes of an answer that are read; a longer one costs the connection."""

KEEPALIVE = 15.0
"""Seconds that an idle connection is kept."""

ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)
"""What a request without a whole answer ends with."""

_STALE = (httpcore.RemoteProtocolError, httpcore.ReadError, httpcore.WriteError)
"""What a kept connection ends with when the server has closed it meanwhile."""


@dataclass(frozen=True, slots=True)
class Post:
    """A POST request.

    Attributes:
        host: what the Host header says.
    """

    url: httpcore.URL = field(repr=False)
    host: bytes
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and, with names in lower case, the headers of an answer."""

    status: int
    headers: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)


class Transport:
    """One request at a time over the connections of a `Line`. Not thread-safe, except for `Line.abort`.

    Args:
        line: opens the connections.
        context: TLS settings, shared between transports since they are costly to make.
    """

    def __init__(self, line: Line, context: ssl.SSLContext) -> None:
        self._line = line
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=1,
            max_keepalive_connections=1,
            keepalive_expiry=KEEPALIVE,
            network_backend=line,
        )

    def send(self, post: Post) -> Answer:
        """Send a request and read its answer, up to `ANSWER_LIMIT`.

        A connection that is kept from before is used only if it could be opened now.

        Raises:
            ERRORS: there was no whole answer.
            RefusedAddress: the address is one that may not be reached.
        """
        if not self._line.may_be_kept:
            self._pool.close()
        before = self._line.connects
        try:
            return self._exchange(post)
        except _STALE:
            if self._line.connects != before:
                raise
            return self._exchange(post)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _exchange(self, post: Post) -> Answer:
        headers = [
            (b"host", post.host),
            (b"content-length", b"%d" % len(post.body)),
            *((name.encode("ascii"), value.encode("ascii")) for name, value in post.headers.items()),
        ]
        response = self._pool.handle_request(
            httpcore.Request(b"POST", post.url, headers=headers, content=post.body)
        )
        try:
            read = 0
            for chunk in cast("Iterable[bytes]", response.stream):
                read += len(chunk)
                if read > ANSWER_LIMIT:
                    break
        finally:
            response.close()
        return Answer(response.status, {name.lower(): value for name, value in response.headers})

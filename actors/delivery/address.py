"""Which addresses a webhook may reach, and connections to exactly the addresses that were checked.

A name is resolved once for each connection, every address is checked, and the connection goes to a checked
address, not to the name: so a name that answers differently the second time gains nothing. TLS still verifies
the name.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Endpoint = tuple[socket.AddressFamily, tuple[Any, ...]]
Resolver = Callable[[str, int], list[Endpoint]]

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that has been given out for use on the public internet."""

FRESH = 1.0
"""Seconds for which a connection is taken to be open without looking."""


class RefusedAddress(Exception):
    """The URL leads to an address that webhooks may not reach."""


class LookupFailed(httpcore.ConnectError):
    """The name could not be resolved."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet.

    An IPv6 address that carries an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64) is as public as that
    one; any other is public only within the block that is given out.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT64_LOCAL:
            return False
        inner = _embedded(address)
        if inner is not None:
            return is_public(inner)
        if address not in GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast


def resolve(host: str, port: int) -> list[Endpoint]:
    """Every TCP endpoint of a host name or address literal, without duplicates, in the resolver's order.

    Raises:
        OSError: the name cannot be resolved.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, tuple(place)) for family, _, _, _, place in found))


class Line(httpcore.NetworkBackend):
    """The connections of one sender: with a deadline over everything, and abortable from another thread.

    Args:
        resolver: tests give their own.

    Attributes:
        allow_private: whether addresses that are not public may be reached.
        connects: how many connections were opened so far.
        public: whether the last one went to a public address.
    """

    def __init__(self, resolver: Resolver = resolve) -> None:
        self.allow_private = True
        self.connects = 0
        self.public = True
        self._resolver = resolver
        self._deadline = 0.0
        self._aborted = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._lookup: _Lookup | None = None

    def start(self, seconds: float, *, allow_private: bool) -> None:
        """Begin a request: everything until the next `start` must happen within this time."""
        self._deadline = time.monotonic() + seconds
        self.allow_private = allow_private

    @property
    def may_be_kept(self) -> bool:
        """Whether the last connection goes where this request may go: senders serve several instances."""
        return self.allow_private or self.public

    def abort(self) -> None:
        """End what is going on and refuse what comes. Callable from any thread."""
        self._aborted.set()
        with self._lock:
            if self._lookup is not None:
                self._lookup.done.set()
            if self._socket is not None:
                _shut(self._socket)

    def left(self, timeout_error: type[Exception]) -> float:
        """Seconds until the deadline.

        Raises:
            timeout_error: there are none.
        """
        left = self._deadline - time.monotonic()
        if left <= 0 or self._aborted.is_set():
            raise timeout_error("deadline passed")
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        del timeout, local_address, socket_options
        endpoints = self._checked(host, port)
        error: OSError | None = None
        for number, endpoint in enumerate(endpoints):
            try:
                return self._connect(endpoint, len(endpoints) - number)
            except OSError as failure:
                error = failure
        if isinstance(error, TimeoutError):
            raise httpcore.ConnectTimeout("no answer to the connection attempt")
        raise httpcore.ConnectError(_reason(error))

    def _checked(self, host: str, port: int) -> list[Endpoint]:
        endpoints = self._resolve(host, port)
        if self.allow_private:
            return endpoints
        public = [endpoint for endpoint in endpoints if is_public(_address(endpoint))]
        if not public:
            raise RefusedAddress("the URL leads to a private, link-local or otherwise not public address")
        return public

    def _resolve(self, host: str, port: int) -> list[Endpoint]:
        """Resolve within the deadline: the system's resolver knows none, so it runs on a thread of its own."""
        with self._lock:
            if self._lookup is not None and not self._lookup.finished:
                raise LookupFailed("an earlier name resolution still hangs")
            lookup = self._lookup = _Lookup(self._resolver, host, port)
        lookup.start()
        lookup.done.wait(self.left(httpcore.ConnectTimeout))
        if not lookup.finished:
            self.left(httpcore.ConnectTimeout)
            raise httpcore.ConnectTimeout("name resolution did not end in time")
        if lookup.error is not None:
            raise LookupFailed(f"name resolution failed: {_reason(lookup.error)}")
        return lookup.endpoints

    def _connect(self, endpoint: Endpoint, ways_left: int) -> httpcore.NetworkStream:
        family, place = endpoint
        link = socket.socket(family, socket.SOCK_STREAM)
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Every address gets its share of the time, so that one that is silent does not use it all up.
            link.settimeout(self.left(httpcore.ConnectTimeout) / ways_left)
            self._hold(link)
            link.connect(place)
        except BaseException:
            link.close()
            raise
        self.connects += 1
        self.public = is_public(_address(endpoint))
        return _Stream(link, self)

    def _hold(self, link: socket.socket) -> None:
        with self._lock:
            self._socket = link
            if self._aborted.is_set():
                raise httpcore.ConnectTimeout("aborted")


class _Lookup(threading.Thread):
    """One name resolution."""

    def __init__(self, resolver: Resolver, host: str, port: int) -> None:
        super().__init__(name=f"resolve {host}", daemon=True)
        self._ask = resolver, host, port
        self.done = threading.Event()
        self.finished = False
        self.endpoints: list[Endpoint] = []
        self.error: OSError | UnicodeError | None = None

    def run(self) -> None:
        resolver, host, port = self._ask
        try:
            self.endpoints = resolver(host, port)
        except (OSError, UnicodeError) as error:
            self.error = error
        self.finished = True
        self.done.set()


class _Stream(httpcore.NetworkStream):
    """A connection whose every step keeps the line's deadline."""

    def __init__(self, link: socket.socket, line: Line) -> None:
        self._link = link
        self._line = line
        self._unsent: list[bytes] = []
        self._used_at = time.monotonic()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        self._flush()
        self._used_at = time.monotonic()
        try:
            self._link.settimeout(self._line.left(httpcore.ReadTimeout))
            return self._link.recv(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout("no answer in time") from None
        except OSError as error:
            raise httpcore.ReadError(_reason(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Kept until the next read: a request of several parts is one packet, and one hand-over of the GIL."""
        del timeout
        if buffer:
            self._unsent.append(buffer)

    def _flush(self) -> None:
        if not self._unsent:
            return
        unsent, self._unsent = b"".join(self._unsent), []
        try:
            self._link.settimeout(self._line.left(httpcore.WriteTimeout))
            self._link.sendall(unsent)
        except TimeoutError:
            raise httpcore.WriteTimeout("the request was not taken in time") from None
        except OSError as error:
            raise httpcore.WriteError(_reason(error)) from error

    def close(self) -> None:
        self._link.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        del timeout
        try:
            self._link.settimeout(self._line.left(httpcore.ConnectTimeout))
            secured = ssl_context.wrap_socket(self._link, server_hostname=server_hostname)
        except TimeoutError:
            self.close()
            raise httpcore.ConnectTimeout("no answer to the TLS handshake") from None
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(f"TLS: {_reason(error)}") from error
        self._line._hold(secured)
        return _Stream(secured, self._line)

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object" and isinstance(self._link, ssl.SSLSocket):
            return self._link
        if info == "is_readable":
            # Whether the server has ended a kept connection. Just after an answer it has not.
            if time.monotonic() - self._used_at < FRESH:
                return False
            return self._link.fileno() < 0 or bool(select.select([self._link], [], [], 0)[0])
        return None


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _address(endpoint: Endpoint) -> Address:
    return ipaddress.ip_address(str(endpoint[1][0]).partition("%")[0])


def _shut(link: socket.socket) -> None:
    try:
        link.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # It was not connected, or is closed already: nobody waits on it.


def _reason(error: BaseException | None) -> str:
    """What the system says, without addresses or names of the target."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return str(error.reason or "handshake failed").lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "failed" if error is None else type(error).__name__

"""Wrong keys, counted by address.

An address that sent too many gets no further key checked for a while. Clients behind one address translation,
or behind a proxy that does not name them, share an address, and one of them guessing must not lock out the
others: a key that was right from this address before is still let through."""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_ADDRESSES = 4096
MIN_KNOWN_KEYS = 64
"""Keys remembered as right for one address, however few there are."""
_IPV6_PREFIX = 64
"""One subscriber has a whole /64 at will, so it counts as one address (RFC 6177)."""


@dataclass(slots=True)
class _Record:
    failures: deque[float]
    known: OrderedDict[bytes, None] = field(default_factory=OrderedDict)


class FailedAttempts:
    """A bounded table of addresses; the least recently seen is forgotten first.

    The threads of the server share it, and no actor stands between them and a request's key: hence a lock,
    held for a few dictionary operations.

    Args:
        monotonic: the clock, in seconds.
        limit: wrong keys within the window before an address must wait.
        window: seconds.
        keys: how many keys there are: so many are remembered as right for one address, and at least
            `MIN_KNOWN_KEYS`. Asked when a key is right from an address for the first time.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        limit: int,
        window: float,
        keys: Callable[[], int] = lambda: MIN_KNOWN_KEYS,
    ) -> None:
        self._monotonic = monotonic
        self._limit = limit
        self._window = window
        self._keys = keys
        self._lock = threading.Lock()
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def must_wait(self, address: str, key: bytes) -> int:
        """Whole seconds until this address may try this key; 0 for now.

        Args:
            address: the peer's IP address.
            key: the digest of the key that it sent.
        """
        with self._lock:
            record = self._records.get(_group(address))
            if record is None or key in record.known:
                return 0
            now = self._monotonic()
            self._forget_old(record, now)
            if len(record.failures) < self._limit:
                return 0
            return max(1, math.ceil(record.failures[0] + self._window - now))

    def failed(self, address: str) -> None:
        """A key from this address was wrong."""
        with self._lock:
            self._record(address).failures.append(self._monotonic())

    def succeeded(self, address: str, key: bytes) -> None:
        """A key from this address was right."""
        with self._lock:
            known = self._record(address).known
            is_new = key not in known
            known[key] = None
            known.move_to_end(key)
            if is_new and len(known) > MIN_KNOWN_KEYS:
                most = max(MIN_KNOWN_KEYS, self._keys())
                while len(known) > most:
                    known.popitem(last=False)

    def _record(self, address: str) -> _Record:
        group = _group(address)
        record = self._records.get(group)
        if record is None:
            record = self._records[group] = _Record(deque(maxlen=self._limit))
        self._records.move_to_end(group)
        while len(self._records) > MAX_ADDRESSES:
            self._records.popitem(last=False)
        return record

    def _forget_old(self, record: _Record, now: float) -> None:
        while record.failures and record.failures[0] <= now - self._window:
            record.failures.popleft()


def client_address(peer: str, forwarded_for: str, server_url: str) -> str:
    """Whose wrong keys a request counts with.

    With a proxy that speaks TLS on the same machine every connection comes from loopback; the proxy adds the
    address that it was asked from to the end of `X-Forwarded-For`. What stands before that is the client's own say,
    and so is the whole header where there is no such proxy.

    Args:
        peer: the connection's address.
        forwarded_for: the header; empty when there is none.
        server_url: where others reach the API; `https` when there is a proxy.
    """
    if not forwarded_for or not server_url.lower().startswith("https://"):
        return peer
    last = forwarded_for.rpartition(",")[2].strip()
    try:
        ipaddress.ip_address(last)
        return last if ipaddress.ip_address(peer).is_loopback else peer
    except ValueError:
        return peer


def _group(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6:
        if ip.ipv4_mapped is not None:  # a socket for both sorts of address shows IPv4 ones so
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, _IPV6_PREFIX), strict=False))
    return address

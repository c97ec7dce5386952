"""Sessions of people at the dashboard: a signed cookie in place of a key.

The cookie holds no key and no digest of one. It is bound to a key by an HMAC, so it opens what that key opens
for as long as that key is right, and nothing has to be kept for it: it outlives a restart of the API. Another
host key ends every session.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from flask import Request
from werkzeug.wrappers import Response

from api.gateway import Clock

LIFETIME = 12 * 3600.0
"""Seconds that a session lasts."""

MARK = "X-Zapvisor-Dashboard"
"""Header without which a cookie opens nothing but pages and streams to read. A page of another origin, even of
another port of this machine, cannot send it: the browser asks first (CORS), and is never told yes."""

_MAX_REVOKED = 4096
_BINDING = 16
_NONCE = 16
_MAC = 32


@dataclass(frozen=True, slots=True)
class Session:
    """A valid cookie.

    Attributes:
        nonce: what tells it from others.
        expires: seconds since the epoch.
    """

    nonce: bytes
    expires: int
    _binding: bytes
    _secret: bytes

    def matches(self, key_digest: bytes) -> bool:
        """Whether it was given for this key."""
        return hmac.compare_digest(self._binding, _bind(self._secret, key_digest))


class Sessions:
    """Gives, reads and ends sessions.

    Ended ones are remembered until they would have expired, at most some thousands and until the host restarts;
    threads of the server share that table, hence a lock.

    Args:
        secret: what cookies are signed with; random, so that no key can be guessed from a cookie.
        host_key: the digest of the host's key.
        clock: for expiry.
    """

    def __init__(self, secret: str, host_key: bytes, clock: Clock) -> None:
        self._secret = hmac.new(secret.encode(), host_key, hashlib.sha256).digest()
        self._clock = clock
        self._lock = threading.Lock()
        self._revoked: OrderedDict[bytes, int] = OrderedDict()
        # Browsers share cookies between the ports of a host: the name tells zapvisors on one machine apart.
        self.cookie = "zapvisor_" + hmac.new(self._secret, b"name", hashlib.sha256).hexdigest()[:8]

    def give(self, key_digest: bytes, request: Request, response: Response) -> None:
        """Start a session for a key that was right.

        Args:
            key_digest: what is kept of the key.
            request: tells whether the browser came by HTTPS.
            response: gets the cookie.
        """
        expires = int(self._clock.wall() + LIFETIME)
        body = expires.to_bytes(8, "big") + secrets.token_bytes(_NONCE) + _bind(self._secret, key_digest)
        value = base64.urlsafe_b64encode(body + self._mac(body)).decode("ascii")
        response.set_cookie(
            self.cookie,
            value,
            max_age=int(LIFETIME),
            secure=came_by_https(request),
            httponly=True,
            samesite="Strict",
        )

    def of(self, request: Request) -> Session | None:
        """The session of a request, if it has a valid one."""
        session = self._read(request.cookies.get(self.cookie, ""))
        return session if session is not None and self.is_live(session) else None

    def is_live(self, session: Session) -> bool:
        """Whether it has neither expired nor been ended."""
        with self._lock:
            return self._clock.wall() < session.expires and session.nonce not in self._revoked

    def end(self, request: Request, response: Response) -> None:
        """End the session of a request and take its cookie away."""
        session = self._read(request.cookies.get(self.cookie, ""))
        if session is not None:
            self._revoke(session)
        response.delete_cookie(self.cookie, secure=came_by_https(request), httponly=True, samesite="Strict")

    def _revoke(self, session: Session) -> None:
        now = self._clock.wall()
        with self._lock:
            for nonce in [nonce for nonce, expires in self._revoked.items() if expires <= now]:
                del self._revoked[nonce]
            self._revoked[session.nonce] = session.expires
            while len(self._revoked) > _MAX_REVOKED:
                self._revoked.popitem(last=False)

    def _read(self, value: str) -> Session | None:
        try:
            raw = base64.b64decode(value, altchars=b"-_", validate=True)
        except ValueError:
            return None
        body, mac = raw[:-_MAC], raw[-_MAC:]
        if len(body) != 8 + _NONCE + _BINDING or not hmac.compare_digest(mac, self._mac(body)):
            return None
        nonce, binding = body[8 : 8 + _NONCE], body[8 + _NONCE :]
        return Session(nonce, int.from_bytes(body[:8], "big"), binding, self._secret)

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._secret, b"cookie" + body, hashlib.sha256).digest()


def came_by_https(request: Request) -> bool:
    """Whether the browser spoke HTTPS, to this server or to the proxy before it, which says so."""
    return request.is_secure or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"


def _bind(secret: bytes, key_digest: bytes) -> bytes:
    return hmac.new(secret, b"key" + key_digest, hashlib.sha256).digest()[:_BINDING]

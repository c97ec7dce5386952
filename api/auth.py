"""Who may do what.

A request carries a key in the header `apikey` or as `Authorization: Bearer`. The host's key opens every
route; an instance's own token opens the routes of that instance and, in routes that list, shows that
instance alone (the rule of Evolution API's `src/api/guards/auth.guard.ts`). Keys are compared as SHA-256
digests in constant time. In a browser the cookie of a session stands for the key that it was given for; since a
browser sends it by itself, also for other pages, it needs a header that those cannot send, except to read.

Each route is registered with an `Access`; `Guard.seal` refuses an application in which one has none, and a
request to such a route is denied."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from flask import Flask, Request, g, request

from api.attempts import FailedAttempts, client_address
from api.errors import ApiError
from api.gateway import Clock, Gateway
from api.sessions import MARK, Session, Sessions
from api.settings import ApiSettings


class Access(Enum):
    """Who may use a route."""

    PUBLIC = "anybody"
    HOST = "the host's key"
    INSTANCE = "the host's key, or the token of the instance in the path"
    SCOPED = "the host's key, or any instance's token, which then sees its own instance alone"
    PAGE = "the host's key, in a header or as the password of HTTP Basic, which a browser asks for"
    DASHBOARD = "whoever signed in with the host's key, or with a token, who then sees its instance alone"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sent a request.

    Attributes:
        instances: the names that it may see; None when it holds the host's key.
        session: of a person at the dashboard; None when the request carried a key.
    """

    instances: frozenset[str] | None
    session: Session | None = None

    def may_see(self, name: str) -> bool:
        """Whether an instance is in its sight."""
        return self.instances is None or name in self.instances


HOST = Principal(None)

Matches = Callable[[bytes], bool]
"""Whether what a request carries belongs to the key of this digest; takes the same time for every key."""


def digest(key: str) -> bytes:
    """What is kept and compared in place of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def principal() -> Principal:
    """Who sent the present request; only in a route that asked for a key."""
    found: Principal = g.principal
    return found


class SignInRequired(ApiError):
    """Somebody came to the dashboard without a session."""

    def __init__(self) -> None:
        super().__init__(401, "Sign in first", headers={"WWW-Authenticate": 'Bearer realm="zapvisor"'})


class Guard:
    """Lets a request through, or answers 401 or 429, by its route's access.

    Attributes:
        sessions: of people at the dashboard; None while there is no dashboard, and then no cookie counts.
    """

    def __init__(self, gateway: Gateway, settings: ApiSettings, clock: Clock) -> None:
        self._gateway = gateway
        self._host_key = digest(settings.api_key)
        self._server_url = settings.server_url
        self._attempts = FailedAttempts(
            clock.monotonic,
            settings.failed_attempts,
            settings.failed_window,
            keys=lambda: len(gateway.views()) + 1,
        )
        self._access: dict[str, Access] = {}
        self._readable_by_cookie: set[str] = set()
        self.sessions = (
            Sessions(settings.session_secret, self._host_key, clock) if settings.dashboard else None
        )

    def allow(self, endpoint: str, access: Access, *, cookie: bool = False) -> None:
        """Give a route its rule.

        Args:
            endpoint: the route.
            access: who may use it.
            cookie: whether a session's cookie alone, which a browser sends by itself, is enough: only for what
                is read and changes nothing.

        Raises:
            ValueError: it has another one.
        """
        if self._access.setdefault(endpoint, access) is not access:
            raise ValueError(f"route {endpoint} has two access rules")
        if cookie or access in (Access.PAGE, Access.DASHBOARD):
            self._readable_by_cookie.add(endpoint)

    def access_of(self, endpoint: str) -> Access | None:
        """A route's rule."""
        return self._access.get(endpoint)

    def seal(self, app: Flask) -> None:
        """Check every request from now on.

        Raises:
            RuntimeError: a route has no rule.
        """
        missing = sorted({rule.endpoint for rule in app.url_map.iter_rules()} - self._access.keys())
        if missing:
            raise RuntimeError(f"routes without an access rule: {', '.join(missing)}")
        app.before_request(self._check)

    def _check(self) -> None:
        if (
            request.endpoint is None
        ):  # an unknown path or method: the error says so, and there is nothing behind it
            return
        access = self._access.get(request.endpoint)
        if access is Access.PUBLIC:
            return
        g.principal = self._authenticate(access)

    def sign_in(self, key: str) -> bytes | None:
        """The digest of a key that somebody typed; None when it opens nothing.

        Raises:
            ApiError: 429, too many wrong keys came from this address.
        """
        presented = digest(key)
        found = self._check_key(Access.SCOPED, presented)
        return None if found is None else presented

    def is_host_key(self, key: str) -> bool:
        """Whether a text is the host's key."""
        return hmac.compare_digest(digest(key), self._host_key)

    def address(self, request: Request) -> str:
        """Where a request comes from, as far as it can be known."""
        forwarded_for = request.headers.get("X-Forwarded-For", "")
        return client_address(request.remote_addr or "", forwarded_for, self._server_url)

    def _authenticate(self, access: Access | None) -> Principal:
        presented = _presented_key(request, basic=access is Access.PAGE)
        if presented is None:
            found = self._at_dashboard(access)
            if found is not None:
                return found
            if access is Access.DASHBOARD:
                raise SignInRequired
            raise ApiError(
                401, "A key is required: header apikey, or Authorization: Bearer", headers=_challenge(access)
            )
        found = self._check_key(access, presented)
        if found is None:
            raise ApiError(401, "The key is wrong for this route", headers=_challenge(access))
        return found

    def _check_key(self, access: Access | None, presented: bytes) -> Principal | None:
        """Who holds a key; None when it is wrong, which is counted."""
        address = self.address(request)
        wait = self._attempts.must_wait(address, presented)
        if wait:
            raise ApiError(429, "Too many wrong keys from this address", headers={"Retry-After": str(wait)})
        found = self._principal_for(access, partial(hmac.compare_digest, presented))
        if found is None:
            self._attempts.failed(address)
            return None
        self._attempts.succeeded(address, presented)
        return found

    def _at_dashboard(self, access: Access | None) -> Principal | None:
        """Who a session's cookie stands for, where a cookie counts."""
        session = self.sessions.of(request) if self.sessions else None
        marked = MARK in request.headers
        reads = request.endpoint in self._readable_by_cookie and request.method in ("GET", "HEAD")
        if session is None or not (marked or reads):
            return None
        found = self._principal_for(access, session.matches)
        return None if found is None else replace(found, session=session)

    def _principal_for(self, access: Access | None, matches: Matches) -> Principal | None:
        if matches(self._host_key):
            return HOST
        find: Callable[[Matches], Principal | None] = {
            Access.INSTANCE: self._owner_of_path,
            Access.SCOPED: self._owners,
            Access.DASHBOARD: self._owners,
        }.get(access or Access.HOST, lambda _: None)
        return find(matches)

    def _owner_of_path(self, matches: Matches) -> Principal | None:
        name = str((request.view_args or {}).get("instanceName", ""))
        view = self._gateway.view(name)
        # Without such an instance something is compared all the same, so that the time tells nothing.
        matched = matches(digest(view.token if view else name))
        return Principal(frozenset({name})) if view and view.token and matched else None

    def _owners(self, matches: Matches) -> Principal | None:
        names = frozenset(
            view.name for view in self._gateway.views() if view.token and matches(digest(view.token))
        )
        return Principal(names) if names else None


def _presented_key(request: Request, *, basic: bool) -> bytes | None:
    """The digest of the key that a request carries; `apikey` wins over `Authorization`."""
    header = request.headers.get("apikey")
    if header:
        return digest(_as_sent(header))
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return digest(_as_sent(value))
    if basic and scheme.lower() == "basic":
        try:
            _, _, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None
        return digest(password) if password else None
    return None


def _as_sent(header: str) -> str:
    """WSGI hands headers over as Latin-1; a key with other characters arrives as UTF-8 bytes (PEP 3333)."""
    return header.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _challenge(access: Access | None) -> dict[str, str]:
    scheme = "Basic" if access is Access.PAGE else "Bearer"
    return {"WWW-Authenticate": f'{scheme} realm="zapvisor"'}

"""What every request brings with it: its id, a log line, and headers that make browsers careful."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable

import structlog
from flask import Flask, Response, g, request

from api.auth import Access, Guard
from api.gateway import Clock

_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_READ_ONLY = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_JSON_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
"""Pages load nothing from elsewhere; Swagger UI's page has its start-up script inside it."""

log = structlog.get_logger("zapvisor.api")


def install(
    app: Flask, guard: Guard, clock: Clock, answered: Callable[[float], object] | None = None
) -> None:
    """Give each request its id, log it when it is answered, and send the security headers.

    The id is the client's own `X-Request-Id` where that is harmless to log, else a new one; it goes back in
    the same header and stands in every log line of the request.

    Args:
        answered: told how many seconds each request took.
    """

    @app.before_request
    def _() -> None:
        sent = request.headers.get("X-Request-Id", "")
        g.request_id = sent if _SAFE_ID.fullmatch(sent) else secrets.token_hex(8)
        g.started = clock.monotonic()
        structlog.contextvars.bind_contextvars(request_id=g.request_id)

    @app.after_request
    def _(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.get("request_id", "-")
        access = guard.access_of(request.endpoint) if request.endpoint else None
        policy = _PAGE_POLICY if access is Access.PAGE else _JSON_POLICY
        for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items():
            response.headers.setdefault(name, value)
        seconds = clock.monotonic() - g.get("started", clock.monotonic())
        _log(response.status_code, seconds, guard)
        if answered is not None:
            answered(seconds)
        return response

    @app.teardown_request
    def _(_error: BaseException | None) -> None:
        structlog.contextvars.unbind_contextvars("request_id")


def _log(status: int, seconds: float, guard: Guard) -> None:
    """Reads that succeed are many and tell little; what changes something or fails is told."""
    quiet = status < 400 and request.method in _READ_ONLY
    write = log.debug if quiet else log.info
    write(
        "request",
        method=request.method,
        path=request.path[:200],
        status=status,
        milliseconds=round(seconds * 1000, 1),
        address=guard.address(request),
    )

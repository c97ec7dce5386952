"""Pages of other origins, such as an Evolution Manager that is served elsewhere.

A browser asks first whether a page may send a key or JSON (the preflight of
https://fetch.spec.whatwg.org/#http-cors-protocol); that question carries no key and is answered without one. Cookies
are never allowed to come along, so the session of a person at the dashboard is of no use to such a page: it must know
a key."""

from __future__ import annotations

from flask import Flask, Response, request

_METHODS = "GET, POST, PUT, DELETE"
_REQUEST_HEADERS = "apikey, Authorization, Content-Type, Last-Event-ID, X-Request-Id"
_REPLY_HEADERS = "Retry-After, X-Request-Id"
_REMEMBERED = 600
"""Seconds for which a browser may keep the answer to a preflight."""


def install(app: Flask, origins: frozenset[str]) -> None:
    """Let pages of these origins use the API.

    Args:
        origins: as browsers write them, such as `https://manager.example.org`; `*` for all. Empty: none, and
            nothing is changed.
    """
    if not origins:
        return

    def allowed() -> str | None:
        origin = request.headers.get("Origin")
        if origin is None:
            return None
        return "*" if "*" in origins else origin if origin in origins else None

    @app.before_request
    def _() -> Response | None:
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not is_preflight or allowed() is None:
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Allow-Headers"] = _REQUEST_HEADERS
        response.headers["Access-Control-Max-Age"] = str(_REMEMBERED)
        return response

    @app.after_request
    def _(response: Response) -> Response:
        response.vary.add("Origin")
        origin = allowed()
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _REPLY_HEADERS
        return response

"""The dashboard: pages of the host's own, rendered here, kept up to date by the stream of events.

Nothing is loaded from elsewhere, nothing is built. The pages only read; what changes something goes to the
routes of the API, by the page's script, with the header that a page of another origin cannot send.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request, url_for
from flask_openapi3.openapi import OpenAPI

from api.auth import Access, principal
from api.dashboard import failures, pages, signin, words
from api.gateway import Outbox
from api.replies import iso
from api.services import Services

NAME = "dashboard"
PREFIX = "/dashboard"

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_FOREVER = "public, max-age=31536000, immutable"


def register(app: OpenAPI, services: Services) -> None:
    """The pages, unless the dashboard is switched off."""
    if services.guard.sessions is None:
        return
    site = Blueprint(
        NAME,
        __name__,
        template_folder=str(_HERE / "templates"),
        static_folder=str(_HERE / "static"),
        static_url_path=f"{PREFIX}/static",
    )
    guard = services.guard
    guard.allow(f"{NAME}.static", Access.PUBLIC)
    for endpoint in signin.add(site, services, services.guard.sessions, PREFIX):
        guard.allow(f"{NAME}.{endpoint}", Access.PUBLIC)
    for endpoint in pages.add(site, services, PREFIX):
        guard.allow(f"{NAME}.{endpoint}", Access.DASHBOARD)
    failures.add(site)
    site.after_request(_careful)
    site.context_processor(lambda: _common(services))
    app.register_blueprint(site)


def _careful(response: Response) -> Response:
    """What a browser may do with the pages; assets are named by their content and may be kept."""
    response.headers["Content-Security-Policy"] = _POLICY
    if request.endpoint == f"{NAME}.static" and request.args.get("v") and response.status_code == 200:
        response.headers["Cache-Control"] = _FOREVER
    return response


def _common(services: Services) -> dict[str, Any]:
    """What every template may use."""

    def asset(name: str) -> str:
        return url_for(f"{NAME}.static", filename=name, v=_fingerprint(name))

    def may_see_host() -> bool:
        return principal().instances is None

    return {
        "asset": asset,
        "words": words,
        "now": services.clock.wall(),
        "iso": iso,
        "version": services.settings.version,
        "may_see_host": may_see_host,
        "has_outbox": isinstance(services.gateway, Outbox),
    }


@lru_cache(maxsize=32)
def _fingerprint(name: str) -> str:
    return hashlib.sha256((_HERE / "static" / name).read_bytes()).hexdigest()[:12]

"""The control API as a WSGI application."""

from __future__ import annotations

from collections.abc import Callable

from flask import redirect, url_for
from flask_openapi3.models.info import Info
from flask_openapi3.models.server import Server
from flask_openapi3.openapi import OpenAPI
from werkzeug.wrappers import Response

from api import context, dashboard, errors, fairness
from api.auth import Access, Guard
from api.gateway import Clock, Gateway, Metered
from api.routes import config, deliveries, events, evolution, host, instances, metrics, upkeep
from api.routing import SECURITY_SCHEMES
from api.schemas.common import ErrorReply
from api.services import Services
from api.settings import ApiSettings

GROUPS: tuple[Callable[[OpenAPI, Services], None], ...] = (
    instances.register,
    upkeep.register,
    config.register,
    deliveries.register,
    events.register,
    dashboard.register,
    host.register,
    metrics.register,
    evolution.register,
)

_DESCRIPTION = (
    "Keeps many WhatsApp instances connected. The routes under /instance, /webhook, /settings, /proxy and "
    "/chatwoot take and answer what Evolution API 2.3 does."
)


def create_app(gateway: Gateway, settings: ApiSettings, *, clock: Clock) -> OpenAPI:
    """The application.

    Args:
        gateway: the tree.
        settings: the API's own settings.
        clock: for limits and durations.

    Raises:
        RuntimeError: a route has no access rule.
    """
    app = OpenAPI(
        "zapvisor",
        info=Info(title="zapvisor", version=settings.version, description=_DESCRIPTION),
        servers=_servers(settings),
        security_schemes=dict(SECURITY_SCHEMES),
        validation_error_status=400,
        validation_error_model=ErrorReply,
        static_folder=None,
    )
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.compact = True  # type: ignore[attr-defined]
    guard = Guard(gateway, settings, clock)
    services = Services(gateway, settings, guard, clock)
    context.install(app, guard, clock, gateway.answered if isinstance(gateway, Metered) else None)
    errors.install(app, gateway)
    for register in GROUPS:
        register(app, services)
    _guard_documentation(app, guard)
    guard.seal(app)
    fairness.install(app)
    return app


def _servers(settings: ApiSettings) -> list[Server]:
    """Where the API is: here, and under the address that others reach it at."""
    public = [Server(url=settings.server_url)] if settings.server_url else []
    return [Server(url="/"), *public]


def _guard_documentation(app: OpenAPI, guard: Guard) -> None:
    """Swagger UI and the document are flask-openapi3's own blueprints; `/openapi` shows the UI at once."""

    def show_ui() -> Response:
        return redirect(url_for("swagger.swagger"))

    app.view_functions["openapi.openapi"] = show_ui
    app.add_url_rule(app.doc_prefix, endpoint="openapi.start", view_func=show_ui)
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith(app.doc_prefix):
            guard.allow(rule.endpoint, Access.PAGE)

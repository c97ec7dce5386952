"""The host itself: health and the supervision tree."""

from __future__ import annotations

from typing import Any

from flask_openapi3.openapi import OpenAPI

from api import replies
from api.auth import Access
from api.errors import ApiError
from api.gateway import NoSuchActor
from api.routing import Routes
from api.schemas.common import CommandReply
from api.schemas.operations import HealthReply, ReadyReply, RestartPathBody, TreeRow
from api.services import Services


def register(app: OpenAPI, services: Services) -> None:
    """`/healthz`, `/readyz` and `/supervisor`."""
    health_routes = Routes(app, services.guard, "health", "For service managers and load balancers.")
    tree_routes = Routes(app, services.guard, "supervisor", "The supervision tree.")
    gateway, settings = services.gateway, services.settings

    @health_routes.route("GET", "/healthz", access=Access.PUBLIC, reply=HealthReply)
    def healthz() -> dict[str, Any]:
        """200 while the host runs."""
        return {"status": "ok", **gateway.health()}

    @health_routes.route("GET", "/readyz", access=Access.PUBLIC, reply=ReadyReply, errors=(503,))
    def readyz() -> tuple[dict[str, Any], int]:
        """200 when the host can serve, else 503."""
        ready, checks = gateway.ready()
        body = {"status": "ready" if ready else "not ready", "checks": dict(checks)}
        return body, 200 if ready else 503

    @tree_routes.route("GET", "/supervisor/tree", access=Access.HOST, reply=TreeRow)
    def tree() -> dict[str, Any]:
        """Every actor: path, kind, state, restarts, uptime, mailbox, last exit."""
        return replies.tree_row(gateway.tree())

    @tree_routes.route(
        "POST", "/supervisor/restart", access=Access.HOST, reply=CommandReply, errors=(404, 409)
    )
    def restart_path(body: RestartPathBody) -> dict[str, Any]:
        """Restart a child of the tree."""
        try:
            gateway.restart_path(body.path, settings.command_timeout)
        except NoSuchActor:
            raise ApiError(404, f'"path": {body.path!r} is no actor of the tree') from None
        return replies.done(f"{body.path} restarted")

"""An instance's QR code, its history and its diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response
from flask_openapi3.openapi import OpenAPI

from api import qrimage, replies
from api.auth import Access
from api.errors import ApiError
from api.gateway import Diagnostics
from api.routing import Routes
from api.schemas.common import InstancePath
from api.schemas.operations import DiagnosisReply, HistoryQuery, HistoryReply
from api.services import Services


def register(app: OpenAPI, services: Services) -> None:
    """The routes under `/instance` that Evolution API does not have."""
    routes = Routes(app, services.guard, "upkeep", "What an instance shows, did and knows of itself.")
    gateway, settings = services.gateway, services.settings

    def picture(name: str, draw: Callable[[str, str], bytes], media_type: str) -> Response:
        view = services.instance(name)
        if view.qr is None:
            raise ApiError(404, f'The "{name}" instance has no QR code now (phase {view.phase})')
        response = Response(draw(view.qr.code, settings.qr_color), mimetype=media_type)
        response.headers["Cache-Control"] = "no-store"
        return response

    @routes.route(
        "GET",
        "/instance/qr/<instanceName>.png",
        access=Access.INSTANCE,
        reply={"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
    )
    def qr_png(path: InstancePath) -> Response:
        """The current QR code as a PNG."""
        return picture(path.instanceName, qrimage.png, "image/png")

    @routes.route(
        "GET",
        "/instance/qr/<instanceName>.svg",
        access=Access.INSTANCE,
        reply={"content": {"image/svg+xml": {"schema": {"type": "string"}}}},
    )
    def qr_svg(path: InstancePath) -> Response:
        """The current QR code as an SVG."""
        return picture(path.instanceName, qrimage.svg, "image/svg+xml")

    @routes.route("GET", "/instance/history/<instanceName>", access=Access.INSTANCE, reply=HistoryReply)
    def history(path: InstancePath, query: HistoryQuery) -> dict[str, Any]:
        """Disconnections and recoveries, newest first."""
        services.instance(path.instanceName)
        page = gateway.history(path.instanceName, query.before, query.limit, settings.read_timeout)
        return {"history": [replies.history_row(entry) for entry in page.entries], "next": page.next}

    if not isinstance(gateway, Diagnostics):
        return

    @routes.route("GET", "/instance/diagnose/<instanceName>", access=Access.INSTANCE, reply=DiagnosisReply)
    def diagnose(path: InstancePath) -> dict[str, Any]:
        """The instance's own report: state, network, session, recent events, recovery, port."""
        services.instance(path.instanceName)
        return dict(gateway.diagnose(path.instanceName, settings.command_timeout))

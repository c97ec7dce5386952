"""What Prometheus scrapes."""

from __future__ import annotations

from flask import Response, request
from flask_openapi3.openapi import OpenAPI

from api.auth import Access
from api.gateway import Metered
from api.routing import Routes
from api.services import Services

MEDIA_TYPES = ("text/plain", "application/openmetrics-text")
"""Of the two formats, as the request's `Accept` chooses."""


def register(app: OpenAPI, services: Services) -> None:
    """`/metrics`; not there where the gateway has none."""
    gateway, timeout = services.gateway, services.settings.read_timeout
    if not isinstance(gateway, Metered):
        return
    routes = Routes(app, services.guard, "metrics", "For Prometheus.")

    @routes.route(
        "GET",
        "/metrics",
        access=Access.HOST,
        reply={"content": {kind: {"schema": {"type": "string"}} for kind in MEDIA_TYPES}},
    )
    def metrics() -> Response:
        """The host's metrics, in Prometheus' text format or, for who accepts it, in OpenMetrics."""
        body, media_type = gateway.metrics(request.headers.get("Accept", ""), timeout)
        return Response(body, content_type=media_type)

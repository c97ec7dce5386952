"""What Evolution API's clients ask of the server itself, before they ask for an instance.

The Evolution Manager takes a server for one when `GET /` answers JSON with a version, and a key for the right one when
`POST /verify-creds` does not refuse it (Evolution API 2.3, `src/api/routes/index.router.ts`)."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify, request
from flask_openapi3.openapi import OpenAPI

from api import cors
from api.auth import Access
from api.routing import Routes
from api.schemas.operations import CredentialsReply
from api.services import Services

SPOKEN_VERSION = "2.3.6"
"""Of Evolution API: the one whose routes these are. Clients choose the form of their requests by it."""


def register(app: OpenAPI, services: Services) -> None:
    """`/` for programs, `/verify-creds`, and pages of other origins."""
    cors.install(app, services.settings.cors_origins)
    routes = Routes(app, services.guard, "server", "For Evolution API's clients.")

    @app.before_request
    def _() -> Response | None:
        """`/` is the dashboard; who asks for JSON there is told what this is. It holds no secret."""
        if request.path != "/" or request.method not in ("GET", "HEAD") or not _wants_json():
            return None
        return jsonify(
            {
                "status": 200,
                "message": "Welcome to zapvisor, it is working!",
                "version": SPOKEN_VERSION,
                "clientName": "zapvisor",
                "documentation": f"{services.settings.server_url or request.root_url.rstrip('/')}/openapi",
            }
        )

    @routes.route("POST", "/verify-creds", access=Access.HOST, reply=CredentialsReply)
    def verify_creds() -> dict[str, Any]:
        """Whether this is the host's key. The fields of Facebook are null: there is no such integration."""
        return {
            "status": 200,
            "message": "Credentials are valid",
            "facebookAppId": None,
            "facebookConfigId": None,
            "facebookUserToken": None,
        }


def _wants_json() -> bool:
    """Whether a request names JSON and no page; a browser that opens an address names pages first."""
    named = {kind for kind, quality in request.accept_mimetypes if quality > 0}
    return "application/json" in named and "text/html" not in named

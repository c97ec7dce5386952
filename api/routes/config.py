"""Webhook, settings, proxy and Chatwoot of an instance."""

from __future__ import annotations

from typing import Any

from flask_openapi3.openapi import OpenAPI

from api import replies
from api.auth import Access
from api.errors import ApiError
from api.gateway import Configure
from api.routing import Routes
from api.schemas.common import InstancePath
from api.schemas.config import (
    ChatwootBody,
    ChatwootReply,
    OptionalProxy,
    OptionalSettings,
    ProxyBody,
    ProxySetReply,
    SettingsBody,
    SettingsReply,
)
from api.schemas.webhook import OptionalWebhook, WebhookBody, WebhookReply
from api.services import Services


def register(app: OpenAPI, services: Services) -> None:
    """Evolution API's set and find routes. Its `find` of what was never set is `null`."""
    _register_webhook(app, services)
    _register_settings(app, services)
    _register_proxy(app, services)
    _register_chatwoot(app, services)


def _register_webhook(app: OpenAPI, services: Services) -> None:
    routes = Routes(app, services.guard, "webhook", "Where an instance's events go.")

    @routes.route(
        "POST", "/webhook/set/<instanceName>", access=Access.INSTANCE, reply=WebhookReply, status=201
    )
    def set_webhook(path: InstancePath, body: WebhookBody) -> dict[str, Any] | None:
        """Set the webhook of an instance; without events, all of them."""
        done = services.command(path.instanceName, Configure(webhook=body.webhook.stored()))
        return replies.webhook(done.view)

    @routes.route("GET", "/webhook/find/<instanceName>", access=Access.INSTANCE, reply=OptionalWebhook)
    def find_webhook(path: InstancePath) -> dict[str, Any] | None:
        """The webhook of an instance, or null."""
        return replies.webhook(services.instance(path.instanceName))


def _register_settings(app: OpenAPI, services: Services) -> None:
    routes = Routes(app, services.guard, "settings", "How an instance treats calls, groups and messages.")

    @routes.route(
        "POST", "/settings/set/<instanceName>", access=Access.INSTANCE, reply=SettingsReply, status=201
    )
    def set_settings(path: InstancePath, body: SettingsBody) -> dict[str, Any]:
        """Set the settings of an instance."""
        view = services.command(path.instanceName, Configure(settings=body.stored())).view
        return {"settings": {"instanceName": view.name, "settings": replies.settings(view)}}

    @routes.route("GET", "/settings/find/<instanceName>", access=Access.INSTANCE, reply=OptionalSettings)
    def find_settings(path: InstancePath) -> dict[str, Any] | None:
        """The settings of an instance."""
        view = services.instance(path.instanceName)
        return replies.settings(view) if view.settings else None


def _register_proxy(app: OpenAPI, services: Services) -> None:
    routes = Routes(app, services.guard, "proxy", "The proxy that an instance connects through.")

    @routes.route(
        "POST", "/proxy/set/<instanceName>", access=Access.INSTANCE, reply=ProxySetReply, status=201
    )
    def set_proxy(path: InstancePath, body: ProxyBody) -> dict[str, Any]:
        """Set the proxy of an instance; the next connection uses it."""
        view = services.command(path.instanceName, Configure(proxy=body.stored())).view
        return {"proxy": {"instanceName": view.name, "proxy": replies.proxy_fields(view.proxy)}}

    @routes.route("GET", "/proxy/find/<instanceName>", access=Access.INSTANCE, reply=OptionalProxy)
    def find_proxy(path: InstancePath) -> dict[str, Any] | None:
        """The proxy of an instance, or null."""
        return replies.proxy(services.instance(path.instanceName))


def _register_chatwoot(app: OpenAPI, services: Services) -> None:
    routes = Routes(app, services.guard, "chatwoot", "The Chatwoot account that hears of an instance.")

    def require_chatwoot() -> None:
        if not services.settings.chatwoot_enabled:
            raise ApiError(400, "Chatwoot is disabled")

    @routes.route(
        "POST", "/chatwoot/set/<instanceName>", access=Access.INSTANCE, reply=ChatwootReply, status=201
    )
    def set_chatwoot(path: InstancePath, body: ChatwootBody) -> dict[str, Any]:
        """Set the Chatwoot account of an instance."""
        require_chatwoot()
        stored = body.stored(path.instanceName)
        return replies.chatwoot(services.command(path.instanceName, Configure(chatwoot=stored)).view)

    @routes.route("GET", "/chatwoot/find/<instanceName>", access=Access.INSTANCE, reply=ChatwootReply)
    def find_chatwoot(path: InstancePath) -> dict[str, Any]:
        """The Chatwoot account of an instance; blank fields when none was set."""
        require_chatwoot()
        return replies.chatwoot(services.instance(path.instanceName))

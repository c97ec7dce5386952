"""Creating, listing and steering instances."""

from __future__ import annotations

from typing import Any

import structlog
from flask_openapi3.openapi import OpenAPI

from api import replies
from api.auth import Access, principal
from api.body import parse
from api.errors import ApiError
from api.gateway import (
    INTEGRATION,
    CallError,
    Connect,
    CreateInstance,
    ForceReconnection,
    InstanceView,
    Logout,
    Refusal,
    Reset,
    Restart,
    SetPresence,
)
from api.routing import Routes
from api.schemas.common import CommandReply, InstancePath
from api.schemas.config import ChatwootBody
from api.schemas.instances import (
    ConnectBody,
    ConnectQuery,
    ConnectReply,
    CreateBody,
    CreateReply,
    FetchQuery,
    ForceQuery,
    PresenceBody,
    PresenceReply,
    RestartReply,
    StateReply,
)
from api.schemas.operations import InstanceRows
from api.services import Services

log = structlog.get_logger("zapvisor.api")


def register(app: OpenAPI, services: Services) -> None:
    """The routes under `/instance` that are Evolution API's (`src/api/routes/instance.router.ts`)."""
    routes = Routes(app, services.guard, "instance", "Create, connect and steer instances.")
    gateway, settings = services.gateway, services.settings

    @routes.route(
        "POST", "/instance/create", access=Access.HOST, reply=CreateReply, status=201, errors=(403,)
    )
    def create(body: CreateBody) -> dict[str, Any]:
        """Create an instance; with `qrcode`, connect it and wait for the first code."""
        request = _create_instance(body, services)
        view = gateway.create(request, settings.command_timeout)
        if not body.qrcode:
            return replies.created(view)
        view = _first_code(view, body.number, services)
        return {**replies.created(view), "qrcode": replies.qr_fields(view, settings.qr_color)}

    @routes.route("GET", "/instance/connect/<instanceName>", access=Access.INSTANCE, reply=ConnectReply)
    def connect(path: InstancePath, query: ConnectQuery) -> dict[str, Any]:
        """Connect, and wait a few seconds for the first code; an open instance answers its state."""
        return _connect(path.instanceName, query.number, services)

    @routes.route("POST", "/instance/connect/<instanceName>", access=Access.INSTANCE, reply=ConnectReply)
    def connect_by_post(path: InstancePath, query: ConnectQuery, body: ConnectBody) -> dict[str, Any]:
        """As GET; the number may also stand in the body."""
        return _connect(path.instanceName, body.number or query.number, services)

    @routes.route("GET", "/instance/connectionState/<instanceName>", access=Access.INSTANCE, reply=StateReply)
    def connection_state(path: InstancePath) -> dict[str, Any]:
        """The state of an instance: `open`, `connecting` or `close`."""
        return {"instance": replies.instance_ref(services.instance(path.instanceName))}

    @routes.route("GET", "/instance/fetchInstances", access=Access.SCOPED, reply=InstanceRows)
    def fetch_instances(query: FetchQuery) -> list[dict[str, Any]]:
        """List instances; an instance's own token lists that instance."""
        views = [view for view in gateway.views() if principal().may_see(view.name) and _matches(view, query)]
        asked = query.instanceName or query.instanceId or query.number
        if asked and not views:
            raise ApiError(404, f'Instance "{asked}" not found')
        return [replies.instance_row(view) for view in views]

    @routes.route(
        ["POST", "PUT"], "/instance/restart/<instanceName>", access=Access.INSTANCE, reply=RestartReply
    )
    def restart(path: InstancePath) -> dict[str, Any]:
        """A new connection with the same session."""
        view = services.command(path.instanceName, Restart()).view
        code = replies.qr_fields(view, settings.qr_color) if view.qr else {}
        return {"instance": replies.instance_ref(view), **code}

    @routes.route(
        "POST",
        "/instance/setPresence/<instanceName>",
        access=Access.INSTANCE,
        reply=PresenceReply,
        status=201,
    )
    def set_presence(path: InstancePath, body: PresenceBody) -> dict[str, Any]:
        """Tell WhatsApp how the account appears."""
        services.command(path.instanceName, SetPresence(body.presence))
        return {"presence": body.presence}

    @routes.route(
        ["DELETE", "POST"], "/instance/logout/<instanceName>", access=Access.INSTANCE, reply=CommandReply
    )
    def logout(path: InstancePath) -> dict[str, Any]:
        """Unlink the device and delete the credentials; the instance stays, closed."""
        return replies.done(services.command(path.instanceName, Logout()).message)

    @routes.route("DELETE", "/instance/delete/<instanceName>", access=Access.INSTANCE, reply=CommandReply)
    def delete(path: InstancePath) -> dict[str, Any]:
        """Log out if possible and remove everything of the instance."""
        services.instance(path.instanceName)
        gateway.delete(path.instanceName, settings.delete_timeout)
        return replies.done("Instance deleted")

    @routes.route(
        "POST", "/instance/forceReconnection/<instanceName>", access=Access.INSTANCE, reply=CommandReply
    )
    def force_reconnection(path: InstancePath, query: ForceQuery) -> dict[str, Any]:
        """A new connection now, whatever the phase."""
        return replies.done(
            services.command(path.instanceName, ForceReconnection(query.cleanSession)).message
        )

    @routes.route("POST", "/instance/reset/<instanceName>", access=Access.INSTANCE, reply=CommandReply)
    def reset(path: InstancePath) -> dict[str, Any]:
        """Log out, clean everything, set the counters to zero, keep the instance."""
        return replies.done(services.command(path.instanceName, Reset()).message)


def _create_instance(body: CreateBody, services: Services) -> CreateInstance:
    chatwoot = body.chatwoot()
    if chatwoot is not None and not services.settings.chatwoot_enabled:
        raise ApiError(400, "Chatwoot is not enabled")
    if body.token is not None and services.guard.is_host_key(body.token):
        raise ApiError(400, "\"token\": the host's key cannot be an instance's, which is sent to its webhook")
    return CreateInstance(
        name=body.instanceName,
        token=body.token,
        number=body.number,
        integration=body.integration or INTEGRATION,
        settings=body.settings(),
        webhook=body.webhook.stored() if body.webhook else {},
        proxy=body.proxy(),
        chatwoot=parse(ChatwootBody, chatwoot).stored(body.instanceName) if chatwoot else {},
    )


def _connect(name: str, number: str | None, services: Services) -> dict[str, Any]:
    wait = services.settings.connect_wait
    view = services.command(name, Connect(_digits(number), wait=wait), extra=wait).view
    if view.state == "open":
        return {"instance": replies.instance_ref(view)}
    return replies.qr_fields(view, services.settings.qr_color)


def _first_code(view: InstanceView, number: str | None, services: Services) -> InstanceView:
    """Connect a new instance. It exists whatever happens now: a failure here is not one of its creation."""
    wait = services.settings.connect_wait
    try:
        return services.command(view.name, Connect(_digits(number), wait=wait), extra=wait).view
    except (Refusal, CallError) as error:
        log.warning("created, but not connected", instance=view.name, error=str(error))
        return services.gateway.view(view.name) or view


def _digits(number: str | None) -> str | None:
    """The phone number at the head of what Evolution API accepts, which may be a jid."""
    if not number:
        return None
    return number[: next((at for at, char in enumerate(number) if not char.isdigit()), len(number))]


def _matches(view: InstanceView, query: FetchQuery) -> bool:
    owner = (view.owner_jid or "").partition("@")[0].partition(":")[0]
    return (
        query.instanceName in (None, view.name)
        and query.instanceId in (None, view.id)
        and query.number in (None, view.number, owner or None)
    )

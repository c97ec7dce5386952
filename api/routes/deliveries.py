"""The outbox: what was delivered, what waits, what failed and may be sent again."""

from __future__ import annotations

from typing import Any

from flask_openapi3.openapi import OpenAPI

from api import replies
from api.auth import Access
from api.errors import ApiError
from api.gateway import Outbox
from api.routing import Routes
from api.schemas.operations import DeliveriesQuery, DeliveriesReply, ReplayBody, ReplayReply
from api.services import Services, own_instance


def register(app: OpenAPI, services: Services) -> None:
    """The routes under `/webhook` that are about deliveries; none where the gateway knows of none."""
    outbox, settings = services.gateway, services.settings
    if not isinstance(outbox, Outbox):
        return
    routes = Routes(app, services.guard, "deliveries", "Events on their way to webhooks.")

    @routes.route("GET", "/webhook/deliveries", access=Access.SCOPED, reply=DeliveriesReply)
    def deliveries(query: DeliveriesQuery) -> dict[str, Any]:
        """Deliveries, newest first; an instance's token sees its own."""
        instance = own_instance(query.instance)
        confined = services.confined_to(instance)
        try:
            page = outbox.deliveries(
                instance, query.status, query.cursor, query.limit, settings.read_timeout, instance_id=confined
            )
        except ValueError:
            raise ApiError(400, '"cursor": it must be the `next` of an earlier page') from None
        return {
            "deliveries": [replies.delivery_row(delivery) for delivery in page.deliveries],
            "next": page.next,
        }

    @routes.route("POST", "/webhook/replay", access=Access.SCOPED, reply=ReplayReply)
    def replay(body: ReplayBody) -> dict[str, Any]:
        """Send failed deliveries again, chosen by event, instance or destination."""
        if body.eventIds is None and body.instance is None and body.destination is None:
            raise ApiError(400, 'One of "eventIds", "instance" and "destination" is required')
        instance = own_instance(body.instance)
        confined = services.confined_to(instance)
        return {
            "replayed": outbox.replay(
                body.eventIds, instance, body.destination, settings.command_timeout, instance_id=confined
            )
        }

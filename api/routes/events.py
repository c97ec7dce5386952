"""The stream of events, for the dashboard and for people with curl."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from flask import Response, request
from flask_openapi3.openapi import OpenAPI

from api import sse
from api.auth import Access, Principal, principal
from api.errors import RETRY_AFTER, ApiError
from api.gateway import EventFeed, UnknownInstance
from api.hub import Hub
from api.qrimage import data_url
from api.routing import Routes
from api.schemas.events import EventsQuery, split
from api.services import Services
from api.shares import GiveBack, Shares
from api.streaming import STREAM, HandOver

MAX_CLIENTS = 64
"""Clients of the stream at once. Each holds a connection, of which the server has a few hundred, and no thread."""

MAX_OF_ONE = 8
"""Of them with one instance's token."""

KEPT_FOR_HOST = 16
"""Of them that tokens cannot take: whoever has the host's key can always look."""

_BACKLOG = 200
"""Events in an answer of a server that cannot stream."""

_ID_DIGITS = 18


def register(app: OpenAPI, services: Services) -> None:
    """`/events`; nothing where the gateway's events cannot be read along."""
    feed, settings = services.gateway, services.settings
    if not isinstance(feed, EventFeed):
        return
    routes = Routes(app, services.guard, "events", "What happens, as it happens.")
    picture = partial(data_url, color=settings.qr_color)
    hub = Hub(services.gateway, feed, services.clock, server_url=settings.server_url, picture=picture)
    places = Shares()

    @routes.route(
        "GET",
        "/events",
        access=Access.SCOPED,
        reply={"content": {sse.MEDIA_TYPE: {"schema": {"type": "string"}}}},
        cookie=True,
    )
    def events(query: EventsQuery) -> Response:
        """Server-sent events; an instance's token hears of its own instance. Resumes by `Last-Event-ID`."""
        wish = _wish(query, principal(), services)
        newest = feed.newest_event(settings.read_timeout)
        asked = _last_event_id()
        after = newest if asked is None else min(asked, newest)
        hand_over: HandOver | None = request.environ.get(STREAM)
        if hand_over is None:
            found = feed.events_after(after, _BACKLOG, settings.read_timeout)
            wanted = [event for event in found if wish.wants(event)]
            texts = [sse.event_message(event, settings.server_url, picture) for event in wanted]
            return _stream(sse.HELLO + b"".join(texts))
        if request.method == "GET":
            leave = _take_place(places, wish)
            is_welcome = _welcome(principal(), wish, services)
            hand_over(lambda stream: hub.attach(stream, wish, after, is_welcome, leave), leave)
        return _stream(sse.HELLO)


def _take_place(places: Shares, wish: sse.Wish) -> GiveBack:
    """A place among the clients; taken now, since many may ask at once.

    Raises:
        ApiError: 503, there is none.
    """
    if wish.sees is None:
        leave = places.take(None, each=MAX_CLIENTS, total=MAX_CLIENTS)
    else:
        leave = places.take(wish.sees, each=MAX_OF_ONE, total=MAX_CLIENTS - KEPT_FOR_HOST)
    if leave is None:
        message = "There are too many streams of events; close one, or try again later"
        raise ApiError(503, message, headers={"Retry-After": str(RETRY_AFTER)})
    return leave


def _stream(first: bytes) -> Response:
    # An iterator has no length, and so the answer none: it goes on.
    response = Response(iter([first]), mimetype=sse.MEDIA_TYPE)
    response.headers["X-Accel-Buffering"] = "no"  # nginx would hold messages back
    return response


def _wish(query: EventsQuery, who: Principal, services: Services) -> sse.Wish:
    names = frozenset(split(query.instance or ""))
    for name in sorted(names):
        if not who.may_see(name):
            raise ApiError(404, str(UnknownInstance(name)))
    seen = [view.id for view in services.gateway.views() if who.may_see(view.name)]
    return sse.Wish(
        instances=names or None,
        events=frozenset(map(sse.filter_name, split(query.event or ""))) or None,
        sees=None if who.instances is None else frozenset(seen),
        changes=query.changes is not None,
        outbox=query.changes != "only",
    )


def _last_event_id() -> int | None:
    """Where to resume; None for what comes from now on."""
    sent = request.headers.get("Last-Event-ID", "")
    if not sent:
        return None
    if not (sent.isascii() and sent.isdecimal() and len(sent) <= _ID_DIGITS):
        raise ApiError(400, f'"Last-Event-ID": {sent[:80]!r} is not allowed; it must be the id of a message')
    return int(sent)


def _welcome(who: Principal, wish: sse.Wish, services: Services) -> Callable[[], bool]:
    """Whether a client may go on: its session was not ended, its instance was not deleted."""
    sessions, gateway = services.guard.sessions, services.gateway

    def is_welcome() -> bool:
        if who.session is not None and not (sessions and sessions.is_live(who.session)):
            return False
        return wish.sees is None or any(view.id in wish.sees for view in gateway.views())

    return is_welcome

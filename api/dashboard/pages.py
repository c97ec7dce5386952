"""The dashboard's pages. Each is a view of published snapshots, and whole: the script fetches the same page again
and takes over what has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, make_response, render_template, request
from markupsafe import Markup
from werkzeug.wrappers import Response

from api import qrimage
from api.auth import Principal, principal
from api.dashboard import tree, words
from api.dashboard.timeline import SPANS, timeline, usual_span
from api.errors import ApiError
from api.gateway import Diagnostics, HistoryEntry, InstanceView, Outbox, UnknownInstance
from api.services import Services

_HISTORY_ROWS = ("20", "100", "500")
_PICTURE_ROWS = 500
_DELIVERIES = 50
_STATUSES = ("failed", "pending", "delivered")


def add(site: Blueprint, services: Services, prefix: str) -> Sequence[str]:
    """Add the pages; their endpoints."""
    gateway, settings = services.gateway, services.settings

    @site.get("/")
    def instances() -> Response:
        """All instances that one may see."""
        views = [view for view in gateway.views() if principal().may_see(view.name)]
        return _page("instances.html", views=views, counts=_counts(views))

    @site.get(f"{prefix}/instances/<name>")
    def instance(name: str) -> Response:
        """One instance."""
        view = _visible(services, name)
        now = services.clock.wall()
        span = _choice("span", tuple(SPANS), usual_span(view, now))
        rows = int(_choice("rows", _HISTORY_ROWS, _HISTORY_ROWS[0]))
        past = gateway.history(name, None, _PICTURE_ROWS, settings.read_timeout).entries
        return _page(
            "instance.html",
            view=view,
            picture=timeline(view, past, span, now),
            spans=tuple(SPANS),
            lines=_lines(past[:rows]),
            more_rows=next((more for more in _HISTORY_ROWS if int(more) > rows), None)
            if len(past) > rows
            else None,
            code=_inline_code(view, settings.qr_color),
            can_diagnose=isinstance(gateway, Diagnostics),
        )

    @site.get(f"{prefix}/diagnosis/<name>")
    def diagnosis(name: str) -> Response:
        """An instance's report on itself, to be put into its page."""
        _visible(services, name)
        if not isinstance(gateway, Diagnostics):
            raise ApiError(404, "This host cannot diagnose")
        return _page("diagnosis.html", report=gateway.diagnose(name, settings.command_timeout))

    @site.get(f"{prefix}/tree")
    def supervision() -> Response:
        """The supervision tree."""
        _host_only(principal())
        root = gateway.tree()
        now = services.clock.wall()
        totals = tree.totals(root)
        return _page(
            "tree.html",
            root=root,
            waiting=tree.waiting(root, now),
            totals=totals,
            crowd=totals.running,
            stirred=tree.stirred,
        )

    @site.get(f"{prefix}/deliveries")
    def deliveries() -> Response:
        """The outbox."""
        if not isinstance(gateway, Outbox):
            raise ApiError(404, "This host has no outbox")
        status = _choice("status", (*_STATUSES, "all"), "failed")
        names = [view.name for view in gateway.views() if principal().may_see(view.name)]
        chosen = _chosen_instance(principal(), names)
        try:
            page = gateway.deliveries(
                chosen,
                None if status == "all" else status,
                request.args.get("cursor") or None,
                _DELIVERIES,
                settings.read_timeout,
                instance_id=services.confined_to(chosen),
            )
        except ValueError:
            raise ApiError(404, "There is no such page") from None
        return _page(
            "deliveries.html",
            page=page,
            status=status,
            statuses=(*_STATUSES, "all"),
            names=names,
            chosen=chosen,
            failed=list(dict.fromkeys(row.event_id for row in page.deliveries if row.status == "failed")),
        )

    return ("instances", "instance", "diagnosis", "supervision", "deliveries")


def _page(template: str, **values: Any) -> Response:
    return make_response(render_template(template, **values))


def _visible(services: Services, name: str) -> InstanceView:
    if not principal().may_see(name):
        raise UnknownInstance(name)
    return services.instance(name)


def _host_only(who: Principal) -> None:
    if who.instances is not None:
        raise ApiError(403, "Only the host's key shows this")


def _choice(name: str, allowed: Sequence[str], default: str) -> str:
    asked = request.args.get(name, default)
    return asked if asked in allowed else default


def _chosen_instance(who: Principal, names: Sequence[str]) -> str | None:
    """The instance to show deliveries of; None for all, which only the host's key may see."""
    asked = request.args.get("instance") or None
    if asked is not None and not who.may_see(asked):
        raise UnknownInstance(asked)
    return names[0] if asked is None and who.instances is not None else asked


def _counts(views: Sequence[InstanceView]) -> Mapping[str, int]:
    """How many instances are in each phase that any is in."""
    found = Counter(view.phase for view in views)
    return {phase: found[phase] for phase in words.PHASES if found[phase]}


def _lines(entries: Sequence[HistoryEntry]) -> list[tuple[HistoryEntry, words.Line]]:
    return [(entry, words.history_line(entry)) for entry in entries]


def _inline_code(view: InstanceView, color: str) -> Markup | None:
    """The QR code as part of the page, so that picture, count and pairing code change together."""
    if view.qr is None:
        return None
    text = qrimage.svg(view.qr.code, color).decode("ascii").partition("?>")[2].strip()
    return Markup(text)  # noqa: S704 - our own drawing; the code is in it as squares, not as text

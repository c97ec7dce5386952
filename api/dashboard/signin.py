"""Signing in with a key, and out again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Blueprint, Request, make_response, redirect, render_template, request
from werkzeug.wrappers import Response

from api.errors import ApiError
from api.services import Services
from api.sessions import Sessions

_OWN_PATH = re.compile(r"/(dashboard/[A-Za-z0-9_./?=&%-]*)?")


def add(site: Blueprint, services: Services, sessions: Sessions, prefix: str) -> Sequence[str]:
    """Add the pages; their endpoints, which anybody may use."""

    @site.get(f"{prefix}/sign-in")
    def sign_in() -> Response:
        """Ask for a key."""
        if sessions.of(request) is not None:
            return redirect(_next(), 303)
        return _form(200, None)

    @site.post(f"{prefix}/sign-in")
    def submit() -> Response:
        """Take a key."""
        if not _is_own_page(request, services.settings.server_url):
            raise ApiError(403, "This form was sent by another site")
        try:
            key = services.guard.sign_in(request.form.get("key", "").strip())
        except ApiError as error:
            form = _form(error.status, "; ".join(error.messages) + ". Wait a little, then try again.")
            form.headers.update(error.headers)
            return form
        if key is None:
            return _form(401, "This is neither the host's key nor an instance's token.")
        response = redirect(_next(), 303)
        sessions.give(key, request, response)
        return response

    @site.post(f"{prefix}/sign-out")
    def sign_out() -> Response:
        """End the session."""
        if not _is_own_page(request, services.settings.server_url):
            raise ApiError(403, "This form was sent by another site")
        response = redirect("/", 303)
        sessions.end(request, response)
        return response

    return ("sign_in", "submit", "sign_out")


def _form(status: int, problem: str | None) -> Response:
    return make_response(render_template("sign_in.html", problem=problem, next=_next()), status)


def _next() -> str:
    """The page to go on to; only one of the dashboard's own."""
    wanted = request.values.get("next", "/")
    return wanted if _OWN_PATH.fullmatch(wanted) else "/"


def _is_own_page(request: Request, server_url: str) -> bool:
    """Whether a form comes from a page of this server, as far as the browser tells.

    Browsers say so plainly over HTTPS and on this machine (`Sec-Fetch-Site`), else by the page's origin, which
    is compared with every name that this server may be reached at."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    if origin is None:
        return True
    names = {request.host, request.headers.get("X-Forwarded-Host", ""), urlsplit(server_url).netloc}
    return urlsplit(origin).netloc in names - {""}

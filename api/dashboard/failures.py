"""Failures on the dashboard's pages: for people as a page, for the page's script as the API's JSON."""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import SignInRequired
from api.errors import ApiError, database_busy, error_response, phrase
from api.gateway import CallError, DatabaseBusy, Refusal, UnknownInstance
from api.sessions import MARK

log = structlog.get_logger("zapvisor.api")


def add(site: Blueprint) -> None:
    """Register the handlers."""

    @site.errorhandler(SignInRequired)
    def _(error: SignInRequired) -> AnyResponse:
        if MARK in request.headers:
            return error_response(error.status, error.messages, error.headers)
        here = request.full_path.rstrip("?") if request.method == "GET" else "/"
        return redirect(url_for("dashboard.sign_in", next=None if here == "/" else here), 303)

    @site.errorhandler(ApiError)
    def _(error: ApiError) -> AnyResponse:
        return _page(error.status, "; ".join(error.messages))

    @site.errorhandler(Refusal)
    def _(error: Refusal) -> AnyResponse:
        return _page(404 if isinstance(error, UnknownInstance) else 400, str(error))

    @site.errorhandler(CallError)
    def _(error: CallError) -> AnyResponse:
        log.warning("no reply from the tree", error=str(error), kind=type(error).__name__)
        if isinstance(error, DatabaseBusy):
            return _page(503, f"{database_busy(error)}. Try again.")
        return _page(503, "A part of the host does not answer now; it is being restarted. Try again.")


def _page(status: int, message: str) -> Response:
    if MARK in request.headers:
        return error_response(status, [message])
    return make_response(
        render_template("error.html", status=status, phrase=phrase(status), message=message), status
    )

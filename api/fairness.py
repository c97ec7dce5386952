"""Commands of one holder take half of the threads for commands at most; the other half serves the other instances."""

from __future__ import annotations

from collections.abc import Hashable

from flask import Flask, g, request

from api.auth import Principal
from api.errors import RETRY_AFTER, ApiError
from api.lanes import SHARE
from api.shares import GiveBack, Shares


def install(app: Flask) -> None:
    """Limit the commands that are served at once; after the guard, so that a stranger takes nobody's share."""
    shares = Shares()

    @app.before_request
    def _() -> None:
        share: int | None = request.environ.get(SHARE)
        holder = None if share is None else _holder()
        if share is None or holder is None:
            return
        g.give_back = shares.take(holder, each=share)
        if g.give_back is None:
            message = f"{share} commands for one instance are being served already; try again"
            raise ApiError(503, message, headers={"Retry-After": str(RETRY_AFTER)})

    @app.teardown_request
    def _(_error: BaseException | None) -> None:
        give_back: GiveBack | None = g.pop("give_back", None)
        if give_back is not None:
            give_back()


def _holder() -> Hashable | None:
    """Whose share a command takes: that of a token's instance; for the host's key, another one of the instance that
    the command is about, so that no token can keep the host from an instance. None for what has no limit."""
    who: Principal | None = g.get("principal")
    if who is None or who.instances is not None:
        return who and who.instances
    about = request.view_args or {}
    return about.get("instanceName") or about.get("name")

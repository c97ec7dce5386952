"""Every failure in one shape: `{"status": 404, "error": "Not Found", "response": {"message": ["…"]}}`.

The shape is that of Evolution API 2.3 (the error handler of its `src/main.ts`). What went wrong inside the
host is in the log, under the request's id; the answer never holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

import structlog
from flask import Flask, Response, g, json, request
from werkzeug.exceptions import HTTPException

from api.gateway import (
    ActorDown,
    AdminError,
    BeingDeleted,
    CallError,
    CallTimeout,
    DatabaseBusy,
    Gateway,
    MailboxFull,
    NameTaken,
    NoSuchActor,
    NotFound,
    NotRunning,
    Refusal,
    StartFailed,
    SystemStopped,
    UnknownInstance,
    UnknownMessage,
)

RETRY_AFTER = 1
"""Seconds: what a 503 tells a client to wait. A mailbox empties and an actor restarts well within it."""

log = structlog.get_logger("zapvisor.api")

_STATUS_OF_REFUSAL: Mapping[type[Refusal], int] = {
    NameTaken: 403,
    UnknownInstance: 404,
    BeingDeleted: 409,
    NotFound: 404,
    AdminError: 409,
    Refusal: 400,
}
"""By the refusal's class or the nearest base; 400 is what Evolution API answers when the state forbids a
command."""

_MESSAGES: Mapping[int, str] = {
    404: "Cannot {method} {path}",
    405: "Cannot {method} {path}: allowed are {allow}",
    413: "The body is larger than {max_body} bytes",
}


class ApiError(Exception):
    """An answer other than success.

    Args:
        status: the HTTP status, 400 to 599.
        messages: for people; each names the field, its value and what is allowed, where there is a field.
        headers: sent with the answer.
    """

    def __init__(self, status: int, *messages: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(*messages)
        self.status = status
        self.messages = messages
        self.headers = dict(headers or {})


def phrase(status: int) -> str:
    """The standard words for a status, such as "Not Found"."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def error_body(status: int, messages: Sequence[str]) -> dict[str, object]:
    """The JSON of an error."""
    return {"status": status, "error": phrase(status), "response": {"message": list(messages)}}


def error_response(
    status: int, messages: Sequence[str], headers: Mapping[str, str] | None = None
) -> Response:
    """The answer for an error."""
    response = Response(json.dumps(error_body(status, messages)), status, mimetype="application/json")
    response.headers.update(dict(headers or {}))
    return response


def install(app: Flask, gateway: Gateway) -> None:
    """Make every way in which a request can fail answer in the one shape."""

    @app.errorhandler(ApiError)
    def _(error: ApiError) -> Response:
        return error_response(error.status, error.messages, error.headers)

    @app.errorhandler(Refusal)
    def _(refusal: Refusal) -> Response:
        status = next(
            _STATUS_OF_REFUSAL[base] for base in type(refusal).__mro__ if base in _STATUS_OF_REFUSAL
        )
        return error_response(status, [str(refusal)])

    @app.errorhandler(CallError)
    @app.errorhandler(StartFailed)
    @app.errorhandler(SystemStopped)
    def _(error: CallError | StartFailed | SystemStopped) -> Response:
        return _unanswered(error, gateway)

    @app.errorhandler(HTTPException)
    def _(error: HTTPException) -> Response:
        return _http(error, app)

    @app.errorhandler(UnknownMessage)
    @app.errorhandler(Exception)
    def _(error: Exception) -> Response:
        log.error("request failed", exc_info=error)
        return error_response(
            500, [f"Internal error; the log has it under request {g.get('request_id', '-')}"]
        )


def _unanswered(error: CallError | StartFailed | SystemStopped, gateway: Gateway) -> Response:
    """A call that brought no reply: 504 when its time ran out, else 503 with a time to come back."""
    name = (request.view_args or {}).get("instanceName")
    view = gateway.view(name) if isinstance(name, str) else None
    if isinstance(error, NoSuchActor) and name is not None and view is None:
        return error_response(404, [str(UnknownInstance(name))])
    log.warning("no reply from the tree", error=str(error), kind=type(error).__name__)
    if isinstance(error, DatabaseBusy):
        return error_response(503, [f"{database_busy(error)}; try again"], {"Retry-After": str(RETRY_AFTER)})
    who = f'The "{view.name}" instance (phase {view.phase})' if view else "The host"
    if isinstance(error, CallTimeout):
        return error_response(
            504, [f"{who} did not finish within {error.seconds:g} s (the command was {error.phase})"]
        )
    if isinstance(error, MailboxFull):
        why = "has too many commands waiting"
    elif isinstance(error, NotRunning):
        why = f"does not run: {error.why}"
    elif isinstance(error, ActorDown | NoSuchActor):
        why = "is restarting"
    elif isinstance(error, SystemStopped):
        why = "is stopping"
    else:
        why = "cannot answer now"
    return error_response(503, [f"{who} {why}; try again"], {"Retry-After": str(RETRY_AFTER)})


def database_busy(error: DatabaseBusy) -> str:
    """The words for it; why it is so is in the log."""
    return f"The database cannot be {'written' if error.written else 'read'} now"


def _http(error: HTTPException, app: Flask) -> Response:
    """What Flask and Werkzeug raise: unknown routes and methods, bodies too large, broken requests."""
    status = error.code or 500
    original = error.get_response()
    if status < 400:
        return Response(original.get_data(), status, dict(original.headers))
    allow = original.headers.get("Allow", "")
    message = _MESSAGES.get(status, error.description or phrase(status)).format(
        method=request.method,
        path=request.path[:200],
        allow=allow or "none",
        max_body=app.config["MAX_CONTENT_LENGTH"],
    )
    kept = {name: value for name, value in original.headers.items() if name in ("Allow", "Retry-After")}
    return error_response(status, [message], kept)

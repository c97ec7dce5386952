"""Routes that cannot exist without their access rule, their validation and their documentation.

A handler says with the annotations of `path`, `query` and `body` what it takes; the same models validate
the request and describe it in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, get_type_hints

from flask import Response, jsonify, request
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel

from api.auth import Access, Guard
from api.body import json_object, parse
from api.errors import phrase
from api.schemas.common import ErrorReply

Handler = TypeVar("Handler", bound=Callable[..., Any])

_COMMON_ERRORS: Mapping[Access, tuple[int, ...]] = {
    Access.PUBLIC: (500,),
    Access.HOST: (400, 401, 429, 500, 503, 504),
    Access.INSTANCE: (400, 401, 404, 409, 429, 500, 503, 504),
    Access.SCOPED: (400, 401, 404, 429, 500, 503, 504),
    Access.PAGE: (401, 429, 500),
    Access.DASHBOARD: (401, 500),
}
_BODY_ERRORS = (413, 415)

SECURITY_SCHEMES = {
    "apikey": {"type": "apiKey", "in": "header", "name": "apikey"},
    "bearer": {"type": "http", "scheme": "bearer"},
}
_SECURITY: Mapping[Access, list[dict[str, list[str]]]] = {
    access: [] if access is Access.PUBLIC else [{"apikey": []}, {"bearer": []}] for access in Access
}


class Routes:
    """Registers routes of one group.

    Args:
        app: where to.
        guard: hears the access rule of each.
        tag: the group's name in the OpenAPI document.
        description: what the group is for.
    """

    def __init__(self, app: OpenAPI, guard: Guard, tag: str, description: str) -> None:
        self._app = app
        self._guard = guard
        self._tag = Tag(name=tag, description=description)

    def route(
        self,
        methods: str | Sequence[str],
        rule: str,
        *,
        access: Access,
        reply: type[BaseModel] | Mapping[str, Any],
        status: int = 200,
        errors: Sequence[int] = (),
        cookie: bool = False,
    ) -> Callable[[Handler], Handler]:
        """Decorate a handler.

        The handler returns JSON, or `(JSON, status)`, or a `Response`.

        Args:
            methods: such as "GET", or several.
            rule: the path, such as `/instance/logout/<instanceName>`.
            access: who may use it.
            reply: the model of a success, or its OpenAPI response object when it is not JSON.
            status: of a success.
            errors: statuses it answers beyond those that its access and body bring.
            cookie: whether the cookie of a session at the dashboard is enough, as for what is only read.
        """

        def register(handler: Handler) -> Handler:
            hints = get_type_hints(handler)
            view = _validated(handler, hints, status)
            endpoint = f"{self._tag.name}/{handler.__name__}"
            self._guard.allow(endpoint, access, cookie=cookie)
            codes = {*_COMMON_ERRORS[access], *errors, *(_BODY_ERRORS if "body" in hints else ())}
            responses: dict[str | int, Any] = {str(status): reply if isinstance(reply, type) else dict(reply)}
            responses.update((str(code), _error(code)) for code in sorted(codes))
            for method in [methods] if isinstance(methods, str) else methods:
                add = getattr(self._app, method.lower())
                add(
                    rule,
                    tags=[self._tag],
                    responses=responses,
                    security=_SECURITY[access],
                    operation_id=f"{handler.__name__}_{method.lower()}",
                    endpoint=endpoint,
                    strict_slashes=False,
                )(view)
            return handler

        return register


def _validated(handler: Callable[..., Any], hints: Mapping[str, Any], status: int) -> Callable[..., Response]:
    """The handler with its arguments taken from the request, and its return value made a response."""
    path, query, body = (hints.get(part) for part in ("path", "query", "body"))
    body_required = bool(body and body.model_config.get("openapi_extra", {}).get("required", True))

    @wraps(handler)
    def view(**path_args: str) -> Response:
        arguments: dict[str, BaseModel] = {}
        if path is not None:
            arguments["path"] = parse(path, path_args)
        if query is not None:
            arguments["query"] = parse(query, request.args.to_dict())
        if body is not None:
            arguments["body"] = parse(body, json_object(required=body_required))
        return _response(handler(**arguments), status)

    # flask-openapi3 would parse the arguments again, and in its own way: a body that is not JSON as if there
    # were none, a JSON string as JSON inside JSON, query models with a schema built anew for each request.
    view.__delay_validate_request__ = True  # type: ignore[attr-defined]
    return view


def _response(result: Any, status: int) -> Response:
    if isinstance(result, Response):
        return result
    value, code = result if isinstance(result, tuple) else (result, status)
    response = jsonify(value)
    response.status_code = code
    return response


def _error(status: int) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ErrorReply.__name__}"}
    return {"description": phrase(status), "content": {"application/json": {"schema": schema}}}

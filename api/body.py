"""A request's JSON, and what is wrong with it in words.

Types are strict, as Evolution API's JSON schemas are: `"true"` is no boolean and `5511…` no string. A JSON
null for an optional field is the field left out, since the Evolution Manager sends it so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from api.errors import ApiError

M = TypeVar("M", bound=BaseModel)

_SHOWN = 80
_MAX_MESSAGES = 20
_HIDDEN = ("token", "password", "username", "headers", "secret", "apikey", "url", "proxy", "host")
"""Parts of a field's name whose value is never repeated: it may hold a credential."""

_OBJECT = "webhook"
"""The object in whose place a client may send an address alone, with a password in it."""

_ALLOWED: Mapping[str, str] = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a string",
    "string_unicode": "a string of valid Unicode",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "an array",
    "tuple_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "literal_error": "one of {expected}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "too_long": "an array of at most {max_length} items",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}
"""What a field may be, by pydantic's type of error."""


def json_object(*, required: bool = True) -> dict[str, Any]:
    """The request's body as a JSON object.

    Args:
        required: whether an absent body is an error, or an empty object.

    Raises:
        ApiError: 415 for another media type, 400 for what is not a JSON object.
        RequestEntityTooLarge: 413.
    """
    raw = request.get_data(cache=False)
    if not raw.strip():
        if required:
            raise ApiError(400, "The body is empty: a JSON object is required")
        return {}
    if not request.is_json:
        shown = (request.mimetype or "none")[:_SHOWN]
        raise ApiError(415, f"Content-Type is {shown}: application/json is required")
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ApiError(400, f"The body is not UTF-8: byte {error.start} is wrong") from None
    except json.JSONDecodeError as error:
        raise ApiError(
            400, f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise ApiError(400, "The body is nested too deeply") from None
    except ValueError as error:  # a number that Python refuses: more than 4,300 digits, NaN, Infinity
        raise ApiError(400, f"The body has a number that cannot be read: {str(error)[:_SHOWN]}") from None
    if not isinstance(value, dict):
        raise ApiError(400, f"The body is {_json_kind(value)}: a JSON object is required")
    return value


def parse(model: type[M], values: object) -> M:
    """Values from outside as a model.

    Raises:
        ApiError: 400, with a message for each field that is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True, include_input=True)
        raise ApiError(400, *_messages(details)) from None


def _messages(details: Iterable[ErrorDetails]) -> list[str]:
    found = dict.fromkeys(message(detail) for detail in details)
    shown = list(found)[:_MAX_MESSAGES]
    if len(found) > len(shown):
        shown.append(f"and {len(found) - len(shown)} more")
    return shown


def message(detail: ErrorDetails) -> str:
    """One of pydantic's findings as a sentence with the field, its value and what is allowed."""
    name = ".".join(str(part)[:_SHOWN] for part in detail["loc"] if part not in ("str", "int")) or "body"
    kind = detail["type"]
    if kind == "missing":
        return f'"{name}" is required'
    context = {key: str(value) for key, value in detail.get("ctx", {}).items()}
    if kind == "value_error":
        allowed = context.get("error", detail["msg"])
    else:
        allowed = _ALLOWED.get(kind, detail["msg"]).format(**context)
    return f'"{name}": {shown_value(name, detail["input"])} is not allowed; it must be {allowed}'


def shown_value(name: str, value: object) -> str:
    """A value for an error message: short, printable, and hidden where the field may hold a secret."""
    if isinstance(value, str) and (name == _OBJECT or any(part in name.lower() for part in _HIDDEN)):
        return "the value"
    if isinstance(value, Mapping | list | tuple):
        return _json_kind(value)
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):  # an integer of more digits than Python prints
        return _json_kind(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _json_kind(value: object) -> str:
    if isinstance(value, bool):
        return "a boolean"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (Mapping, "an object"),
        ((list, tuple), "an array"),
        (str, "a string"),
        ((int, float), "a number"),
        (type(None), "null"),
    )
    return next((words for types, words in kinds if isinstance(value, types)), "something else")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")

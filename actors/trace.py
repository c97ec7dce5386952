"""The request on whose behalf something is done, carried along with messages from actor to actor.

Log lines take it from structlog's context, which belongs to a thread: a message that crosses to another one takes the
id with it, and whoever handles the message binds it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

KEY = "request_id"
"""The field of log lines."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A message that is part of a request."""

    message: Any
    request_id: str


def current() -> str | None:
    """The request that this thread works for now."""
    found: str | None = structlog.contextvars.get_contextvars().get(KEY)
    return found


def traced(message: Any, request_id: str | None = None) -> Any:
    """The message, with the request that is named, or that this thread works for, if there is one."""
    request_id = request_id or current()
    return message if request_id is None else Traced(message, request_id)


def untraced(message: Any) -> tuple[Any, str | None]:
    """A message as it was before `traced`, and its request."""
    return (message.message, message.request_id) if isinstance(message, Traced) else (message, None)


@contextmanager
def working_for(request_id: str | None) -> Iterator[None]:
    """Every line that this thread logs inside names the request, if there is one."""
    if request_id is None:
        yield
    else:
        with structlog.contextvars.bound_contextvars(**{KEY: request_id}):
            yield

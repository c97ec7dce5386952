"""The stream of events."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from api.schemas.common import NAME_PATTERN, BlankIsAbsent, Query
from api.schemas.webhook import EVENTS
from api.sse import filter_name

_MAX_FILTER = 4096


def split(value: str) -> list[str]:
    """The parts of a list with commas."""
    return [part for part in (part.strip() for part in value.split(",")) if part]


def _names(value: str) -> str:
    if not all(re.fullmatch(NAME_PATTERN, name) for name in split(value)):
        raise ValueError(f"names that match {NAME_PATTERN}, separated by commas")
    return value


def _events(value: str) -> str:
    if not all(filter_name(name) in EVENTS for name in split(value)):
        raise ValueError("names separated by commas, each one of " + ", ".join(EVENTS))
    return value


Names = Annotated[str, Field(max_length=_MAX_FILTER), AfterValidator(_names)]
Events = Annotated[str, Field(max_length=_MAX_FILTER), AfterValidator(_events)]


class EventsQuery(Query):
    """Which events."""

    instance: Annotated[Names | None, BlankIsAbsent] = Field(
        None, description="Names, separated by commas: `sales,support`."
    )
    event: Annotated[Events | None, BlankIsAbsent] = Field(
        None, description="Names, separated by commas: `connection.update,qrcode.updated`."
    )
    changes: Annotated[Literal["with", "only"] | None, BlankIsAbsent] = Field(
        None,
        description="Messages `change` without an id when the snapshots that the dashboard shows have "
        "changed: with the events, or in their place.",
    )

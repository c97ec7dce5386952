"""Plain SQL on a peewee database, for what its query builder has no words for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, TypeVar

import peewee

T = TypeVar("T")

logging.getLogger("peewee").setLevel(logging.WARNING)
"""peewee logs every statement with its values at level DEBUG, and there are tokens and codes among them."""


fetching: Any = peewee.ExceptionWrapper(peewee.EXCEPTIONS)  # type: ignore[attr-defined]
"""A context in which the driver's errors become peewee's, which covers by itself only a statement's first row."""


def padded(values: Sequence[T]) -> list[T]:
    """A list for `IN`, its last value repeated up to the next power of two, which changes nothing in what it says.

    The driver keeps the last hundred or so statements prepared, by their text. With as many texts as there are lengths
    of lists, those would be all that it keeps, a hundred bytes for each value of each; so a dozen texts are all.
    """
    values = list(values)
    missing = (1 << (len(values) - 1).bit_length()) - len(values) if values else 0
    return values + values[-1:] * missing


def execute(database: peewee.Database, statement: str, parameters: Sequence[Any] = ()) -> Any:
    """Execute one statement and return its cursor.

    Raises:
        peewee.PeeweeException: the database refused it.
    """
    run: Any = database.execute_sql
    return run(statement, tuple(parameters) or None)

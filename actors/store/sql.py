"""Plain SQL on a peewee database, for what its query builder has no words for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import peewee

logging.getLogger("peewee").setLevel(logging.WARNING)
"""peewee logs every statement with its values at level DEBUG, and there are tokens and codes among them."""


fetching: Any = peewee.ExceptionWrapper(peewee.EXCEPTIONS)  # type: ignore[attr-defined]
"""A context in which the driver's errors become peewee's, which covers by itself only a statement's first row."""


def execute(database: peewee.Database, statement: str, parameters: Sequence[Any] = ()) -> Any:
    """Execute one statement and return its cursor.

    Raises:
        peewee.PeeweeException: the database refused it.
    """
    run: Any = database.execute_sql
    return run(statement, tuple(parameters) or None)

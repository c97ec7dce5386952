"""What a unit of work and a read get: queries on one connection, inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import peewee

from actors.store.errors import Duplicate
from actors.store.sql import execute, fetching, padded

Deferred = dict["Callable[[Tx, list[Any]], None]", list[Any]]
"""What the units of one transaction have put off, by who writes it."""


class Tx:
    """One unit's view of the database. Valid only while the unit runs, and only on its thread.

    Attributes:
        now: the time of the unit, epoch seconds; the same for everything it writes.
    """

    __slots__ = ("_database", "_deferred", "_topics", "now")

    def __init__(self, database: peewee.Database, now: float, deferred: Deferred | None = None) -> None:
        self._database = database
        self._deferred = deferred
        self._topics: set[str] = set()
        self.now = now

    def later(self, write: Callable[[Tx, list[Any]], None], row: Any) -> None:
        """Have something written together with its like: before the transaction reads anything, and before it ends.

        Args:
            write: gets the rows of all units of the transaction, in their order, and a `Tx` to write them with.
        """
        if self._deferred is None:
            write(self, [row])
        else:
            self._deferred.setdefault(write, []).append(row)

    def flush(self) -> None:
        """Write now what was to be written later."""
        while self._deferred:
            write = next(iter(self._deferred))
            write(Tx(self._database, self.now), self._deferred.pop(write))

    def rows(self, query: Any) -> list[dict[str, Any]]:
        """Run a select and return all its rows. Give every query that can be large a limit."""
        self.flush()
        found = query.dicts().execute(self._database)
        with fetching:
            return list(found)

    def row(self, query: Any) -> dict[str, Any] | None:
        """Run a select and return its first row, or None."""
        self.flush()
        found = query.dicts().execute(self._database)
        with fetching:
            return next(iter(found), None)

    def scalar(self, query: Any) -> Any:
        """Run a select and return the first column of its first row, or None."""
        self.flush()
        found = query.tuples().execute(self._database)
        with fetching:
            row = next(iter(found), None)
        return None if row is None else row[0]

    def plain(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run plain SQL, with `?` for each parameter, and return its rows, if it has any.

        For the few statements that run for every event: building one costs peewee more than the database needs to
        carry it out.
        """
        self.flush()
        cursor = execute(self._database, statement.replace("?", self._database.param), parameters)
        with fetching:
            return [] if cursor.description is None else list(cursor.fetchall())

    @property
    def arrays(self) -> bool:
        """Whether the database takes arrays as parameters."""
        return isinstance(self._database, peewee.PostgresqlDatabase)

    def among(self, column: str, values: Sequence[Any], *, outside: bool = False) -> tuple[str, list[Any]]:
        """Plain SQL for a column being one of some values, or none of them, with its parameters."""
        if self.arrays:
            return f"{column} {'<> ALL' if outside else '= ANY'}(?)", [list(values)]
        values = padded(values)
        return f"{column} {'NOT IN' if outside else 'IN'} ({', '.join('?' * len(values))})", values

    def insert(self, table: type[peewee.Model], **values: Any) -> Any:
        """Insert a row and return its key.

        Raises:
            Duplicate: a unique column has that value already.
        """
        fields = [table._meta.fields[name] for name in values]
        parameters = [field.db_value(value) for field, value in zip(fields, values.values(), strict=True)]
        statement = _insert_statement(table, tuple(values), self._database.param)
        try:
            return execute(self._database, statement, parameters).fetchone()[0]
        except peewee.IntegrityError as error:
            raise _duplicate(table, error) from error

    def execute(self, query: Any, *, apart: bool = False) -> int:
        """Run an update or a delete and return how many rows it changed.

        Args:
            apart: nothing that is written `later` has to do with it, so that it does not have to be written before.

        Raises:
            Duplicate: a unique column has that value already.
        """
        if not apart:
            self.flush()
        try:
            changed = query.execute(self._database)
        except peewee.IntegrityError as error:
            raise _duplicate(query.model, error) from error
        return changed if isinstance(changed, int) else len(list(changed))

    def notify(self, topic: str) -> None:
        """Name a topic that readers hear of once this unit is committed, and never if it is not."""
        self._topics.add(topic)

    @property
    def topics(self) -> frozenset[str]:
        """The topics named so far."""
        return frozenset(self._topics)


@lru_cache(maxsize=64)
def _insert_statement(table: type[peewee.Model], names: tuple[str, ...], parameter: str) -> str:
    """The SQL of an insert. Building it takes peewee longer than the database takes to carry it out."""
    meta: Any = table._meta
    columns = ", ".join(f'"{meta.fields[name].column_name}"' for name in names)
    places = ", ".join([parameter] * len(names))
    key = meta.primary_key.column_name
    return f'INSERT INTO "{meta.table_name}" ({columns}) VALUES ({places}) RETURNING "{key}"'  # noqa: S608


def _duplicate(table: Any, error: peewee.IntegrityError) -> Exception:
    """Name the unique column at fault; any other broken constraint is a bug and stays what it is."""
    name = table._meta.table_name
    text = str(error)
    for field in table._meta.sorted_fields:
        if (field.unique or field.primary_key) and (
            f"{name}.{field.name}" in text or f"({field.name})=" in text
        ):
            return Duplicate(name, field.name)
    return error

"""Brings a database from its schema version to the newest, each step in a transaction of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peewee import Database, PostgresqlDatabase

from actors.store.errors import SchemaTooNew
from actors.store.sql import execute

logger = logging.getLogger("zapvisor.store")

Dialect = str
"""`sqlite` or `postgresql`."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step.

    Attributes:
        version: the schema version after it; the versions of a list are 1, 2, 3…
        statements: gives the SQL statements of the step for a dialect.
    """

    version: int
    name: str
    statements: Callable[[Dialect], Sequence[str]]


def dialect_of(database: Database) -> Dialect:
    """The dialect that a database speaks."""
    return "postgresql" if isinstance(database, PostgresqlDatabase) else "sqlite"


def schema_version(database: Database) -> int:
    """The version of an open database; 0 when it is empty."""
    if "meta" not in database.get_tables():
        return 0
    row = execute(database, "SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    return int(row[0]) if row else 0


def migrate(database: Database, migrations: Sequence[Migration]) -> list[str]:
    """Apply the steps that an open database lacks, in order.

    Returns:
        The names of the steps applied.

    Raises:
        SchemaTooNew: the database is newer than the last step; it is left as it was.
        peewee.DatabaseError: a step failed; it is rolled back, the ones before it stay.
    """
    found, known = schema_version(database), len(migrations)
    if found > known:
        raise SchemaTooNew(found, known)
    applied = []
    for migration in migrations[found:]:
        _apply(database, migration)
        logger.info("database migrated to schema version %d (%s)", migration.version, migration.name)
        applied.append(migration.name)
    return applied


def _apply(database: Database, migration: Migration) -> None:
    with database.atomic():
        execute(database, "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        for statement in migration.statements(dialect_of(database)):
            execute(database, statement)
        execute(database, "DELETE FROM meta WHERE key = 'schema_version'")
        execute(
            database,
            f"INSERT INTO meta (key, value) VALUES ('schema_version', '{migration.version:d}')",  # noqa: S608
        )

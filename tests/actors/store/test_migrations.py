"""Every database is brought to the newest schema, a step at a time, or left alone."""

from __future__ import annotations

import dataclasses

import peewee
import pytest

from actors.store import Cleanup, EventRow, HistoryEntry, Instance, SchemaTooNew
from actors.store.migrations import MIGRATIONS, Migration, migrate, schema_version
from actors.store.tables import (
    CleanupTable,
    DeliveryTable,
    EventTable,
    HistoryTable,
    InstanceTable,
    MetaTable,
)

TABLES = (CleanupTable, DeliveryTable, EventTable, HistoryTable, InstanceTable, MetaTable)


def test_versions_are_counted_from_one() -> None:
    assert [step.version for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_an_empty_database_gets_the_newest_schema(writer: peewee.Database) -> None:
    assert schema_version(writer) == len(MIGRATIONS)
    for table in TABLES:
        columns = {column.name for column in writer.get_columns(table._meta.table_name)}
        assert columns == {field.column_name for field in table._meta.sorted_fields}


@pytest.mark.parametrize(
    ("row", "table"),
    [
        (Instance, InstanceTable),
        (HistoryEntry, HistoryTable),
        (EventRow, EventTable),
        (Cleanup, CleanupTable),
    ],
)
def test_rows_and_tables_have_the_same_columns(row: type, table: type[peewee.Model]) -> None:
    assert {column.name for column in dataclasses.fields(row)} == set(table._meta.fields)


def test_a_migrated_database_is_left_alone(writer: peewee.Database) -> None:
    assert migrate(writer, MIGRATIONS) == []


def test_only_the_missing_steps_are_applied(writer: peewee.Database) -> None:
    more = (*MIGRATIONS, Migration(len(MIGRATIONS) + 1, "more", lambda _: ["CREATE TABLE more (x INTEGER)"]))
    assert migrate(writer, more) == ["more"]
    assert migrate(writer, more) == []
    assert "more" in writer.get_tables()


def test_a_step_that_fails_changes_nothing(writer: peewee.Database) -> None:
    broken = Migration(
        len(MIGRATIONS) + 1,
        "broken",
        lambda _: ["CREATE TABLE half (x INTEGER)", "CREATE TABLE half (x INTEGER)"],
    )
    with pytest.raises(peewee.PeeweeException):
        migrate(writer, (*MIGRATIONS, broken))
    assert schema_version(writer) == len(MIGRATIONS)
    assert "half" not in writer.get_tables()


def test_a_database_of_a_newer_release_is_refused_and_left_as_it_was(writer: peewee.Database) -> None:
    writer.execute_sql("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    with pytest.raises(SchemaTooNew, match="schema version 99, this release knows up to"):
        migrate(writer, MIGRATIONS)
    assert schema_version(writer) == 99


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_pending_deliveries_are_found_by_index(writer: peewee.Database) -> None:
    """On SQLite: PostgreSQL plans by statistics, and an empty table has none."""
    query = DeliveryTable.select().where(
        (DeliveryTable.destination == "x")
        & (DeliveryTable.status == peewee.SQL("'pending'"))
        & (DeliveryTable.id > 5)
    )
    sql, parameters = query.sql()
    plan = writer.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    assert "delivery_lane" in str(plan)

"""Units of work share a commit, fail alone, and fall together with the database."""

from __future__ import annotations

from typing import Any

import peewee
import pytest

from actors.store import Backend, Duplicate, Instance, Outcome, StoreUnavailable, Tx, instances, new_id
from actors.store import group as group_module
from actors.store.group import Group
from actors.store.sql import execute


def names(database: peewee.Database) -> list[str]:
    return [row[0] for row in execute(database, "SELECT name FROM instance ORDER BY name").fetchall()]


def inserting(name: str) -> Any:
    return lambda tx: instances.insert(tx, Instance(name=name, token=new_id())).name


@pytest.fixture
def group(backend: Backend, writer: peewee.Database) -> Group:
    return Group(writer, backend, lambda: 1000.0)


def test_a_unit_is_told_its_value_only_after_the_commit(group: Group, writer: peewee.Database) -> None:
    told: list[Outcome] = []
    group.run(inserting("a"), told.append)
    assert not told
    group.commit()
    assert told == [Outcome("a")]
    assert names(writer) == ["a"]


def test_units_of_a_group_see_what_came_before_them(group: Group) -> None:
    told: list[Outcome] = []
    group.run(inserting("a"), told.append)
    group.run(lambda tx: len(instances.all_instances(tx)), told.append)
    group.commit()
    assert told[1] == Outcome(1)


def test_a_unit_that_raises_is_undone_alone(group: Group, writer: peewee.Database) -> None:
    told: dict[str, Outcome] = {}

    def half(tx: Tx) -> None:
        inserting("half")(tx)
        raise ValueError("no")

    group.run(inserting("a"), lambda outcome: told.update(a=outcome))
    group.run(half, lambda outcome: told.update(half=outcome))
    group.run(inserting("a"), lambda outcome: told.update(again=outcome))
    group.run(inserting("b"), lambda outcome: told.update(b=outcome))
    group.commit()
    assert names(writer) == ["a", "b"]
    assert isinstance(told["half"].error, ValueError)
    assert isinstance(told["again"].error, Duplicate)
    assert told["again"].error.field == "name"
    assert told["b"] == Outcome("b")


def test_a_wrong_statement_is_the_units_own_error(group: Group, writer: peewee.Database) -> None:
    told: list[Outcome] = []
    group.run(lambda tx: execute(writer, "SELECT nonsense FROM nowhere"), told.append)
    group.run(inserting("a"), told.append)
    group.commit()
    assert isinstance(told[0].error, peewee.PeeweeException)
    assert told[1] == Outcome("a")


def test_topics_are_told_for_units_that_were_committed(group: Group) -> None:
    def failing(tx: Tx) -> None:
        tx.notify("never")
        raise ValueError

    group.run(lambda tx: tx.notify("x"), lambda _: None)
    group.run(failing, lambda _: None)
    group.run(lambda tx: tx.notify("y"), lambda _: None)
    assert group.commit() == {"x", "y"}
    assert group.commit() == frozenset()


class TestWritingLater:
    """What units put off is written for all of them together, and is still each one's own."""

    @staticmethod
    def noting(texts: list[str], written: list[list[str]]) -> Any:
        def write(tx: Tx, rows: list[str]) -> None:
            written.append(rows)
            for row in rows:
                if row == "bad":
                    raise ValueError(row)
                instances.insert(tx, Instance(name=row, token=new_id()))

        def unit(tx: Tx, text: str) -> str:
            tx.later(write, text)
            return text

        return [lambda tx, text=text: unit(tx, text) for text in texts]

    def test_it_is_written_at_once_for_all_units_before_the_commit(
        self, group: Group, writer: peewee.Database
    ) -> None:
        written: list[list[str]] = []
        told: list[Outcome] = []
        for unit in self.noting(["a", "b"], written):
            group.run(unit, told.append)
        assert written == []
        group.commit()
        assert written == [["a", "b"]]
        assert told == [Outcome("a"), Outcome("b")]
        assert names(writer) == ["a", "b"]

    def test_a_unit_that_reads_sees_what_those_before_it_have_put_off(self, group: Group) -> None:
        told: list[Outcome] = []
        [unit] = self.noting(["a"], [])
        group.run(unit, told.append)
        group.run(lambda tx: [row.name for row in instances.all_instances(tx)], told.append)
        group.commit()
        assert told == [Outcome("a"), Outcome(["a"])]

    def test_what_cannot_be_written_is_the_error_of_the_unit_that_put_it_off(
        self, group: Group, writer: peewee.Database
    ) -> None:
        told: list[Outcome] = []
        for unit in self.noting(["a", "bad", "b"], []):
            group.run(unit, told.append)
        group.commit()
        assert [type(outcome.error) for outcome in told] == [type(None), ValueError, type(None)]
        assert names(writer) == ["a", "b"]

    def test_what_was_put_off_by_a_unit_that_then_failed_is_not_written(
        self, group: Group, writer: peewee.Database
    ) -> None:
        [good, half] = self.noting(["a", "half"], [])
        told: list[Outcome] = []

        def failing(tx: Tx) -> None:
            half(tx)
            raise ValueError("no")

        group.run(good, told.append)
        group.run(failing, told.append)
        group.commit()
        assert [type(outcome.error) for outcome in told] == [type(None), ValueError]
        assert names(writer) == ["a"]


def test_after_a_failure_the_next_transaction_is_without_savepoints_again(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []

    def noted(database: peewee.Database, statement: str, parameters: Any = ()) -> Any:
        statements.append(statement)
        return execute(database, statement, parameters)

    monkeypatch.setattr(group_module, "execute", noted)
    group.run(inserting("a"), lambda _: None)
    group.run(inserting("a"), lambda _: None)
    group.commit()
    assert statements.count("SAVEPOINT unit") == 2
    statements.clear()
    group.run(inserting("b"), lambda _: None)
    group.commit()
    assert "SAVEPOINT unit" not in statements


def test_an_answer_that_cannot_be_given_does_not_stop_the_others(group: Group) -> None:
    told: list[Outcome] = []

    def broken(outcome: Outcome) -> None:
        raise RuntimeError("gone")

    group.run(inserting("a"), broken)
    group.run(inserting("b"), told.append)
    group.commit()
    assert told == [Outcome("b")]


def test_a_group_that_is_abandoned_leaves_nothing_and_tells_everybody(
    group: Group, writer: peewee.Database
) -> None:
    told: list[Outcome] = []
    group.run(inserting("a"), told.append)
    group.abandon("the store ended")
    assert isinstance(told[0].error, StoreUnavailable)
    assert names(writer) == []

"""Units of work share a commit, fail alone, and fall together with the database."""

from __future__ import annotations

from typing import Any

import peewee
import pytest

from actors.store import Backend, Duplicate, Instance, Outcome, StoreUnavailable, Tx, instances, new_id
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

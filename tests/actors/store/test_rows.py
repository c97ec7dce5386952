"""Instances, history and clean-ups: what is stored comes back, and a deletion leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.store import (
    Backend,
    Duplicate,
    HistoryEntry,
    Instance,
    Tx,
    UnknownRow,
    cleanups,
    history,
    instances,
)
from actors.store.deliveries import page
from actors.store.outbox import Settlement as Settled
from actors.store.outbox import Target, append, events_after, settle
from actors.store.retention import DELIVERED_SECONDS, HISTORY_SECONDS, ORPHAN_SECONDS, sweep
from actors.store.sql import execute

NOW = 1_700_000_000.0

json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text(), json, max_size=4)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@pytest.fixture
def at(writer: peewee.Database) -> Callable[[float], Tx]:
    """A unit at a time, each in autocommit."""
    return lambda now: Tx(writer, now)


@pytest.fixture
def tx(at: Callable[[float], Tx]) -> Tx:
    return at(NOW)


def count(tx: Tx, table: str) -> int:
    return int(execute(tx._database, f"SELECT count(*) FROM {table}").fetchone()[0])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=texts,
    token=texts,
    webhook=documents,
    detail=st.none() | documents,
    number=st.none() | texts,
    at=st.floats(0, 4e9),
    logged_in=st.booleans(),
)
def test_an_instance_comes_back_as_it_was_stored(tx: Tx, **columns: Any) -> None:
    row = Instance(
        name=columns["name"],
        token=columns["token"],
        webhook=columns["webhook"],
        disconnection_object=columns["detail"],
        number=columns["number"],
        disconnection_at=columns["at"],
        logged_in=columns["logged_in"],
    )
    stored = instances.insert(tx, row)
    assert stored == replace(row, created_at=NOW, updated_at=NOW)
    assert instances.get(tx, row.id) == stored
    assert instances.by_name(tx, row.name) == stored
    assert instances.by_token(tx, row.token) == stored
    assert instances.delete(tx, row.id)
    assert instances.get(tx, row.id) is None


@pytest.mark.parametrize("field", ["name", "token", "id"])
def test_what_must_be_unique_is_refused_by_name_of_the_field(at: Callable[[float], Tx], field: str) -> None:
    one = instances.insert(at(NOW), Instance(name="a", token="t"))
    other = replace(Instance(name="b", token="u"), **{field: getattr(one, field)})
    with pytest.raises(Duplicate) as caught:
        instances.insert(at(NOW), other)
    assert (caught.value.table, caught.value.field) == ("instance", field)


def test_an_update_changes_only_what_it_names(at: Callable[[float], Tx]) -> None:
    one = instances.insert(at(NOW), Instance(name="a", token="t", settings={"x": 1}))
    instances.update(at(NOW + 5), one.id, desired="up", phase="open", logged_in=True, webhook={"url": "u"})
    assert instances.get(at(NOW), one.id) == replace(
        one, desired="up", phase="open", logged_in=True, webhook={"url": "u"}, updated_at=NOW + 5
    )


def test_an_update_of_a_deleted_instance_is_refused(tx: Tx) -> None:
    with pytest.raises(UnknownRow, match="no instance gone"):
        instances.update(tx, "gone", desired="up")


@pytest.mark.parametrize("column", ["id", "created_at", "updated_at", "nonsense"])
def test_columns_that_cannot_be_changed_are_refused(tx: Tx, column: str) -> None:
    with pytest.raises(TypeError, match=column):
        instances.update(tx, "x", **{column: 1})


def test_an_impossible_desire_is_refused_by_the_database(tx: Tx) -> None:
    with pytest.raises(peewee.IntegrityError):
        instances.insert(tx, Instance(name="a", token="t", desired="sideways"))


def test_history_is_paged_newest_first(tx: Tx) -> None:
    row = instances.insert(tx, Instance(name="a", token="t"))
    entries = [
        history.append(tx, HistoryEntry(row.id, "disconnection", code=code, detail={"n": code}))
        for code in range(400, 407)
    ]
    first = history.page(tx, row.id, limit=3)
    second = history.page(tx, row.id, before=first[-1].id, limit=3)
    third = history.page(tx, row.id, before=second[-1].id, limit=3)
    assert [*first, *second, *third] == list(reversed(entries))


def test_history_is_of_one_instance(tx: Tx) -> None:
    one = instances.insert(tx, Instance(name="a", token="t"))
    other = instances.insert(tx, Instance(name="b", token="u"))
    history.append(tx, HistoryEntry(one.id, "recovery"))
    assert history.page(tx, other.id) == []


def test_the_same_code_is_counted_since_a_time(at: Callable[[float], Tx]) -> None:
    row = instances.insert(at(NOW), Instance(name="a", token="t"))
    for age, code in [(100, 428), (50, 428), (50, 503), (10, 428)]:
        history.append(at(NOW - age), HistoryEntry(row.id, "disconnection", code=code))
    history.append(at(NOW), HistoryEntry(row.id, "recovery", code=428))
    assert history.count_same_code(at(NOW), row.id, 428, NOW - 50) == 2
    assert history.count_same_code(at(NOW), row.id, 428, 0) == 3
    assert history.count_same_code(at(NOW), row.id, 440, 0) == 0


def test_history_of_an_unknown_instance_is_refused(tx: Tx) -> None:
    with pytest.raises(peewee.IntegrityError):
        history.append(tx, HistoryEntry("gone", "recovery"))


def test_clean_ups_stay_until_they_are_done(tx: Tx) -> None:
    first = cleanups.add(tx, "i", {"files": ["a"]})
    second = cleanups.add(tx, "i", {"rows": True})
    assert cleanups.pending(tx) == [first, second]
    assert cleanups.done(tx, first.id)
    assert not cleanups.done(tx, first.id)
    assert cleanups.pending(tx) == [second]


def event(tx: Tx, instance: Instance, *destinations: str) -> str:
    targets = [Target(destination, "instance") for destination in destinations]
    return append(
        tx, instance_id=instance.id, instance_name=instance.name, event="e", data={}, targets=targets
    )


def test_a_deletion_takes_everything_but_what_is_still_to_be_delivered(at: Callable[[float], Tx]) -> None:
    tx = at(NOW)
    row = instances.insert(tx, Instance(name="a", token="t"))
    other = instances.insert(tx, Instance(name="b", token="u"))
    history.append(tx, HistoryEntry(row.id, "recovery"))
    event(tx, row)
    event(tx, row, "settled")
    waiting = event(tx, row, "waiting")
    event(tx, other, "other")
    cleanups.add(tx, row.id, {})
    settle(tx, [Settled(1, "delivered", 3)])
    assert instances.delete(tx, row.id)
    assert not instances.delete(tx, row.id)
    assert count(tx, "history") == 0
    assert [one.id for one in events_after(tx, 0, 10, instance_id=row.id)] == [waiting]
    assert count(tx, "delivery") == 2
    assert count(tx, "cleanup") == 1
    sweep(at(NOW + ORPHAN_SECONDS + 1), 0)
    assert count(tx, "event") == 2
    settle(tx, [Settled(2, "delivered", 1)])
    sweep(at(NOW + ORPHAN_SECONDS + 1), 0)
    assert events_after(tx, 0, 10, instance_id=row.id) == []
    assert count(tx, "delivery") == 1


def test_the_last_events_of_a_deleted_instance_can_be_read_for_a_moment(at: Callable[[float], Tx]) -> None:
    tx = at(NOW)
    row = instances.insert(tx, Instance(name="a", token="t"))
    instances.delete(tx, row.id)
    event(tx, row)
    sweep(at(NOW + ORPHAN_SECONDS - 1), 0)
    assert count(tx, "event") == 1
    sweep(at(NOW + ORPHAN_SECONDS + 1), 0)
    assert count(tx, "event") == 0


def test_retention(at: Callable[[float], Tx]) -> None:
    """Delivered events go after a day, failed ones with the history, and what waits goes never."""
    tx = at(NOW)
    row = instances.insert(tx, Instance(name="a", token="t"))
    history.append(tx, HistoryEntry(row.id, "recovery"))
    for destination in ("delivered", "failed", "pending"):
        event(tx, row, destination)
    settle(tx, [Settled(1, "delivered", 1), Settled(2, "failed", 10, "HTTP 500")])
    sweep(at(NOW + DELIVERED_SECONDS - 1), 0)
    assert count(tx, "delivery") == 3
    sweep(at(NOW + DELIVERED_SECONDS + 1), 0)
    assert [view.status for view in page(tx).deliveries] == ["pending", "failed"]
    assert count(tx, "history") == 1
    sweep(at(NOW + HISTORY_SECONDS + 1), 0)
    assert [view.status for view in page(tx).deliveries] == ["pending"]
    assert count(tx, "history") == 0
    assert count(tx, "instance") == 1


def test_a_sweep_looks_at_a_bounded_number_of_events_and_goes_on_where_it_was(
    at: Callable[[float], Tx], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.store.retention.WINDOW", 3)
    tx = at(NOW)
    row = instances.insert(tx, Instance(name="a", token="t"))
    for _ in range(4):
        event(tx, row, "waiting")
    for _ in range(3):
        event(tx, row)
    later = at(NOW + DELIVERED_SECONDS + 1)
    assert sweep(later, 0) == 3
    assert count(later, "event") == 7
    assert sweep(later, 3) == 6
    assert count(later, "event") == 5
    assert sweep(later, 6) == 0
    assert count(later, "event") == 4
    assert sweep(later, 4) == 0


def test_numbers_of_deleted_rows_are_not_given_out_again(backend: Backend, tx: Tx) -> None:
    row = instances.insert(tx, Instance(name="a", token="t"))
    event(tx, row, "x")
    execute(tx._database, "DELETE FROM event")
    event(tx, row, "x")
    assert events_after(tx, 0, 10)[0].seq == 2
    assert page(tx).deliveries[0].id == 2

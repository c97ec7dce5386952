"""The outbox's rows: queues, outcomes, secrets, pages, replays, and webhooks that change."""

from __future__ import annotations

from functools import partial
from typing import Any

import peewee
import pytest

from actors.store import Backend, Instance, Outcome, Tx, instances, outbox
from actors.store import deliveries as mended
from actors.store.deliveries import MAX_EVENTS, newest, page, replay, retarget_global, retarget_pending
from actors.store.group import Group
from actors.store.outbox import (
    EVENT_TOPIC,
    Settlement,
    Target,
    append,
    backlog,
    events_after,
    lanes,
    pending_after,
    pending_of_instance,
    settle,
    still_pending,
)
from actors.store.retention import blank_secrets
from api.schemas.operations import MAX_REPLAY

NOW = 1_700_000_000.0


@pytest.fixture
def tx(writer: peewee.Database) -> Tx:
    tx = Tx(writer, NOW)
    for name in "ab":
        instances.insert(tx, Instance(name=name, token=name, id=name))
    return tx


def emit(
    tx: Tx, instance: str, *destinations: str, scope: Any = "instance", name: str | None = None, **more: Any
) -> str:
    targets = [Target(destination, scope, {"of": destination}) for destination in destinations]
    return append(
        tx,
        instance_id=instance,
        instance_name=name or instance,
        event="e",
        data={"x": 1},
        targets=targets,
        **more,
    )


def ids(tx: Tx, destination: str, after: int = 0, limit: int = 100, **more: Any) -> list[int]:
    return [pending.id for pending in pending_after(tx, destination, after, limit, **more)[0]]


def test_each_target_gets_a_delivery(tx: Tx) -> None:
    event_id = emit(tx, "a", "one", "two")
    assert sorted(lanes(tx)) == ["one", "two"]
    (pending,), last = pending_after(tx, "two", 0, 10)
    assert (pending.event.id, pending.target, pending.attempts, last) == (event_id, {"of": "two"}, 0, 2)
    assert tx.topics == {EVENT_TOPIC, "lane:one", "lane:two"}


def test_a_queue_is_read_in_order_from_an_id_on(tx: Tx) -> None:
    for _ in range(5):
        emit(tx, "a", "one")
    assert ids(tx, "one", after=2, limit=2) == [3, 4]


def test_instances_can_be_passed_over_and_how_far_was_looked_is_told(tx: Tx) -> None:
    for instance in "abaab":
        emit(tx, instance, "one")
    assert ids(tx, "one", skip={"a"}) == [2, 5]
    assert pending_after(tx, "one", 0, 10, skip={"a", "b"}) == ([], 5)
    assert pending_after(tx, "one", 0, 1, skip={"a"})[1] == 2
    assert pending_after(tx, "one", 5, 10, skip={"a"}) == ([], 5)


def test_a_stream_is_read_between_two_ids(tx: Tx) -> None:
    for instance in "ababab":
        emit(tx, instance, "one")
    found = pending_of_instance(tx, "one", "a", after=1, up_to=5, limit=10)
    assert [pending.id for pending in found] == [3, 5]


def test_outcomes_are_recorded(tx: Tx) -> None:
    for _ in range(3):
        emit(tx, "a", "one")
    settle(
        tx,
        [
            Settlement(1, "delivered", 2),
            Settlement(2, "failed", 10, "HTTP 500"),
            Settlement(3, "pending", 1, "HTTP 503", NOW + 5),
        ],
    )
    seen = {
        view.id: (view.status, view.attempts, view.last_error, view.delivered_at)
        for view in page(tx).deliveries
    }
    assert seen == {
        1: ("delivered", 2, None, NOW),
        2: ("failed", 10, "HTTP 500", None),
        3: ("pending", 1, "HTTP 503", None),
    }
    (pending,), _ = pending_after(tx, "one", 0, 10)
    assert (pending.id, pending.attempts, pending.next_at) == (3, 1, NOW + 5)
    assert backlog(tx) == (1, NOW)


def test_without_a_backlog_there_is_no_oldest(tx: Tx) -> None:
    assert backlog(tx) == (0, None)


def secrets(tx: Tx) -> list[Any]:
    return [event.secret for event in events_after(tx, 0, 10)]


def test_a_secret_is_emptied_when_it_is_delivered_everywhere(tx: Tx) -> None:
    emit(tx, "a", "one", "two", secret={"code": "hush"}, secret_until=NOW + 60)
    settle(tx, [Settlement(1, "delivered", 1)])
    assert secrets(tx) == [{"code": "hush"}]
    settle(tx, [Settlement(2, "delivered", 1)])
    assert secrets(tx) == [None]


def test_a_secret_is_emptied_when_it_is_of_no_more_use(tx: Tx, writer: peewee.Database) -> None:
    emit(tx, "a", "one", secret={"code": "hush"}, secret_until=NOW + 60)
    assert blank_secrets(Tx(writer, NOW + 59)) == 0
    assert blank_secrets(Tx(writer, NOW + 60)) == 1
    assert secrets(tx) == [None]
    (pending,), _ = pending_after(tx, "one", 0, 10)
    assert pending.event.data == {"x": 1}


def test_a_secret_that_nobody_waits_for_goes_with_its_time(tx: Tx, writer: peewee.Database) -> None:
    emit(tx, "a", secret={"code": "hush"}, secret_until=NOW + 60)
    assert blank_secrets(Tx(writer, NOW + 61)) == 1


def test_pages_follow_each_other(tx: Tx) -> None:
    for _ in range(5):
        emit(tx, "a", "one")
    seen, cursor = [], None
    while True:
        found = page(tx, limit=2, cursor=cursor)
        seen += [view.id for view in found.deliveries]
        cursor = found.next
        if cursor is None:
            break
    assert seen == [5, 4, 3, 2, 1]


def test_a_page_can_be_of_one_instance_or_status(tx: Tx) -> None:
    for instance in "aab":
        emit(tx, instance, "one")
    settle(tx, [Settlement(1, "failed", 1, "HTTP 401")])
    assert [view.id for view in page(tx, instance="a").deliveries] == [2, 1]
    assert [view.id for view in page(tx, instance="a", status="failed").deliveries] == [1]
    assert page(tx, instance="none").deliveries == []


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "\u0663"])
def test_a_cursor_that_no_page_gave_is_refused(tx: Tx, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        page(tx, cursor=cursor)


def test_a_page_does_not_show_what_keys_stand_in(tx: Tx) -> None:
    emit(tx, "a", "https://user:hush@host:8443/p?key=hush")
    assert page(tx).deliveries[0].destination == "https://host:8443/p?…"


def test_one_who_has_the_name_of_a_deleted_instance_has_nothing_of_its_deliveries(tx: Tx) -> None:
    emit(tx, "a", "one")
    instances.delete(tx, "a")
    fail(tx, 1)
    instances.insert(tx, Instance(name="a", token="another", id="second a"))
    emit(tx, "second a", "one", name="a")
    fail(tx, 2)
    assert [view.id for view in page(tx, instance="a", instance_id="second a").deliveries] == [2]
    assert [view.id for view in page(tx, instance="a").deliveries] == [2, 1]
    assert replay(tx, instance="a", instance_id="second a", destination="one") == 1
    assert [view.id for view in page(tx, status="failed").deliveries] == [1]


def fail(tx: Tx, *numbers: int) -> None:
    settle(tx, [Settlement(number, "failed", 10, "HTTP 401") for number in numbers])


def test_replayed_deliveries_go_behind_what_waits_in_their_old_order_with_their_ids(tx: Tx) -> None:
    events = [emit(tx, "a", "one") for _ in range(4)]
    fail(tx, 1, 3)
    assert replay(tx) == 2
    pending, _ = pending_after(tx, "one", 0, 10)
    assert [one.event.id for one in pending] == [events[1], events[3], events[0], events[2]]
    assert [one.attempts for one in pending] == [0, 0, 0, 0]
    assert page(tx, status="failed").deliveries == []


def test_a_replay_can_be_of_some(tx: Tx) -> None:
    first = emit(tx, "a", "https://u:p@one/x")
    emit(tx, "b", "https://u:p@one/x")
    emit(tx, "b", "https://two/")
    fail(tx, 1, 2, 3)
    assert replay(tx, event_ids=[first]) == 1
    assert replay(tx, event_ids=["none"]) == 0
    assert replay(tx, instance="b", destination="https://one/x") == 1
    assert replay(tx, destination="https://one/x") == 0
    assert [view.destination for view in page(tx, status="failed").deliveries] == ["https://two/"]


def test_a_replay_follows_the_webhook_that_is_set_now(tx: Tx) -> None:
    emit(tx, "a", "old")
    emit(tx, "a", "host", scope="global")
    fail(tx, 1, 2)
    assert replay(tx, retarget=lambda _tx, instance: Target("new", "instance", {"to": instance})) == 2
    assert sorted(lanes(tx)) == ["host", "new"]
    assert pending_after(tx, "new", 0, 10)[0][0].target == {"to": "a"}
    assert "lane:new" in tx.topics


def test_a_replay_is_done_in_chunks(tx: Tx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mended, "REPLAY_CHUNK", 2)
    for _ in range(3):
        emit(tx, "a", "one")
    fail(tx, 1, 2, 3)
    assert [replay(tx), replay(tx), replay(tx)] == [2, 1, 0]


def test_a_replay_leaves_what_failed_after_it_began(tx: Tx) -> None:
    for _ in range(3):
        emit(tx, "a", "one")
    fail(tx, 1, 2)
    began = newest(tx)
    fail(tx, emitted_after(tx))
    assert replay(tx, up_to=began) == 2
    assert [view.id for view in page(tx, status="failed").deliveries] == [4]


def emitted_after(tx: Tx) -> int:
    emit(tx, "a", "one")
    return newest(tx)


def test_as_many_events_as_a_request_may_name_are_all_replayed_and_more_are_refused(tx: Tx) -> None:
    events = [emit(tx, "a", "one") for _ in range(MAX_EVENTS)]
    fail(tx, *range(1, MAX_EVENTS + 1))
    assert MAX_REPLAY == MAX_EVENTS
    with pytest.raises(ValueError, match="event_ids"):
        replay(tx, event_ids=[*events, "one more"])
    assert replay(tx, event_ids=events) == MAX_EVENTS


def test_what_waits_follows_a_webhook_that_is_changed(tx: Tx) -> None:
    events = [emit(tx, "a", "old") for _ in range(3)]
    emit(tx, "b", "old")
    emit(tx, "a", "old", scope="global")
    settle(tx, [Settlement(1, "delivered", 1)])
    assert retarget_pending(tx, "a", Target("new", "instance", {"base64": True})) == 2
    pending, _ = pending_after(tx, "new", 0, 10)
    assert [one.event.id for one in pending] == events[1:]
    assert [one.target for one in pending] == [{"base64": True}] * 2
    assert ids(tx, "old") == [4, 5]
    assert retarget_pending(tx, "none", Target("new", "instance")) == 0


def test_what_waits_fails_when_the_webhook_is_switched_off_and_can_be_replayed(tx: Tx) -> None:
    emit(tx, "a", "old")
    assert retarget_pending(tx, "a", None) == 1
    (view,) = page(tx).deliveries
    assert (view.status, view.last_error) == ("failed", "the webhook was switched off or its URL removed")
    assert replay(tx) == 1


def test_what_waits_for_a_host_wide_webhook_that_is_gone_goes_to_the_present_one(tx: Tx) -> None:
    emit(tx, "a", "gone", scope="global")
    emit(tx, "a", "kept", scope="global")
    emit(tx, "a", "gone")
    assert retarget_global(tx, ["kept", "now"], Target("now", "global")) == 1
    assert (ids(tx, "now"), ids(tx, "kept"), ids(tx, "gone")) == ([4], [2], [3])
    assert retarget_global(tx, [], None) == 2
    assert [view.id for view in page(tx, status="failed").deliveries] == [4, 2]


def test_many_events_appended_together_keep_their_order_and_everything_of_theirs(
    backend: Backend, writer: peewee.Database
) -> None:
    group = Group(writer, backend, lambda: NOW)
    told: list[Outcome] = []
    for number in range(50):
        instance = "ab"[number % 2]
        group.run(partial(numbered, instance=instance, number=number), told.append)
    group.commit()
    tx = Tx(writer, NOW)
    (first, *rest), _ = pending_after(tx, "all", 0, 100)
    assert [pending.event.id for pending in (first, *rest)] == [outcome.value for outcome in told]
    assert [pending.event.seq for pending in rest] == sorted(pending.event.seq for pending in rest)
    assert [pending.event.data for pending in (first, *rest)] == [{"number": n} for n in range(50)]
    assert first.event.secret == {"code": "é\u2028'\\"}
    assert (first.event.secret_until, first.event.sender, first.event.created_at) == (NOW + 60, None, NOW)
    assert [pending.event.data for pending in pending_after(tx, "b", 0, 100)[0]] == [
        {"number": n} for n in range(1, 50, 2)
    ]


def numbered(tx: Tx, *, instance: str, number: int) -> str:
    return append(
        tx,
        instance_id=instance,
        instance_name=instance,
        event="e",
        data={"number": number},
        secret={"code": "é\u2028'\\"},
        secret_until=tx.now + 60,
        targets=[Target("all", "global"), Target(instance, "instance", {"byEvents": True})],
    )


def test_an_event_without_a_destination_is_appended(backend: Backend, writer: peewee.Database) -> None:
    group = Group(writer, backend, lambda: NOW)
    group.run(lambda tx: emit(tx, "a"), lambda _: None)
    group.commit()
    tx = Tx(writer, NOW)
    assert [event.instance_id for event in events_after(tx, 0, 10)] == ["a"]
    assert backlog(tx) == (0, None)


def test_the_secret_of_an_event_that_was_read_without_one_is_not_looked_for(tx: Tx) -> None:
    emit(tx, "a", "one", secret={"code": "c"}, secret_until=NOW + 60)
    settle(tx, [Settlement(1, "delivered", 1, secret=False)])
    assert events_after(tx, 0, 10)[0].secret == {"code": "c"}
    settle(tx, [Settlement(1, "delivered", 1)])
    assert events_after(tx, 0, 10)[0].secret is None


def test_more_outcomes_than_a_statement_takes_are_recorded(
    tx: Tx, writer: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "CHUNK", 7)
    for _ in range(30):
        emit(tx, "a", "one", secret={"code": "c"}, secret_until=NOW + 60)
    together = Tx(writer, NOW, {})
    settle(together, [Settlement(id, "delivered", 1) for id in range(1, 31)])
    assert backlog(tx) == (30, NOW)
    together.flush()
    assert backlog(tx) == (0, None)
    assert {event.secret is None for event in events_after(tx, 0, 100)} == {True}


def test_a_list_of_any_length_takes_one_of_a_few_statements(
    tx: Tx, writer: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver keeps what it has prepared: a text for each length would be what fills its memory."""
    seen: set[str] = set()
    run: Any = writer.execute_sql

    def noted(statement: str, *args: Any, **more: Any) -> Any:
        seen.add(statement)
        return run(statement, *args, **more)

    sizes = range(1, 20)
    for _ in range(sum(sizes)):
        emit(tx, "a", "one", secret={"code": "c"}, secret_until=NOW + 60)
    waiting = ids(tx, "one", limit=1000)
    monkeypatch.setattr(writer, "execute_sql", noted)
    for size in sizes:
        some, waiting = waiting[:size], waiting[size:]
        assert still_pending(tx, some) == set(some)
        together = Tx(writer, NOW, {})
        settle(together, [Settlement(id, "delivered", 1) for id in some])
        together.flush()
        assert not still_pending(tx, some)
        assert backlog(tx)[0] == len(waiting)
    assert {event.secret is None for event in events_after(tx, 0, 1000)} == {True}
    lengths = len({1, 2, 4, 8, 16, 32})
    for beginning in ("SELECT id FROM delivery", "UPDATE delivery", 'UPDATE "event"'):
        assert 1 <= sum(text.startswith(beginning) for text in seen) <= lengths


def test_the_failed_list_outlives_the_instance(tx: Tx) -> None:
    for _ in range(3):
        emit(tx, "a", "one", scope="global")
    settle(tx, [Settlement(1, "failed", 10, "HTTP 500"), Settlement(2, "delivered", 1)])
    assert instances.delete(tx, "a")
    assert [(view.id, view.status) for view in page(tx).deliveries] == [(3, "pending"), (1, "failed")]
    assert replay(tx, instance="a") == 1

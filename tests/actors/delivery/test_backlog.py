"""The window of a lane: bounded, in order for each instance, and nothing is ever passed over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.delivery.backlog import Backlog, Job, LoadNew, LoadStream

WINDOW, STREAM_WINDOW, BATCH = 6, 3, 2


@dataclass(frozen=True)
class Row:
    id: int
    stream: str | None
    due: float | None = None
    attempts: int = 0


class Database:
    """The queue of one destination, as SQL would answer."""

    def __init__(self) -> None:
        self.pending: dict[int, Row] = {}
        self.last = 0

    def append(self, stream: str | None, due: float | None = None) -> None:
        self.last += 1
        self.pending[self.last] = Row(self.last, stream, due)

    def new(self, wanted: LoadNew) -> tuple[list[Row], int]:
        lane = [row for row in self.pending.values() if row.id > wanted.after]
        rows = [row for row in lane if row.stream not in wanted.skip][: wanted.limit]
        if len(rows) == wanted.limit or not wanted.skip:
            return rows, rows[-1].id if rows else wanted.after
        return rows, max((row.id for row in lane), default=wanted.after)

    def stream(self, wanted: LoadStream) -> list[Row]:
        rows = [
            row
            for row in self.pending.values()
            if row.stream == wanted.key and wanted.after < row.id <= wanted.up_to
        ]
        return rows[: wanted.limit]


def load(backlog: Backlog[Row], database: Database) -> None:
    while (wanted := backlog.want()) is not None:
        match wanted:
            case LoadNew():
                rows, last = database.new(wanted)
                backlog.fill(rows, wanted.limit, last)
            case LoadStream():
                backlog.fill_stream(wanted.key, database.stream(wanted), wanted.limit)


def new_backlog() -> Backlog[Row]:
    return Backlog(WINDOW, STREAM_WINDOW, BATCH)


class Lanes(RuleBasedStateMachine):
    """A lane's life: rows come, jobs go out and come back, some to be tried again, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog, self.database = new_backlog(), Database()
        self.now = 0.0
        self.jobs: list[Job[Row]] = []
        self.settled: list[Row] = []

    @rule(stream=st.sampled_from(["a", "b", "c", None]), count=st.integers(1, 8))
    def rows_come(self, stream: str | None, count: int) -> None:
        for _ in range(count):
            self.database.append(stream)
        self.backlog.hint()

    @rule(stream=st.sampled_from(["a", "b", "d"]), delay=st.integers(-2, 5))
    def a_row_with_a_retry_ahead_comes(self, stream: str, delay: int) -> None:
        self.database.append(stream, self.now + delay)
        self.backlog.hint()

    @rule(seconds=st.integers(0, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(early=st.booleans())
    def a_job_goes_out(self, early: bool) -> None:
        load(self.backlog, self.database)
        job = self.backlog.take(self.now, early=early)
        if job is not None:
            assert job.key not in [other.key for other in self.jobs], "one attempt at a time in a stream"
            first = min(row.id for row in self.database.pending.values() if row.stream == job.key)
            assert job.rows[0].id == first, "in order, with none passed over"
            ids = [row.id for row in job.rows]
            expected = sorted(id for id, row in self.database.pending.items() if row.stream == job.key)
            assert ids == expected[: len(ids)]
            self.jobs.append(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), again=st.booleans(), soft=st.booleans(), delay=st.integers(0, 4))
    def a_job_comes_back(self, data: st.DataObject, again: bool, soft: bool, delay: int) -> None:
        job = self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1)))
        count = data.draw(st.integers(0, len(job.rows) - (1 if again else 0)))
        for row in job.rows[:count]:
            del self.database.pending[row.id]
            self.settled.append(row)
        self.backlog.settle(job.key, count)
        if again:
            head = replace(job.rows[count], attempts=job.rows[count].attempts + 1, due=None)
            self.backlog.retry(job.key, head, self.now + delay, soft=soft)
        self.backlog.release(job.key)

    @rule()
    def the_destination_is_back(self) -> None:
        self.backlog.wake_soft()

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.backlog.held <= WINDOW + STREAM_WINDOW + 4

    def teardown(self) -> None:
        """However it went, everything can still be delivered, once and in order."""
        for job in self.jobs:
            self.backlog.release(job.key)
        for _ in range(10_000):
            load(self.backlog, self.database)
            taken = self.backlog.take(self.now)
            if taken is None:
                due = self.backlog.next_due()
                if due is None:
                    break
                self.now = due
                continue
            for row in taken.rows:
                del self.database.pending[row.id]
                self.settled.append(row)
            self.backlog.settle(taken.key, len(taken.rows))
            self.backlog.release(taken.key)
        assert self.database.pending == {}
        assert self.backlog.empty
        assert self.backlog.held == 0
        for stream in {row.stream for row in self.settled}:
            ids = [row.id for row in self.settled if row.stream == stream]
            assert ids == sorted(set(ids))


Lanes.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLanes = Lanes.TestCase


def test_a_stream_that_waits_holds_one_delivery_and_the_others_go_on() -> None:
    backlog, database = new_backlog(), Database()
    for _ in range(50):
        database.append("down")
    for _ in range(5):
        database.append("up")
    load(backlog, database)
    job = backlog.take(0)
    assert job
    assert job.key == "down"
    backlog.retry("down", job.rows[0], 100.0, soft=True)
    backlog.release("down")
    load(backlog, database)
    job = backlog.take(0)
    assert job
    assert job.key == "up"
    assert backlog.held <= 1 + STREAM_WINDOW


def test_streams_take_turns() -> None:
    backlog, database = new_backlog(), Database()
    for _ in range(3):
        for stream in "ab":
            database.append(stream)
    load(backlog, database)
    order = []
    while (job := backlog.take(0)) is not None:
        order.append((job.key, [row.id for row in job.rows]))
        backlog.settle(job.key, len(job.rows))
        backlog.release(job.key)
    assert order == [("a", [1, 3]), ("b", [2, 4]), ("a", [5]), ("b", [6])]


def test_what_was_to_be_tried_later_before_a_restart_is_tried_later_after_it() -> None:
    backlog, database = new_backlog(), Database()
    database.append("a", due=50.0)
    database.append("a")
    load(backlog, database)
    assert backlog.take(49.0) is None
    assert backlog.next_due() == 50.0
    job = backlog.take(50.0)
    assert job
    assert job.rows[0].id == 1


def test_the_first_probe_is_the_stream_that_is_due_first() -> None:
    backlog, database = new_backlog(), Database()
    database.append("late", due=50.0)
    database.append("soon", due=10.0)
    load(backlog, database)
    job = backlog.take(0.0, early=True)
    assert job
    assert job.key == "soon"
    assert len(job.rows) == 1

"""The lane of one destination: takes what waits for it from the outbox, has it sent, records what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from actors.delivery.backlog import BATCH, Backlog, LoadNew, LoadStream
from actors.delivery.breaker import Breaker, Circuit
from actors.delivery.context import Delivered, Delivering, Idle, Poke, Withdrawn, webhook_settings
from actors.delivery.outcome import RETRY_AFTER_LIMIT, Outcome, Result
from actors.delivery.policy import longest_delay, retry_delay
from actors.delivery.turns import IdleCheck, Settled, Stable, Verdict, Wake
from actors.delivery.worker import Entry, Progress, Worker
from actors.store import Outcome as Written
from actors.store import StoreUnavailable, Tx, Write, outbox
from actors.store.outbox import Pending, Settlement
from supervisor.otp import Actor, ExitReason, MailboxFull, Recovered, Timer

BREAKER_THRESHOLD = 5
"""Failures in a row after which a destination is left alone."""

LANE_WORKERS = 8
"""Requests to one destination at a time, at most."""

REPORTS_LIMIT = LANE_WORKERS * BATCH
"""Reports that may be in a lane's mailbox: a worker sends no more of a job than there are deliveries in it."""

SLOW = 0.005
"""Seconds an attempt may take before another worker is worth its thread."""

STORE_RETRY = 0.5
"""Seconds after which a store that was busy is asked again."""

UNSETTLED_LIMIT = 1024
"""Outcomes that may wait to be recorded before nothing more is sent."""

READ_DEADLINE = 10.0
STOP_SECONDS = 2.0
STABLE_SECONDS = 60.0

IDLE_SECONDS = 60.0
"""How long a lane with nothing to do stays."""


class Lane(Actor):
    """Delivers to one destination: in order for each instance, concurrently for several, at least once.

    A failed delivery is tried again after a growing delay; meanwhile the later ones of its instance wait, and
    those of other instances go on. After `BREAKER_THRESHOLD` failures in a row, whoever's they are, the
    destination is left alone and then probed with one delivery at a time; probes that find it unreachable do
    not use up the delivery's attempts, so that a receiver may be down for longer than a delivery has attempts.
    """

    trap_exit = True  # Told to stop, it first records what has been sent.
    mailbox_limit = None  # Each worker sends one report at a time; the dispatcher pokes no lane that lags.

    def init(self, destination: str, context: Delivering, supervisor: str, dispatcher: str) -> None:
        """Begin with what the outbox holds.

        Args:
            destination: the URL that the deliveries name.
            supervisor: the path of the lanes' supervisor.
            dispatcher: the path of the one who pokes the lanes.
        """
        self._destination = destination
        self._context = context
        self._supervisor, self._dispatcher = supervisor, dispatcher
        self._settings = webhook_settings(context.settings)
        self._backlog: Backlog[Entry] = Backlog()
        self._breaker = Breaker(BREAKER_THRESHOLD, partial(retry_delay, context.settings.webhook))
        self._idle_workers: list[Worker] = []
        self._workers: set[Worker] = set()
        self._unsettled: list[Settlement] = []
        self._settling = 0
        self._timer: tuple[float, Timer] | None = None
        self._poke = 0
        self._gone: frozenset[int] = frozenset()
        self._was_idle = self._resumed = self._refused = self._doubtful = False
        self.send_after(STABLE_SECONDS, Stable())
        self.send_after(IDLE_SECONDS, IdleCheck())
        self.ref.cast(Poke(0))

    def handle_cast(self, message: object) -> None:
        match message:
            case Poke(number=number):
                self._poke = max(self._poke, number)
                self._backlog.hint()
            case Withdrawn():
                self._doubtful = True
            case Progress():
                self._progress(message)
            case Settled(settlements=settlements, error=error):
                self._settled(settlements, error)
            case _:
                super().handle_cast(message)
        self._pump()

    def handle_info(self, message: object) -> None:
        match message:
            case Wake():
                self._timer = None
                self._pump()
            case IdleCheck():
                self._check_idle()
            case Stable():
                self.system.cast(self._supervisor, Recovered(self.path.rpartition("/")[2]))
            case _:
                super().handle_info(message)

    def terminate(self, reason: ExitReason) -> None:
        for worker in self._workers:
            worker.stop()
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            worker.join(max(deadline - time.monotonic(), 0.0))
            for entry, outcome in worker.take_outcomes():
                if outcome.result is not Result.WITHDRAWN:
                    self._record(entry, outcome)
        if self._unsettled:
            self.system.cast(self._context.store, Write(partial(_settle, self._unsettled)))

    # --- what to send ---

    def _pump(self) -> None:
        """Do everything that can be done now, and see to it that the lane wakes when more can be."""
        self._settle()
        while self._load() and self._send():
            pass
        self._set_timer()

    def _load(self) -> bool:
        """Read what is wanted. False if the store cannot be read now."""
        try:
            if self._doubtful:
                self._look_what_is_gone()
            while (wanted := self._backlog.want()) is not None:
                match wanted:
                    case LoadNew(limit=limit):
                        rows, last = self._read_new(wanted)
                        self._backlog.fill(self._entries(rows), limit, last)
                    case LoadStream(key=key, limit=limit):
                        self._backlog.fill_stream(key, self._entries(self._read_stream(wanted)), limit)
        except StoreUnavailable as error:
            self.log.warning("the outbox cannot be read now: %s", error)
            self._wake_in(STORE_RETRY)
            return False
        return True

    def _look_what_is_gone(self) -> None:
        """Find what is held and waits no more. The workers pass over it, so that each stream keeps its order."""
        held = self._backlog.ids
        waiting = self._context.reader.query(lambda tx: outbox.still_pending(tx, held), READ_DEADLINE)
        self._tell_what_is_gone(frozenset(held) - waiting)
        self._doubtful = False

    def _tell_what_is_gone(self, gone: frozenset[int]) -> None:
        self._gone = gone
        for worker in self._workers:
            worker.withdrawn = gone

    def _read_new(self, wanted: LoadNew) -> tuple[list[Pending], int]:
        return self._context.reader.query(
            lambda tx: outbox.pending_after(
                tx, self._destination, wanted.after, wanted.limit, skip=wanted.skip
            ),
            READ_DEADLINE,
        )

    def _read_stream(self, wanted: LoadStream) -> list[Pending]:
        return self._context.reader.query(
            lambda tx: outbox.pending_of_instance(
                tx,
                self._destination,
                wanted.key,
                after=wanted.after,
                up_to=wanted.up_to,
                limit=wanted.limit,
            ),
            READ_DEADLINE,
        )

    def _entries(self, rows: Sequence[Pending]) -> list[Entry]:
        now, wall = self.clock.monotonic(), self.clock.wall()
        entries = []
        for row in rows:
            settings = self._settings(row.event.instance_name)
            longest = max(settings.max_delay * 2, RETRY_AFTER_LIMIT)
            left = 0.0 if row.next_at is None else min(row.next_at - wall, longest)
            entries.append(Entry(row, now + left if left > 0 else None))
            if left > longest_delay(settings, row.attempts):
                self._breaker.pause(now + left)  # So long it waits only if the destination asked for it.
        if entries and not self._resumed:
            self._resumed = True
            self._breaker.remember(entries[0].pending.attempts, entries[0].due or now)
        return entries

    def _send(self) -> bool:
        """Give out what can go out now. Whether there was something."""
        given = False
        while len(self._unsettled) < UNSETTLED_LIMIT and self._breaker.allows(self._in_flight, self._now):
            probing = self._breaker.circuit is not Circuit.CLOSED
            worker = self._free_worker()
            if worker is None:
                break
            job = self._backlog.take(self._now, early=probing)
            if job is None:
                self._idle_workers.append(worker)
                break
            self._breaker.sent()
            worker.give(job)
            given = True
        return given

    @property
    def _now(self) -> float:
        return self.clock.monotonic()

    @property
    def _in_flight(self) -> int:
        return len(self._workers) - len(self._idle_workers)

    # --- workers ---

    def _free_worker(self) -> Worker | None:
        if self._idle_workers:
            return self._idle_workers.pop()
        if not self._workers:
            return self._start_worker(lambda: None)
        if not self._wants_more_workers():
            return None
        extra = self._context.extra_workers
        self._refused = not extra.acquire(blocking=False)
        if self._refused:
            return None
        try:
            return self._start_worker(extra.release)
        except BaseException:
            extra.release()
            raise

    def _wants_more_workers(self) -> bool:
        """Whether a healthy destination is slow enough for another request at a time to help."""
        return self._wants_to_grow and all(worker.busy_for > SLOW for worker in self._workers)

    def _start_worker(self, ended: Callable[[], None]) -> Worker:
        number = len(self._workers)
        worker = Worker(
            f"{self.path}#{number}",
            self._context.courier(),
            self._settings,
            self.ref.cast,
            ended,
        )
        worker.withdrawn = self._gone
        self._workers.add(worker)
        worker.start()
        return worker

    def _let_extra_workers_go(self) -> None:
        while len(self._workers) > 1 and self._idle_workers:
            worker = self._idle_workers.pop()
            self._workers.discard(worker)
            worker.stop()

    # --- what came of it ---

    def _progress(self, progress: Progress) -> None:
        key = progress.key
        for entry, outcome in progress.worker.take_outcomes():
            if outcome.result is Result.WITHDRAWN:
                self._backlog.settle(key, 1)
                self._tell_what_is_gone(self._gone - {entry.id})
                continue
            verdict = self._record(entry, outcome)
            if verdict.delay is None:
                self._backlog.settle(key, 1)
            else:
                head = Entry(replace(entry.pending, attempts=verdict.settlement.attempts))
                soft = outcome.result is Result.UNAVAILABLE
                self._backlog.retry(key, head, self._now + verdict.delay, soft=soft)
        if progress.finished:
            self._idle_workers.append(progress.worker)
            self._backlog.release(key)

    def _record(self, entry: Entry, outcome: Outcome) -> Verdict:
        verdict = self._judge(entry.pending, outcome)
        settlement = verdict.settlement
        self._unsettled.append(settlement)
        event = entry.pending.event
        self._context.observe(
            Delivered(
                event.instance_name, event.event, settlement.status, self.clock.wall() - event.created_at
            )
        )
        return verdict

    def _judge(self, pending: Pending, outcome: Outcome) -> Verdict:
        """What an outcome means for the delivery and for the destination."""
        match outcome.result:
            case Result.DELIVERED:
                self._answered()
                return Verdict(outbox.taken(pending))
            case Result.REJECTED:
                self._answered()
                self.log.warning("event %s was refused: %s", pending.event.id, outcome.error)
                return Verdict(Settlement(pending.id, "failed", pending.attempts + 1, outcome.error))
        settings = self._settings(pending.event.instance_name)
        probe = self._breaker.circuit is not Circuit.CLOSED
        attempts = pending.attempts + (0 if probe and outcome.spared else 1)
        self._breaker.failed(self._now)
        if outcome.retry_after is not None and outcome.result is Result.UNAVAILABLE:
            self._breaker.pause(self._now + outcome.retry_after)
        if attempts >= settings.max_attempts and attempts > pending.attempts:
            self.log.warning(
                "event %s failed after %d attempts: %s", pending.event.id, attempts, outcome.error
            )
            return Verdict(Settlement(pending.id, "failed", attempts, outcome.error))
        delay = max(retry_delay(settings, max(attempts, 1)), outcome.retry_after or 0.0)
        again = Settlement(pending.id, "pending", attempts, outcome.error, self.clock.wall() + delay)
        return Verdict(again, delay)

    def _answered(self) -> None:
        if self._breaker.succeeded():
            self.log.info("the destination answers again")
            self._backlog.wake_soft()

    def _settle(self) -> None:
        """Record outcomes, one transaction at a time: those that come meanwhile go together into the next."""
        if self._settling or not self._unsettled:
            return
        settlements, self._unsettled = self._unsettled, []
        me = self.ref

        def done(written: Written) -> None:
            me.cast(Settled(settlements, written.error))

        try:
            sent = self.system.cast(self._context.store, Write(partial(_settle, settlements), done))
        except MailboxFull:
            sent = False
        if sent:
            self._settling = len(settlements)
        else:
            self._unsettled = settlements
            self._wake_in(STORE_RETRY)

    def _settled(self, settlements: Sequence[Settlement], error: Exception | None) -> None:
        self._settling = 0
        if error is not None:
            self.log.warning("outcomes could not be recorded now: %s", error)
            self._unsettled = [*settlements, *self._unsettled]
            self._wake_in(STORE_RETRY)

    # --- time ---

    def _set_timer(self) -> None:
        """Wake when the next thing is due, if nothing wakes the lane before."""
        closed_until = self._breaker.due(self._now)
        if closed_until is not None:
            self._wake_in(closed_until - self._now)
            return
        if self._wants_to_grow:
            self._wake_in(STORE_RETRY if self._refused else 2 * SLOW)
        due = self._backlog.next_due()
        if due is not None and self._breaker.circuit is Circuit.CLOSED:
            self._wake_in(due - self._now)

    @property
    def _wants_to_grow(self) -> bool:
        return (
            self._breaker.healthy
            and self._backlog.ready > 0
            and not self._idle_workers
            and len(self._workers) < LANE_WORKERS
        )

    def _wake_in(self, seconds: float) -> None:
        """Wake after so many seconds at the latest."""
        at = self._now + max(seconds, 0.0)
        if self._timer is not None:
            if self._timer[0] <= at:
                return
            self._timer[1].cancel()
        self._timer = at, self.send_after(max(seconds, 0.0), Wake())

    def _check_idle(self) -> None:
        self._let_extra_workers_go()
        idle = self._backlog.empty and not self._unsettled and not self._settling
        if idle and self._was_idle:
            self.system.cast(self._dispatcher, Idle(self._destination, self._poke))
        self._was_idle = idle
        self.send_after(IDLE_SECONDS / 2, IdleCheck())


def _settle(settlements: Sequence[Settlement], tx: Tx) -> None:
    outbox.settle(tx, settlements)

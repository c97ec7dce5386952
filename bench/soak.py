"""A soak: a host with many instances, random faults for some minutes, and at the end nothing lost and nothing leaked.

`python -m bench.soak --instances 50 --minutes 10 --seed 1 --host-kills 1` needs no phone and no internet. What is
done to which instance follows from the seed; when it strikes follows from the machine as well. The exit code is 1 if
anything was not as it should be.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from rich.console import Console

from bench import soak_checks as checks
from bench.fleet import Fleet, linked_fleet, number_of
from bench.options import positive, seconds, shed_environment
from bench.soak_faults import BACK_WITHIN, FAULTS, Fault, Field, suffer
from bench.soak_host import SoakHost, free_port
from bench.soak_model import Member, Model
from bench.soak_receiver import ReceiverProcess
from bench.soak_report import Result, as_csv, as_json, show
from bench.soak_watch import LIVE, LOOK_EVERY, Every, Sample, Sampler, Truth

REST_WITHIN = 300.0
"""Seconds after the last fault within which everything is at rest."""

LEAK_GRACE = 90.0
"""Seconds that what comes and goes has to go."""

SOME = 5
"""Instances that a fault for some strikes, at most."""

KILLS_UNTIL = 0.6
"""The part of the time in which the host is killed: what follows is the life that is looked at for leaks."""

BAD_WEBHOOKS = 0.06
"""The part of the webhook requests that the receiver treats badly."""

OVERTIME = 4.0
"""A short run goes on until every kind was done, but not for longer than this many times its time."""

WIDTH = 120
"""Columns that the tables need."""

AT_ONCE = 48
"""Faults that may go on at the same time."""


def settings(webhook: str, *, quick: bool) -> dict[str, dict[str, str]]:
    """The host's configuration: the default policies with their times scaled down."""
    delays = {"428": "500ms", "408": "500ms", "440": "200ms", "515": "100ms", "503": "1s", "default": "500ms"}
    return {
        "api": {"listen": f"127.0.0.1:{free_port()}"},
        "recovery": {
            "stable_after": "5s",
            "max_delay": "5s",
            "max_attempts": "1000",
            "same_code_limit": "1000",
        },
        **{f"disconnect.{code}": {"delay": delay} for code, delay in delays.items()},
        "port": {"heartbeat": "1s" if quick else "3s", "command_timeout": "5s", "start_timeout": "20s"},
        "supervision": {"intensity": "20"},
        "webhook": {
            "url": webhook,
            "timeout": "2s",
            "initial_delay": "200ms",
            "max_delay": "2s",
            "max_attempts": "1000",
        },
    }


class Soak:
    """One run.

    Args:
        fleet: linked instances, with their host stopped.
        receiver: gets every event.
        note: tells of the progress.
    """

    def __init__(
        self,
        fleet: Fleet,
        receiver: ReceiverProcess,
        options: argparse.Namespace,
        note: Callable[[str], None],
    ) -> None:
        self._fleet, self._receiver, self._options, self._note = fleet, receiver, options, note
        self._random = random.Random(options.seed)
        self.model = Model(_members(fleet))
        self.host = SoakHost(fleet, self.model)
        self._over = threading.Event()
        span = options.minutes * 60
        self._field = Field(self.host, fleet.wa, self.model, self._over, pace=min(1.0, max(0.1, span / 300)))
        self._sampler = Sampler(self.host, self.model)
        self._truth = Truth(self.host, fleet.wa, self.model)
        self._going: set[Future[None]] = set()
        self._number = 0
        fitting = [fault for fault in FAULTS if fault.takes <= span]
        self._deck = self._random.sample(fitting, len(fitting))

    def run(self) -> Result:
        """Start the host, do everything to it, let it rest, and check."""
        began = time.monotonic()
        self._note("boot")
        self.host.start()
        self._rest()
        before = self._counted()
        with (
            Every("soak-truth", LOOK_EVERY, self._truth.look),
            Every("soak-sampler", self._options.sample, self._sampled),
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            try:
                before = self._faults(pool, before)
            except BaseException:
                self.model.abandon()
                raise
            finally:
                self._over.set()
            self._note("the faults are over: waiting until everything is at rest")
            self._receiver.be_well()
            wait(self._going, BACK_WITHIN)
            self._rest()
            self._check_states()
            closed = [member.name for member in self.model.members if not member.wanted]
            self._note(f"at rest; linking {len(closed)} again that were logged out")
            list(pool.map(lambda name: self.host.link(name, BACK_WITHIN), closed))
            self._rest()
        self._note("looking for leaks")
        after = self._counted(before)
        for problem in (*checks.leaks(before, after), *checks.memory(self._sampler.samples)):
            self.model.problem(problem)
        stopped = self.host.stop()
        self._receiver.end()
        told, problems = checks.events(self.host.process.data_dir / "zapvisor.db", self._receiver.requests())
        for problem in problems:
            self.model.problem(problem)
        return Result(
            instances=len(self.model),
            minutes=self._options.minutes,
            seed=self._options.seed,
            host_kills=self._options.host_kills,
            took=time.monotonic() - began,
            stopped=stopped,
            before=before,
            after=after,
            samples=self._sampler.samples,
            tally=self.model.tally,
            told=told,
            dead_open=self._truth.longest,
            looks=self._truth.looks,
        )

    # -- faults --------------------------------------------------------------------------------------------

    def _faults(self, pool: ThreadPoolExecutor, before: Sample) -> Sample:
        """Do one after the other until the time is over; what the last host took before it was done anything to."""
        began, span = time.monotonic(), self._options.minutes * 60
        kills = [
            span * KILLS_UNTIL * n / (self._options.host_kills + 1)
            for n in range(1, self._options.host_kills + 1)
        ]
        due = 0.0
        while (now := time.monotonic() - began) < span or (self._deck and now < OVERTIME * span):
            if kills and now >= kills[0]:
                kills.pop(0)
                before = self._kill_host()
                continue
            if now >= due:
                self._strike(pool, span - now)
                due = max(due, now - 5.0) + self._random.expovariate(self._options.faults_per_minute / 60)
            self._over.wait(max(0.0, min([due, *kills[:1]]) - now))
        return before

    def _strike(self, pool: ThreadPoolExecutor, left: float) -> None:
        """Choose a fault and whom it strikes, and have it done."""
        rng = random.Random(f"{self._options.seed}/{self._number}")
        self._number += 1
        self._going = {future for future in self._going if not future.done()}
        free = self.model.free()
        if not free or len(self._going) >= AT_ONCE:
            self.model.tally.skipped += 1
            return
        fault = self._next(rng, left)
        count = {"one": 1, "some": min(rng.randint(2, SOME), len(free)), "all": len(free)}[fault.victims]
        names = rng.sample(free, count)
        self._going.add(pool.submit(suffer, self._field, fault, names, rng))

    def _next(self, rng: random.Random, left: float) -> Fault:
        """Every kind once, in any order; then by their weights."""
        if self._deck:
            return self._deck.pop()
        possible = [fault for fault in FAULTS if fault.takes <= left]
        return rng.choices(possible, [fault.weight for fault in possible])[0]

    def _kill_host(self) -> Sample:
        """Kill it in the middle of whatever goes on, start it again, and count anew when all is at rest."""
        self._note("the host is killed")
        self.model.count("host killed")
        logouts = {
            each.name: each.logouts for each in self.model.members if each.wanted and not each.scanning
        }
        killed = time.time()
        self.host.kill()
        self.host.start()
        for name, before in logouts.items():
            member = self.model[name]
            try:
                self.model.wait_phase(name, ("open",), REST_WITHIN)
            except TimeoutError as error:
                self.model.problem(f"after the kill of the host: {error}")
                continue
            if member.logouts == before:
                self.model.was_back("host killed", member.opened - killed)
        self._note(f"all are open again {time.time() - killed:.1f} s after the host was killed")
        wait(self._going, BACK_WITHIN)
        self._rest()
        return self._counted()

    # -- rest ----------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Wait until every instance is what it should be, and every event is delivered."""
        deadline = time.monotonic() + REST_WITHIN
        for member in self.model.members:
            wanted = ("open",) if member.wanted else ("closed",)
            try:
                self.model.wait_phase(member.name, wanted, max(0.1, deadline - time.monotonic()))
            except TimeoutError as error:
                self.model.problem(f"at rest: {error}; it is {member.phase or 'not there'}")
        while self.host.call("GET", "/webhook/deliveries", params={"status": "pending", "limit": 1})[
            "deliveries"
        ]:
            if time.monotonic() > deadline:
                self.model.problem("at rest: events are still not delivered")
                return
            time.sleep(0.2)

    def _counted(self, before: Sample | None = None) -> Sample:
        """What the host takes now; given what it took before, it has a while to come back to that."""
        self.host.warm_up()
        self.host.forget_connections()
        deadline = time.monotonic() + LEAK_GRACE
        while True:
            sample = self._sampler.now()
            if before is None or not list(checks.leaks(before, sample)) or time.monotonic() > deadline:
                return sample
            time.sleep(1.0)

    def _check_states(self) -> None:
        wa, model = self._fleet.wa, self.model
        live = [link.jid for link in wa.connections() if link.state in LIVE]
        problems = [
            *checks.states(model, self.host.rows(), wa.devices(), live),
            *checks.devices(model, dict(_stored(self._fleet))),
        ]
        for problem in problems:
            model.problem(problem)

    def _sampled(self) -> None:
        self._sampler.sample()
        if self._sampler.samples:
            last, tally = self._sampler.samples[-1], self.model.tally
            self._note(
                f"{last.open}/{len(self.model)} open, {sum(tally.faults.values())} faults, {tally.downs} links lost,"
                f" {len(tally.problems)} problems; host {last.host_uss:.0f} MiB, port {last.port_uss:.1f} MiB,"
                f" {last.threads} threads, {last.descriptors} descriptors, machine {last.busy:.0%} busy"
            )


def _stored(fleet: Fleet) -> Iterator[tuple[str, str | None]]:
    """The device of each instance, as the host's database has it."""
    with sqlite3.connect(f"file:{fleet.host.data_dir / 'zapvisor.db'}?mode=ro", uri=True) as database:
        yield from database.execute("SELECT name, device_jid FROM instance")
    database.close()


def _members(fleet: Fleet) -> list[Member]:
    stored = dict(_stored(fleet))
    return [Member(name, number_of(index), str(stored[name])) for index, name in enumerate(fleet.names)]


def soak(options: argparse.Namespace, directory: Path, note: Callable[[str], None]) -> Result:
    """Make everything, run, and end everything."""
    quick = options.minutes < 2
    with (
        ReceiverProcess(directory / "requests.jsonl", options.seed, BAD_WEBHOOKS) as receiver,
        linked_fleet(
            directory, options.instances, note, settings=settings(receiver.url, quick=quick)
        ) as fleet,
    ):
        return Soak(fleet, receiver, options, note).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and write what was asked for; 1 if anything was wrong."""
    options = _options(arguments)
    shed_environment()
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, WIDTH)
    began = time.monotonic()

    def note(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:7.1f} s[/dim]  {text}")

    directory = options.directory or Path(tempfile.mkdtemp(prefix="zapvisor-soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        result = soak(options, directory, note)
    except BaseException:
        console.print(f"what the host logged is in {directory}")
        raise
    show(console, result)
    if options.json:
        options.json.write_text(as_json(result))
    if options.csv:
        options.csv.write_text(as_csv(result.samples))
    if result.tally.problems:
        console.print(f"what the host logged is in {directory}")
    elif options.directory is None:
        shutil.rmtree(directory)
    return int(bool(result.tally.problems))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--instances", type=positive, default=50, help="how many (default 50)")
    parser.add_argument("--minutes", type=seconds, default=10.0, help="of faults (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is random (default 1)")
    parser.add_argument("--host-kills", type=int, default=1, help="how often the host is killed (default 1)")
    parser.add_argument(
        "--faults-per-minute",
        type=seconds,
        default=30.0,
        help="on average (default 30); leave the machine half idle",
    )
    parser.add_argument(
        "--sample", type=seconds, default=10.0, help="seconds between two samples (default 10)"
    )
    parser.add_argument("--directory", type=Path, metavar="DIR", help="keep everything there, in any case")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the samples there")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

"""What a soak found, for people and for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench import machine
from bench.samples import median, plain, quantile
from bench.soak_checks import RISE_MIB, Told, trend
from bench.soak_model import Tally
from bench.soak_watch import DEAD_OPEN_LIMIT, Sample

SHOWN = 40
"""Problems that are printed; the others are only counted."""

WATCHED = {
    "host_uss": "host, USS (MiB)",
    "host_dirty": "host, written pages (MiB)",
    "host_rss": "host, RSS (MiB)",
    "forkserver_uss": "forkserver, USS (MiB)",
    "port_uss": "one port, USS, median (MiB)",
    "port_dirty": "one port, written pages (MiB)",
    "threads": "host threads",
    "descriptors": "host descriptors",
    "processes": "processes below the host",
    "ports": "ports",
    "cpu": "host, processor use (cores)",
    "busy": "machine, processor use (share)",
}


SPANS = ("cpu", "busy")
"""What is measured over the time between two samples, and is nothing at one moment."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a soak found.

    Attributes:
        took, stopped: seconds: the whole run, and the ordered stop of the host at its end.
        before, after: what the host took when all was at rest, before the faults (of its last life) and after them.
        told: what became of the events.
        dead_open: the longest time, in seconds, that an instance was called open after its link was gone.
        looks: how often that was looked at.
    """

    instances: int
    minutes: float
    seed: int
    host_kills: int
    took: float
    stopped: float
    before: Sample
    after: Sample
    samples: Sequence[Sample]
    tally: Tally
    told: Told
    dead_open: float
    looks: int


def show(console: Console, result: Result) -> None:
    """Print everything."""
    console.print(_faults(result))
    console.print(_resources(result))
    tally, told = result.tally, result.told
    console.print(
        f"{sum(tally.faults.values())} faults ({tally.skipped} left out: nobody was free), {tally.downs} links lost;"
        f" {told.events} events, {told.requests} requests, {told.refused} of them treated badly,"
        f" {told.again} events taken more than once"
    )
    console.print(
        f"called open after its link was gone: {result.dead_open:.1f} s at most in {result.looks} looks"
        f" (limit {DEAD_OPEN_LIMIT:g} s)"
    )
    for name, value in {**machine.machine(), **machine.versions()}.items():
        console.print(f"[dim]{name}: {value}[/dim]")
    for problem in tally.problems[:SHOWN]:
        console.print(f"[red]PROBLEM[/red] {escape(problem)}")
    if len(tally.problems) > SHOWN:
        console.print(f"… and {len(tally.problems) - SHOWN} more")
    verdict = f"[red]{len(tally.problems)} problems[/red]" if tally.problems else "[green]no problem[/green]"
    console.print(
        f"{result.instances} instances, {result.minutes:g} minutes of faults, seed {result.seed}: {verdict}"
    )


def _faults(result: Result) -> Table:
    table = Table(title="Faults, and seconds from the end of each until the instance was open again")
    for name in ("kind", "times", "recoveries", "p50", "p95", "max"):
        table.add_column(name, justify="left" if name == "kind" else "right")
    everything: list[float] = []
    for kind, times in sorted(result.tally.faults.items()):
        back = result.tally.back.get(kind, [])
        everything += back
        table.add_row(kind, str(times), str(len(back)), *_spread(back))
    table.add_section()
    table.add_row("all", str(sum(result.tally.faults.values())), str(len(everything)), *_spread(everything))
    return table


def _spread(back: Sequence[float]) -> tuple[str, str, str]:
    if not back:
        return "", "", ""
    return plain(median(back)), plain(quantile(back, 0.95)), plain(max(back))


def _resources(result: Result) -> Table:
    life = result.samples[-1].life if result.samples else 0
    table = Table(title=f"What the host took (last life of the host: {life + 1} of {result.host_kills + 1})")
    table.add_column("")
    for name in ("at rest before", "first", "median", "last", "at rest after", "slope an hour", "verdict"):
        table.add_column(name, justify="right")
    for name, title in WATCHED.items():
        ends = [
            "" if name in SPANS else plain(float(getattr(each, name)))
            for each in (result.before, result.after)
        ]
        if not result.samples:
            table.add_row(title, ends[0], "", "", "", ends[1], "", "")
            continue
        seen = trend(result.samples, name)
        verdict = ""
        if name in RISE_MIB:
            verdict = {True: "flat", False: "RISES", None: "too short to tell"}[seen.flat]
        between = (plain(seen.first), plain(seen.middle), plain(seen.last))
        table.add_row(title, ends[0], *between, ends[1], f"{seen.hourly:+.3g}", verdict)
    return table


def as_json(result: Result) -> str:
    """Everything, for programs."""
    found = asdict(result)
    found["trends"] = (
        {name: asdict(trend(result.samples, name)) for name in WATCHED} if result.samples else {}
    )
    return (
        json.dumps({"machine": machine.machine(), "versions": machine.versions(), **found}, indent=2) + "\n"
    )


def as_csv(samples: Sequence[Sample]) -> str:
    """The samples, a line each."""
    text = io.StringIO()
    rows = csv.DictWriter(text, [each.name for each in fields(Sample)], lineterminator="\n")
    rows.writeheader()
    for sample in samples:
        rows.writerow({name: round(value, 3) for name, value in asdict(sample).items()})
    return text.getvalue()

"""What was measured, as Markdown for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from bench import machine
from bench.runner import Outcomes, Row
from bench.samples import Samples, Spread, plain, quantile

METHOD = (
    "Every figure and its baseline come from the same run, their repetitions taken in turns. A value is the median"
    " of the repetitions, with the lowest and the highest in brackets; a repetition with many samples counts with"
    " its median, or with the percentile that is named. The factor says how many times better than the baseline"
    " it is: faster, smaller or more; below 1 it is worse."
)


GROUPS = {
    "host": "The whole host",
    "api": "The control API",
    "ports": "Ways to launch a port",
    "otp": "The supervision library",
    "events": "Events and webhooks",
}
"""Headings, by what the names of figures begin with."""

HEADER = ("| figure | zapvisor | baseline | factor | aim |", "|---|---|---|---|---|")


@dataclass(frozen=True, slots=True)
class Run:
    """How a run was made."""

    started: datetime
    instances: int
    quick: bool
    command: str


def to_markdown(run: Run, rows: Sequence[Row], outcomes: Outcomes) -> str:
    """The table, and what is needed to judge it."""
    lines = [
        f"`{run.command}`, {run.started:%Y-%m-%d %H:%M} UTC, {run.instances} instances"
        + (" (a quick run: these figures show only that it works)" if run.quick else ""),
        "",
        *(f"- {name}: {value}" for name, value in machine.machine().items()),
        "- versions: " + ", ".join(f"{name} {version}" for name, version in machine.versions().items()),
        f"- load of the machine before each repetition: {_loads(outcomes)}",
        "",
        METHOD,
    ]
    for group, members in groupby(rows, key=lambda row: row.figure.name.partition(".")[0]):
        lines += ["", f"### {GROUPS.get(group, group)}", "", *HEADER]
        lines += [line for row in members for line in _lines(row)]
    failures = [
        f"- {name}: {why}"
        for name, outcome in outcomes.items()
        for why in [*outcome.failures, *filter(None, [outcome.left_out])]
    ]
    if failures:
        lines += ["", "Not measured:", "", *failures]
    return "\n".join(lines) + "\n"


def to_json(run: Run, rows: Sequence[Row], outcomes: Outcomes) -> str:
    """Everything, the samples included as far as they are few."""
    document = {
        "started": run.started.isoformat(),
        "command": run.command,
        "instances": run.instances,
        "quick": run.quick,
        "method": METHOD,
        "machine": machine.machine(),
        "versions": machine.versions(),
        "figures": [_figure(row) for row in rows],
        "experiments": {
            name: {
                "seconds": round(outcome.seconds, 3),
                "loads": outcome.loads,
                "failures": outcome.failures,
                "left_out": outcome.left_out,
                "repetitions": [_series(done) for done in outcome.repetitions],
            }
            for name, outcome in outcomes.items()
        },
    }
    return json.dumps(document, indent=1) + "\n"


def write_section(file: Path, name: str, text: str) -> None:
    """Write Markdown to a file, or between its `<!-- NAME:begin -->` and `<!-- NAME:end -->` if it has them."""
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    old = file.read_text() if file.exists() else ""
    before, found, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    file.write_text(f"{before}{begin}{text}{end}{after}" if found and closed else text)


def now() -> datetime:
    """The time that a run is dated with."""
    return datetime.now(UTC)


def spread_text(spread: Spread | None, unit: str) -> str:
    """A value with its unit, and how far the repetitions lie apart."""
    if spread is None:
        return "not measured"
    value = f"{plain(spread.middle)} {unit}".rstrip()
    return value if spread.repetitions == 1 else f"{value} ({plain(spread.low)} to {plain(spread.high)})"


def _lines(row: Row) -> list[str]:
    figure = row.figure
    first = [figure.title, spread_text(row.ours, figure.unit)]
    if not row.compared:
        return [_table_line([*first, "", "", figure.aim])]
    lines = []
    for number, compared in enumerate(row.compared):
        factor = "" if compared.factor is None else f"{plain(compared.factor)}x"
        baseline = f"{spread_text(compared.spread, figure.unit)}, {compared.label}"
        lines.append(
            _table_line(
                [*(first if number == 0 else ["", ""]), baseline, factor, figure.aim if number == 0 else ""]
            )
        )
    return lines


def _table_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _loads(outcomes: Outcomes) -> str:
    loads = [load for outcome in outcomes.values() for load in outcome.loads]
    return f"{min(loads):.2f} to {max(loads):.2f}" if loads else "none"


def _figure(row: Row) -> dict[str, Any]:
    figure = row.figure
    return {
        "name": figure.name,
        "title": figure.title,
        "unit": figure.unit,
        "aim": figure.aim,
        "ours": asdict(row.ours) if row.ours else None,
        "baselines": {
            each.label: {"value": asdict(each.spread) if each.spread else None, "factor": each.factor}
            for each in row.compared
        },
    }


FEW = 64


def _series(done: Mapping[str, Samples]) -> dict[str, Any]:
    return {
        name: list(samples) if len(samples) <= FEW else _summary(samples) for name, samples in done.items()
    }


def _summary(samples: Samples) -> dict[str, float]:
    shares = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {"samples": len(samples), **{name: quantile(samples, share) for name, share in shares.items()}}

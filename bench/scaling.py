"""What an instance costs as their number grows: `python -m bench.scaling --svg docs/scaling.svg`.

Starts a host with each number of instances, and draws the time until all are open and the memory they take.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from bench.density import TooLittleMemory, lives
from bench.life import Life
from bench.options import positive, seconds, shed_environment
from bench.plot import Panel, draw
from bench.processes import MIB
from bench.report import write_section
from bench.samples import plain, quantile

COUNTS = (10, 50, 100, 200, 400)
IDLE_SECONDS = 20.0

Reading = Callable[[Life], float]

READINGS: dict[str, Reading] = {
    "all open (s)": lambda life: life.boot.opened,
    "opened per second, once the API answers": lambda life: (
        life.instances / (life.boot.opened - life.boot.answering)
    ),
    "one port, USS (MiB)": lambda life: quantile(life.taken.port_uss, 0.5) / MIB,
    "host, USS (MiB)": lambda life: life.taken.host.uss / MIB,
    "all processes, PSS, for each instance (MiB)": lambda life: life.taken.pss / MIB / life.instances,
    "host threads": lambda life: life.taken.threads,
    "host file descriptors": lambda life: life.taken.descriptors,
    "idle processor use, each instance (% of a core)": lambda life: life.rest.instance * 100,
    "stopped in order (s)": lambda life: life.stopped,
}

PANELS = (
    Panel("host started, all open", "s", "all open (s)"),
    Panel("memory for each instance (PSS)", "MiB", "all processes, PSS, for each instance (MiB)"),
    Panel("memory of the host process (USS)", "MiB", "host, USS (MiB)"),
)


def main() -> int:
    """Measure, print, and write what was asked for."""
    chosen = _options()
    shed_environment()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    measured: dict[int, Sequence[Life]] = {}
    for count in chosen.instances:
        try:
            measured[count] = lives(console, count, repeat=chosen.repeat, rest=chosen.idle)
        except TooLittleMemory as error:
            console.print(f"left out: {error}")
    table = to_markdown(measured)
    print(table, end="")
    if chosen.markdown:
        write_section(chosen.markdown, "scaling", table + picture(chosen.markdown, chosen.svg))
    if chosen.svg:
        chosen.svg.write_text(draw(PANELS, {name: _points(measured, READINGS[name]) for name in READINGS}))
    return 0


def picture(page: Path, svg: Path | None) -> str:
    """The Markdown that shows the plot on a page; none without a plot."""
    if svg is None:
        return ""
    what = "Time until all are open, memory for each instance, and memory of the host, by the number of instances"
    return f"\n![{what}]({os.path.relpath(svg, page.parent)})\n"


def to_markdown(measured: dict[int, Sequence[Life]]) -> str:
    """One column for each number of instances; the median, and how far the repetitions lie apart."""
    lines = [
        "| instances | " + " | ".join(str(count) for count in measured) + " |",
        "|---|" + "---|" * len(measured),
    ]
    for name, reading in READINGS.items():
        cells = [_cell([reading(life) for life in all_lives]) for all_lives in measured.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: Sequence[float]) -> str:
    low, middle, high = (plain(value) for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _points(measured: dict[int, Sequence[Life]], reading: Reading) -> list[tuple[float, float]]:
    return [
        (count, statistics.median(reading(life) for life in all_lives))
        for count, all_lives in measured.items()
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--instances", type=positive, nargs="+", default=COUNTS, help="the numbers (default %(default)s)"
    )
    parser.add_argument("--repeat", type=positive, default=3, help="boots of each (default 3)")
    parser.add_argument("--idle", type=seconds, default=IDLE_SECONDS, help="seconds to watch each idle")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the table there, between its markers if it has them",
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw a plot there")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

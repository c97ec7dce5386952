"""How many instances one host carries, and what each costs: `python -m bench.density --instances 200`.

Opens them on a WhatsApp service of this machine's own, and prints the time until all are open, memory,
threads and file descriptors.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.fleet import linked_fleet
from bench.life import Life, live
from bench.options import positive, seconds, shed_environment
from bench.processes import MIB
from bench.samples import Samples, plain, quantile

IDLE_SECONDS = 30.0
EACH_NEEDS = 40 * MIB
"""Bytes that are kept free for each instance; about twice what one takes."""


class TooLittleMemory(Exception):
    """The machine has no room for so many."""


def lives(console: Console, count: int, *, repeat: int, rest: float, paired: bool = False) -> list[Life]:
    """Start a host with so many instances some times, and look at it.

    Args:
        rest: seconds that it is watched idle.
        paired: link the instances by scanning their QR codes.

    Raises:
        TooLittleMemory: there is no room for so many.
    """
    needed = count * EACH_NEEDS
    if machine.memory_available() < needed:
        raise TooLittleMemory(f"{count} instances need {needed / (1 << 30):.1f} GiB of free memory")
    began = time.monotonic()

    def note(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:7.2f} s[/dim]  {text}")

    with (
        tempfile.TemporaryDirectory(prefix="zapvisor-density-") as scratch,
        linked_fleet(Path(scratch), count, note, paired=paired) as fleet,
    ):
        return [live(fleet, note, rest) for _ in range(repeat)]


def main() -> int:
    """Run, print, and write what was asked for."""
    chosen = _options()
    shed_environment()
    console = Console(highlight=False, soft_wrap=True)
    try:
        measured = lives(
            console, chosen.instances, repeat=chosen.repeat, rest=chosen.idle, paired=chosen.pair
        )
    except TooLittleMemory as error:
        console.print(str(error))
        return 2
    results = [row(life) for life in measured]
    _print(console, chosen.instances, results)
    if chosen.json:
        report = {"machine": machine.machine(), "versions": machine.versions(), "repetitions": results}
        chosen.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def row(life: Life) -> Mapping[str, float]:
    """The figures of one life, by what people call them."""
    boot, taken, rest, worked, count = life.boot, life.taken, life.rest, life.work, life.instances
    return {
        "load of the machine before": life.load,
        "API answers (s)": boot.answering,
        "all open (s)": boot.opened,
        "opened per second": count / boot.opened,
        "processor time of the boot: host (s)": worked.host,
        "processor time of the boot: forkserver (s)": worked.forkserver,
        "processor time of the boot: one port (ms)": worked.ports / count * 1000,
        "stopped in order (s)": life.stopped,
        **_spread("memory of one port, USS (MiB)", [each / MIB for each in taken.port_uss]),
        "memory of one port, RSS, median (MiB)": quantile(taken.port_rss, 0.5) / MIB,
        "host, USS (MiB)": taken.host.uss / MIB,
        "host, RSS (MiB)": taken.host.rss / MIB,
        "forkserver, USS (MiB)": taken.forkserver.uss / MIB,
        "all processes together, PSS (MiB)": taken.pss / MIB,
        "host threads": taken.threads,
        "host file descriptors": taken.descriptors,
        "threads of one port, most": taken.port_threads,
        "processes": taken.processes,
        "idle processor use of one port (% of a core)": rest.port * 100,
        "idle processor use of the host, for each instance (% of a core)": rest.host * 100,
    }


def _spread(name: str, samples: Samples) -> dict[str, float]:
    return {
        f"{name}, {label}": quantile(samples, share)
        for label, share in (("min", 0.0), ("median", 0.5), ("max", 1.0))
    }


def _print(console: Console, count: int, results: Sequence[Mapping[str, float]]) -> None:
    table = Table(title=f"{count} instances in one host")
    table.add_column("figure")
    for repetition in range(len(results)):
        table.add_column(f"boot {repetition + 1}", justify="right")
    for name in results[0]:
        table.add_row(name, *(plain(result[name]) for result in results))
    console.print(table)
    for name, value in {**machine.machine(), **machine.versions()}.items():
        console.print(f"[dim]{name}: {value}[/dim]")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.density", description=__doc__.partition("\n")[0])
    parser.add_argument("--instances", type=positive, default=200, help="how many (default 200)")
    parser.add_argument(
        "--pair", action="store_true", help="link each by scanning its QR code, instead of copying one device"
    )
    parser.add_argument("--repeat", type=positive, default=3, help="boots to measure (default 3)")
    parser.add_argument(
        "--idle",
        type=seconds,
        default=IDLE_SECONDS,
        help=f"seconds to watch it idle (default {IDLE_SECONDS:g})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m bench [NAME ...]`: measure zapvisor, each figure beside its baseline in the same run."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from bench import registry, report
from bench.options import positive, shed_environment
from bench.runner import Runner, rows

INSTANCES = (200, 10)


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for; the exit code is 1 if something could not be."""
    chosen = _options(arguments)
    shed_environment()
    if chosen.list:
        for figure in registry.figures():
            print(f"{figure.name:<28} {figure.title}")
        return 0
    try:
        figures = registry.select(chosen.names)
    except LookupError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    instances = chosen.instances or INSTANCES[chosen.quick]
    command = shlex.join(["python", "-m", "bench", *(sys.argv[1:] if arguments is None else arguments)])
    run = report.Run(report.now(), instances, chosen.quick, command)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    outcomes = Runner(console, instances, quick=chosen.quick, repeat=chosen.repeat).run(
        registry.needed_by(figures)
    )
    table = rows(figures, outcomes)
    markdown = report.to_markdown(run, table, outcomes)
    if sys.stdout.isatty():
        Console().print(Markdown(markdown))
    else:
        print(markdown, end="")
    if chosen.markdown:
        report.write_section(chosen.markdown, "bench", markdown)
    if chosen.json:
        chosen.json.write_text(report.to_json(run, table, outcomes))
    return 1 if any(outcome.failures for outcome in outcomes.values()) else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition(": ")[2])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a figure, or what their names begin with; all if none"
    )
    parser.add_argument("--list", action="store_true", help="say which figures there are")
    parser.add_argument("--quick", action="store_true", help="only see whether it works")
    parser.add_argument("--instances", type=positive, help="default {}, quick {}".format(*INSTANCES))
    parser.add_argument("--repeat", type=positive, help="repetitions of everything")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="write the table there, between `<!-- bench:begin -->` and `<!-- bench:end -->` if it has them",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # what ran has been ended on the way here

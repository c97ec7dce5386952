"""`diagnose`."""

from __future__ import annotations

import click

from supervisor.cli import render
from supervisor.cli.client import Client
from supervisor.cli.options import config_option, json_option, name_argument, timeout_option
from supervisor.cli.target import find_target


@click.command()
@config_option
@json_option
@timeout_option("60s", "How long to wait for the report.")
@name_argument
def diagnose(name: str, config: str | None, as_json: bool, timeout: float) -> None:
    """Reports how an instance is.

    Its state, network, session, recent events, recovery and port.
    """
    with (
        Client(find_target(config), timeout) as client,
        render.console(stderr=True).status(f"asking {name}…"),
    ):
        report = client.diagnose(name)
    if as_json:
        render.print_json(report)
    else:
        render.console().print(render.facts_table(report))

"""`status` and `tree`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich.console import RenderableType

from supervisor.cli import render
from supervisor.cli.client import Client
from supervisor.cli.options import DURATION, config_option, json_option, timeout_option
from supervisor.cli.target import find_target
from supervisor.cli.watch import stream, watch

Function = TypeVar("Function", bound=Callable[..., Any])
Answer = TypeVar("Answer")


def _view_options(command: Function) -> Function:
    for option in (
        config_option,
        json_option,
        click.option("--watch", "watching", is_flag=True, help="Show it again and again until Ctrl-C."),
        click.option(
            "--interval",
            type=DURATION,
            default="1s",
            show_default=True,
            metavar="DURATION",
            help="Time between two views.",
        ),
        click.option("--count", type=click.IntRange(min=1), help="End --watch after so many views."),
        timeout_option("10s", "How long to wait for an answer."),
    ):
        command = option(command)
    return command


@click.command()
@_view_options
def status(**options: Any) -> None:
    """Shows every instance."""
    _show(lambda client: [_without_token(row) for row in client.rows()], render.instances_table, **options)


@click.command()
@_view_options
def tree(**options: Any) -> None:
    """Shows the supervision tree.

    Every actor, its restarts, its mailbox and why it last ended.
    """
    _show(lambda client: client.tree(), render.tree_table, **options)


def _show(
    fetch: Callable[[Client], Answer],
    draw: Callable[[Answer], RenderableType],
    *,
    config: str | None,
    as_json: bool,
    watching: bool,
    interval: float,
    count: int | None,
    timeout: float,
) -> None:
    with Client(find_target(config), timeout) as client:
        if watching and as_json:
            stream(lambda: fetch(client), render.print_json_line, interval, count=count)
        elif watching:
            watch(lambda: fetch(client), draw, render.console(), interval, count=count)
        elif as_json:
            render.print_json(fetch(client))
        else:
            render.console().print(draw(fetch(client)))


def _without_token(row: dict[str, Any]) -> dict[str, Any]:
    """A status ends up in terminals, tickets and logs, where an instance's key has no business."""
    return {name: value for name, value in row.items() if name != "token"}

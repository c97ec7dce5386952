"""`create`, `logout`, `restart`, `reset` and `delete`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from supervisor.cli import render
from supervisor.cli.client import Client
from supervisor.cli.options import NUMBER, config_option, json_option, name_argument, timeout_option
from supervisor.cli.target import find_target

Function = TypeVar("Function", bound=Callable[..., Any])


def _command_options(command: Function, timeout: str = "60s") -> Function:
    for option in (
        config_option,
        json_option,
        timeout_option(timeout, "How long to wait for the answer."),
        name_argument,
    ):
        command = option(command)
    return command


def _delete_options(command: Function) -> Function:
    """A delete takes longer than the instance: a store may have to be waited for."""
    return _command_options(command, "90s")


def _yes_option(command: Function) -> Function:
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


@click.command()
@_command_options
@click.option(
    "--number", type=NUMBER, metavar="DIGITS", help="The phone number, to pair by a typed code later."
)
def create(name: str, number: str | None, **options: Any) -> None:
    """Creates an instance; `connect` links it to a phone.

    With --json the answer holds the instance's own key, as `hash`.
    """
    _do(
        lambda client: client.create(name, number),
        f"creating {name}",
        lambda reply: f"{name} created (id {reply.get('instance', {}).get('instanceId', '?')})",
        **options,
    )


@click.command()
@_command_options
def logout(name: str, **options: Any) -> None:
    """Unlinks an instance from its phone."""
    _do(lambda client: client.logout(name), f"logging {name} out", _message, **options)


@click.command()
@_command_options
def restart(name: str, **options: Any) -> None:
    """Gives an instance a new connection; the session is kept."""
    _do(
        lambda client: client.restart(name),
        f"restarting {name}",
        lambda reply: f"{name} restarted: {reply.get('instance', {}).get('state', '?')}",
        **options,
    )


@click.command()
@_command_options
@_yes_option
def reset(name: str, yes: bool, **options: Any) -> None:
    """Deletes an instance's session; the instance stays.

    It is logged out, its session deleted everywhere, and its counters zeroed.
    """
    _confirm(f"Delete the session of {name}? The phone has to scan again.", yes)
    _do(lambda client: client.reset(name), f"resetting {name}", _message, **options)


@click.command()
@_delete_options
@_yes_option
def delete(name: str, yes: bool, **options: Any) -> None:
    """Removes an instance and everything of it.

    It is logged out first, if that can be done.
    """
    _confirm(f"Delete {name} and everything that belongs to it?", yes)
    _do(lambda client: client.delete(name), f"deleting {name}", _message, **options)


def _do(
    ask: Callable[[Client], dict[str, Any]],
    doing: str,
    say: Callable[[dict[str, Any]], str],
    *,
    config: str | None,
    as_json: bool,
    timeout: float,
) -> None:
    with Client(find_target(config), timeout) as client, render.console(stderr=True).status(f"{doing}…"):
        reply = ask(client)
    if as_json:
        render.print_json(reply)
    else:
        render.console().print(render.plain(say(reply)))


def _message(reply: dict[str, Any]) -> str:
    response = reply.get("response")
    return str(response.get("message", "done")) if isinstance(response, dict) else "done"


def _confirm(question: str, yes: bool) -> None:
    """People are asked; programs, which have no terminal, meant it."""
    if not yes and sys.stdin.isatty():
        click.confirm(question, abort=True, err=True)

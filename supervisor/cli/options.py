"""Options and arguments that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from supervisor.config import INSTANCE_NAME, parse_duration

Function = TypeVar("Function", bound=Callable[..., Any])

_COMPLETION_TIMEOUT = 1.0


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is not a duration; allowed: 250ms, 2s, 5m, 24h or seconds", param, ctx)
        if not 0 < seconds <= 86400:
            self.fail(f"{value!r} is out of bounds; allowed: more than 0 and up to 24h", param, ctx)
        return seconds


class _InstanceName(click.ParamType[str]):
    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not isinstance(value, str) or not INSTANCE_NAME.fullmatch(value):
            self.fail(
                f"{value!r} is not an instance's name; allowed: 1 to 64 letters, digits, '_', '.' and '-', "
                "the first a letter or digit",
                param,
                ctx,
            )
        return value

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,
        incomplete: str,
    ) -> list[click.shell_completion.CompletionItem]:
        """The names of the host's instances; none when it cannot be asked at once."""
        from supervisor.cli.client import Client
        from supervisor.cli.target import find_target

        try:
            with Client(find_target(ctx.params.get("config")), _COMPLETION_TIMEOUT) as client:
                names = [str(row.get("name")) for row in client.rows()]
        except click.ClickException:
            return []
        return [click.shell_completion.CompletionItem(name) for name in names if name.startswith(incomplete)]


class _Number(click.ParamType[str]):
    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not (isinstance(value, str) and re.fullmatch(r"[0-9]{5,20}", value)):
            self.fail(f"{value!r}; allowed: 5 to 20 digits, country code first", param, ctx)
        return value


DURATION = _Duration()
NUMBER = _Number()


def config_option(command: Function) -> Function:
    """`-c supervisor.ini`."""
    return click.option(
        "-c",
        "--config",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="The host's INI file. Without it the defaults hold.",
    )(command)


def timeout_option(default: str, what: str) -> Callable[[Function], Function]:
    """`--timeout 30s`."""
    return click.option(
        "--timeout", type=DURATION, default=default, show_default=True, metavar="DURATION", help=what
    )


def json_option(command: Function) -> Function:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def name_argument(command: Function) -> Function:
    """The instance's name."""
    return click.argument("name", type=_InstanceName())(command)

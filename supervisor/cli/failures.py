"""How a command ends when it does not succeed. click prints the message to stderr and exits with the code."""

from __future__ import annotations

from typing import IO, Any

import click

from supervisor.redaction import one_line


class Refused(click.ClickException):
    """The host said no, or what was asked for did not happen."""

    exit_code = 1


class Misconfigured(click.ClickException):
    """The configuration or the command's own arguments are wrong."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """One problem a line, so that programs and people can count them."""
        for line in self.message.splitlines():
            click.echo(f"Error: {one_line(line)}", file=file, err=file is None)


class Unreachable(click.ClickException):
    """Nobody answers at the host's address."""

    exit_code = 3

"""The command line: `zapvisor run` is the host; the other commands are its clients over HTTP.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or configuration, 3 host not reachable.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from supervisor import __version__

_COMMANDS: Mapping[str, str] = {
    "run": "host",
    "check": "host",
    "status": "show",
    "tree": "show",
    "create": "manage",
    "connect": "connect",
    "logout": "manage",
    "restart": "manage",
    "reset": "manage",
    "delete": "manage",
    "diagnose": "diagnose",
    "completion": "completion",
}
"""Each command and the module that defines it. They are imported when needed, so that each starts fast."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"supervisor.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Client commands find the host by -c, by ZAPVISOR_URL and ZAPVISOR_API_KEY, or at 127.0.0.1:8080 "
    "with the key in ./data/api_key.",
)
@click.version_option(__version__, prog_name="zapvisor", message="%(prog)s %(version)s")
def cli() -> None:
    """Keeps many WhatsApp instances connected."""


def main() -> None:
    """Runs the command line with the process's arguments and ends the process."""
    cli(prog_name="zapvisor")

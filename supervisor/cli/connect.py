"""`connect`: shows the code to scan or to type until the instance is open."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import click
from rich.console import Console

from supervisor import reasons
from supervisor.cli import render, terminal_qr
from supervisor.cli.client import Client
from supervisor.cli.failures import Refused
from supervisor.cli.options import (
    DURATION,
    NUMBER,
    config_option,
    json_option,
    name_argument,
    timeout_option,
)
from supervisor.cli.target import find_target

_ENDED = ("closed", "failed", "stopping")
REQUEST_SECONDS = 10.0
"""For one answer at least: the host takes seconds for a code, which is no sign that it cannot be reached."""


@click.command()
@config_option
@click.option(
    "--number",
    type=NUMBER,
    metavar="DIGITS",
    help="Pair by a typed code: the phone number with its country code.",
)
@click.option("--light", is_flag=True, help="Without colours: the terminal is dark on light.")
@click.option(
    "--poll",
    type=DURATION,
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="Time between two looks.",
)
@json_option
@timeout_option("10m", "Give up when it is not open by then; the instance goes on trying.")
@name_argument
def connect(
    *,
    name: str,
    config: str | None,
    number: str | None,
    light: bool,
    poll: float,
    as_json: bool,
    timeout: float,
) -> None:
    """Connects an instance.

    Draws the QR code in the terminal, replaces it as the codes change, and ends when the instance is open. With
    --json each code and each phase is an object on a line of its own.
    """
    with Client(find_target(config), max(REQUEST_SECONDS, min(timeout, 60.0))) as client:
        screen: _Shows = _Lines(name) if as_json else _Screen(render.console(), name, light_terminal=light)
        _Pairing(client, name, number, screen).wait(poll, timeout)


@dataclass(frozen=True, slots=True)
class _Code:
    qr: str
    pairing: str
    refused: str
    count: int


class _Shows(Protocol):
    """Where a connect tells how it goes."""

    def show(self, code: _Code) -> None:
        """There is a new code."""

    def enter(self, phase: str, row: Mapping[str, Any]) -> None:
        """The instance is in another phase."""


class _Lines:
    """What a program reads: an object a line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def show(self, code: _Code) -> None:
        refused = {"pairingError": code.refused} if code.refused else {}
        self._emit(code=code.qr, pairingCode=code.pairing or None, count=code.count, **refused)

    def enter(self, phase: str, row: Mapping[str, Any]) -> None:
        lost = (
            {"disconnectionReasonCode": row.get("disconnectionReasonCode")} if phase == "recovering" else {}
        )
        self._emit(phase=phase, ownerJid=row.get("ownerJid"), **lost)

    def _emit(self, **fields: Any) -> None:
        render.print_json_line({"instanceName": self._name, **fields})


class _Screen:
    """What a person sees; on a terminal each code replaces the one before."""

    def __init__(self, console: Console, name: str, *, light_terminal: bool) -> None:
        self._console = console
        self._name = name
        self._light_terminal = light_terminal

    def enter(self, phase: str, row: Mapping[str, Any]) -> None:
        self.say(_described(phase, row))

    def say(self, text: str) -> None:
        self._console.print(render.plain(f"{self._name}: {text}"))

    def show(self, code: _Code) -> None:
        color = self._console.color_system is not None and not self._console.no_color
        if self._console.is_terminal:
            self._console.clear()
        self._console.file.write(
            terminal_qr.draw(code.qr, color=color, light_terminal=self._light_terminal) + "\n"
        )
        self._console.file.flush()
        self.say(f"code {code.count}: WhatsApp > Linked devices > Link a device, and scan")
        if code.pairing:
            self.say(f"or type this code on the phone: {_grouped(code.pairing)}")
        if code.refused:
            self.say(f"there is no code to type: {code.refused}")
        columns, lines = terminal_qr.size(code.qr)
        if self._console.is_terminal and (self._console.width < columns or self._console.height < lines + 2):
            self.say(
                f"the terminal is too small for the code: {columns} columns and {lines + 2} lines are needed"
            )


class _Pairing:
    """One connect, from the command to its end."""

    def __init__(
        self,
        client: Client,
        name: str,
        number: str | None,
        screen: _Shows,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._name = name
        self._number = number
        self._screen = screen
        self._monotonic = monotonic
        self._shown: _Code | None = None
        self._phase = self._reason = ""

    def wait(self, poll: float, timeout: float) -> None:
        deadline = self._monotonic() + timeout
        with render.console(stderr=True).status(f"connecting {self._name}…"):
            first = self._client.connect(self._name, self._number)
        self._look_at(first)
        while not self._advance():
            left = deadline - self._monotonic()
            if left <= 0:
                phase = self._phase or "unknown"
                raise Refused(f"{self._name} is not open after {timeout:g} s; it is {phase}{self._reason}")
            threading.Event().wait(min(poll, left))

    def _advance(self) -> bool:
        """Looks once; True when the instance is open."""
        row = self._client.row(self._name)
        phase = str(row.get("phase") or row.get("connectionStatus") or "unknown")
        reason = _why(row) if phase in ("recovering", *_ENDED) else ""
        if phase == "awaiting_scan":
            # Asking while it waits for a scan starts nothing; in any other phase it could. The number
            # is known to the instance by now, and saying it again could ask the phone for another code.
            self._look_at(self._client.connect(self._name))
        elif (phase, reason) != (self._phase, self._reason):
            self._screen.enter(phase, row)
        self._phase, self._reason = phase, reason
        if phase in _ENDED:
            raise Refused(f"{self._name} is {phase}{reason}")
        return phase == "open"

    def _look_at(self, reply: Mapping[str, Any]) -> None:
        qr, pairing = reply.get("code"), reply.get("pairingCode")
        if isinstance(qr, str) and qr:
            refused = reply.get("pairingError")
            code = _Code(qr, _text(pairing), _text(refused), _count(reply))
            if code != self._shown:
                self._screen.show(code)
                self._shown = code


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(reply: Mapping[str, Any]) -> int:
    count = reply.get("count")
    return count if isinstance(count, int) else 0


def _described(phase: str, row: Mapping[str, Any]) -> str:
    account = str(row.get("ownerJid") or "").partition("@")[0].partition(":")[0]
    if phase == "open":
        return f"open as {account}" if account else phase
    if phase == "recovering":
        return f"recovering{_why(row)}; `zapvisor diagnose {row.get('name', '')}` says more"
    return phase.replace("_", " ")


def _why(row: Mapping[str, Any]) -> str:
    """The last disconnection in words, then its code, name and cause; nothing where there was none."""
    code = row.get("disconnectionReasonCode")
    if code is None:
        return ""
    told = row.get("disconnectionObject")
    detail = json.loads(told) if isinstance(told, str) else {}
    name, cause = detail.get("name"), detail.get("cause")
    terms = ", ".join(str(term) for term in (f"{code} {name}" if name else code, cause) if term)
    return f": {reasons.reason(code, cause)} ({terms})"


def _grouped(code: str) -> str:
    plain = code.replace("-", "")
    return f"{plain[:4]}-{plain[4:]}" if len(plain) == 8 else code

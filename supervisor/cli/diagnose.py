"""`diagnose`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from supervisor import reasons
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

    A verdict in a line or two; then its state, network, session, recent events, recovery and port.
    """
    with (
        Client(find_target(config), timeout) as client,
        render.console(stderr=True).status(f"asking {name}…"),
    ):
        report = client.diagnose(name)
    if as_json:
        render.print_json(report)
    else:
        for sentence in verdict(report):
            render.console().print(render.plain(sentence))
        render.console().print(render.facts_table(report))


_RECOVERS = "It tries again by itself"
_MEANINGS: Mapping[str, str] = {
    "open": "is connected to WhatsApp",
    "starting": "is being connected",
    "awaiting_scan": "waits for its code to be scanned: `zapvisor connect {name}` shows it",
    "pairing": "was scanned, and its link is being finished",
    "recovering": "has lost its connection",
    "stopping": "is being stopped",
    "closed": "is closed: `zapvisor connect {name}` opens it",
    "failed": "has failed",
}


def verdict(report: Mapping[str, Any]) -> list[str]:
    """The report in sentences; none of an answer that is no such report.

    Args:
        report: what `/instance/diagnose` answers.
    """
    state, name = _part(report, "currentState"), report.get("instanceName")
    phase = str(state.get("phase"))
    if phase not in _MEANINGS:
        return []
    found = [f"{name} {_MEANINGS[phase].format(name=name)}{_why(report, phase)}."]
    if phase == "failed" and state.get("failedReason"):
        found.append(f"It says: {state['failedReason']}.")
    if phase in ("recovering", "failed"):
        found.append(_next_try(report, phase, name))
    network = _part(report, "network")
    if network.get("canReachWhatsApp") is False:
        no_name = network.get("dnsResolution") is False
        why = (
            "the name is not found" if no_name else _part(_part(network, "details"), "whatsApp").get("error")
        )
        through = " through its proxy" if network.get("proxy") else ""
        found.append(f"WhatsApp cannot be reached from here{through}{f': {why}' if why else ''}.")
    return found


def _why(report: Mapping[str, Any], phase: str) -> str:
    """What ended its last connection, where that matters now."""
    state = _part(report, "currentState")
    code = state.get("lastStatusCode")
    if phase not in ("recovering", "failed", "closed") or code is None:
        return ""
    return f" ({reasons.reason(code, state.get('lastCause'))})"


def _next_try(report: Mapping[str, Any], phase: str, name: Any) -> str:
    recovery = _part(report, "recovery")
    due, banned = recovery.get("restartDue"), recovery.get("bannedUntil")
    if banned is not None and _seconds_until(banned, report) > 0:
        return f"WhatsApp has banned it until {banned}; connect it after that."
    if due is not None:
        return f"{_RECOVERS} in {render.duration(max(0.0, _seconds_until(due, report)))}."
    if banned is not None:
        return f"The ban is over: `zapvisor connect {name}` opens it."
    return f"{_RECOVERS}." if phase == "recovering" else f"`zapvisor connect {name}` tries it now."


def _seconds_until(at: str, report: Mapping[str, Any]) -> float:
    return (datetime.fromisoformat(at) - datetime.fromisoformat(str(report["timestamp"]))).total_seconds()


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = report.get(name)
    return found if isinstance(found, Mapping) else {}

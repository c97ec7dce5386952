"""What a session logs: each change of phase and each disconnection once, structured."""

from __future__ import annotations

from typing import Any

import structlog

from actors.context import InstanceContext
from actors.session.effects import Commit, Reply
from actors.session.memory import Memory

LEVELS = {"logout": "error", "abort": "error"}
"""A disconnection after which nothing more is tried is an error, one that passes is a warning."""


def logger(context: InstanceContext) -> Any:
    """A logger whose lines name the instance."""
    return structlog.get_logger("zapvisor.instance", instance=context.name, instance_id=context.id)


def log_commit(log: Any, m: Memory, commit: Commit | None) -> None:
    """Log what a transaction says."""
    if commit is None:
        return
    for entry in commit.history:
        if entry["kind"] == "disconnection":
            disconnected(log, entry)
    if "phase" in commit.fields:
        log.info("phase", phase=str(commit.fields["phase"]), incarnation=m.incarnation, link=str(m.link))


def answered(log: Any, command: str, reply: Reply, seconds: float) -> None:
    """Log what became of a command."""
    log.info(
        "command",
        command=command,
        outcome=reply.message if reply.refusal is None else str(reply.refusal),
        refused=reply.refusal is not None,
        milliseconds=round(seconds * 1000, 1),
    )


def disconnected(log: Any, entry: Any) -> None:
    level = LEVELS.get(entry["action"], "warning")
    detail = dict(entry["detail"])
    getattr(log, level)(
        "disconnected",
        signal=detail.pop("signal"),
        code=entry["code"],
        name=entry["name"],
        cause=entry["cause"],
        action=entry["action"],
        open_for=entry["duration_s"],
        previous_phase=entry["previous_phase"],
        incarnation=entry["incarnation"],
        attempt=entry["attempt"],
        detail=detail,
    )

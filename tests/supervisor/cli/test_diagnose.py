"""The verdict of `diagnose`: a report of the host in sentences."""

from __future__ import annotations

from typing import Any

import pytest

from actors.views import Phase
from supervisor.cli.diagnose import verdict
from tests.supervisor.cli.conftest import Zapvisor
from tests.supervisor.cli.fakehost import FakeHost


def report(
    phase: str, code: int | None = None, cause: str | None = None, why: str | None = None, **parts: Any
) -> dict[str, Any]:
    return {
        "instanceName": "sales",
        "timestamp": "2026-01-02T03:04:05.000Z",
        "currentState": {
            "phase": phase,
            "lastStatusCode": code,
            "lastCause": cause,
            "failedReason": why,
        },
        "network": {"canReachWhatsApp": True, "dnsResolution": True, "proxy": None},
        **parts,
    }


def unreachable(*, dns: bool = True, error: str | None = "ConnectTimeout", proxy: str | None = None) -> Any:
    details = {"whatsApp": {"ok": False, "error": error}}
    return {"canReachWhatsApp": False, "dnsResolution": dns, "proxy": proxy, "details": details}


DUE = {"restartDue": "2026-01-02T03:05:10.000Z", "bannedUntil": None}
BANNED = {"restartDue": None, "bannedUntil": "2026-01-03T00:00:00.000Z"}
BAN_OVER = {"restartDue": None, "bannedUntil": "2026-01-01T00:00:00.000Z"}
NOTHING_DUE = {"restartDue": None, "bannedUntil": None}
DNS = unreachable(dns=False)

VERDICTS: list[tuple[dict[str, Any], list[str]]] = [
    (report("open", 428, "closed"), ["sales is connected to WhatsApp."]),
    (report("starting"), ["sales is being connected."]),
    (
        report("awaiting_scan"),
        ["sales waits for its code to be scanned: `zapvisor connect sales` shows it."],
    ),
    (
        report("closed", 401, "logout"),
        ["sales is closed: `zapvisor connect sales` opens it (Logged out by the phone)."],
    ),
    (
        report("recovering", 408, "dns", recovery=DUE, network=DNS),
        [
            "sales has lost its connection (Name of the server not found).",
            "It tries again by itself in 1m 05s.",
            "WhatsApp cannot be reached from here: the name is not found.",
        ],
    ),
    (
        report("recovering", 503, "proxy", recovery=NOTHING_DUE, network=unreachable(proxy="http://p:1")),
        [
            "sales has lost its connection (Proxy not reachable).",
            "It tries again by itself.",
            "WhatsApp cannot be reached from here through its proxy: ConnectTimeout.",
        ],
    ),
    (
        report("failed", 503, "refused", recovery=DUE),
        ["sales has failed (Connection refused).", "It tries again by itself in 1m 05s."],
    ),
    (
        report("failed", 440, "replaced", recovery=NOTHING_DUE),
        ["sales has failed (Another session took over).", "`zapvisor connect sales` tries it now."],
    ),
    (
        report("failed", 401, "command", "it is not started before its credentials go", recovery=NOTHING_DUE),
        [
            "sales has failed (Logged out on request).",
            "It says: it is not started before its credentials go.",
            "`zapvisor connect sales` tries it now.",
        ],
    ),
    (
        report("failed", 402, "ban", recovery=BAN_OVER),
        [
            "sales has failed (Banned by WhatsApp for a time).",
            "The ban is over: `zapvisor connect sales` opens it.",
        ],
    ),
    (
        report("failed", 402, "ban", recovery=BANNED),
        [
            "sales has failed (Banned by WhatsApp for a time).",
            "WhatsApp has banned it until 2026-01-03T00:00:00.000Z; connect it after that.",
        ],
    ),
]


@pytest.mark.parametrize(("found", "said"), VERDICTS, ids=lambda value: str(value)[:40])
def test_it_says_what_is_wrong_and_what_happens_next(found: dict[str, Any], said: list[str]) -> None:
    assert verdict(found) == said


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_has_a_sentence(phase: Phase) -> None:
    assert verdict(report(phase, 428, "closed", recovery=NOTHING_DUE))


def test_it_comes_before_the_facts(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "failed")
    host.report = report("failed", 503, "refused", recovery=DUE)
    lines = client("diagnose", "sales").stdout.splitlines()
    assert lines[:2] == ["sales has failed (Connection refused).", "It tries again by itself in 1m 05s."]
    assert "instanceName" in lines[2]

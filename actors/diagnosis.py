"""The report of one instance: its state, its session, its past, and whether WhatsApp can be reached from here.

It is made on the caller's thread and on a few threads of its own, never on an actor that others wait for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from actors.addresses import shown_url
from actors.credentials import Credentials, CredentialsUnavailable
from actors.network import WHATSAPP, reaches, resolves
from actors.proxy import environment_proxy, proxy_url
from actors.store import HistoryEntry
from actors.views import InstanceView, Phase

NETWORK_DEADLINE = 8.0
"""Seconds for both network checks together."""
CHECKS = 4
"""Diagnoses whose network is checked at once; more wait within their deadline."""


class Diagnosis:
    """Makes reports.

    Args:
        credentials: where the sessions are.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._pool = ThreadPoolExecutor(CHECKS, thread_name_prefix="diagnosis")

    def report(
        self, view: InstanceView, past: Sequence[HistoryEntry], now: float, timeout: float
    ) -> dict[str, Any]:
        """The report, JSON-ready.

        Args:
            view: the instance as it is now.
            past: its latest history, newest first.
            now: seconds since the epoch.
            timeout: seconds that the network checks may take.
        """
        return {
            "instanceId": view.id,
            "instanceName": view.name,
            "timestamp": iso(now),
            "currentState": current_state(view),
            "network": self._network(
                proxy_url(view.proxy) or environment_proxy(WHATSAPP), min(timeout, NETWORK_DEADLINE)
            ),
            "session": self._session(view),
            "recentEvents": [recent(entry) for entry in past],
            "metrics": metrics(view),
            "recovery": recovery(view),
            "port": port(view, now),
        }

    def _session(self, view: InstanceView) -> dict[str, Any]:
        try:
            exists: bool | None = self._credentials.exist(view.id, view.device_jid)
        except CredentialsUnavailable:
            exists = None
        return {
            "hasAuthState": view.logged_in,
            "hasCredentials": bool(exists) and view.logged_in,
            "hasKeys": bool(exists),
            "sessionExists": exists,
        }

    def _network(self, proxy: str | None, timeout: float) -> dict[str, Any]:
        """What the way to WhatsApp is like. Behind a proxy, names other than its own are its business."""
        deadline = time.monotonic() + timeout
        host = urlsplit(proxy).hostname if proxy else WHATSAPP
        name = self._pool.submit(resolves, host or WHATSAPP)
        reach = self._pool.submit(reaches, proxy, timeout)
        found = {"dns": within(name, deadline), "whatsApp": within(reach, deadline)}
        return {
            "canReachWhatsApp": found["whatsApp"]["ok"],
            "dnsResolution": found["dns"]["ok"],
            "proxy": None if proxy is None else shown_url(proxy),
            "details": found,
        }


def within(future: Future[dict[str, Any]], deadline: float) -> dict[str, Any]:
    """What a check found, or that it found nothing in time."""
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except FutureTimeout:
        future.cancel()
        return {"ok": False, "error": "no answer in time"}


def current_state(view: InstanceView) -> dict[str, Any]:
    return {
        "connectionStatus": view.state,
        "lastStatusCode": view.disconnection_code,
        "lastCause": (view.disconnection_object or {}).get("cause"),
        "clientReady": view.phase is Phase.OPEN,
        "endSession": view.phase in (Phase.CLOSED, Phase.FAILED),
        "phase": str(view.phase),
        "desired": str(view.desired),
        "failedReason": view.failed_reason,
    }


def recent(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "timestamp": iso(entry.at),
        "event": entry.kind,
        "statusCode": entry.code,
        "duration": entry.duration_s,
        "cause": entry.cause,
        "action": entry.action or entry.result,
    }


def metrics(view: InstanceView) -> dict[str, Any]:
    figures = view.figures
    last = figures.last
    return {
        "totalDisconnections": figures.disconnections,
        "byCode": {str(code): count for code, count in figures.by_code.items()},
        "byAction": dict(figures.by_action),
        "reconnectionRate": figures.reconnection_rate,
        "meanSecondsToRecover": figures.recovery_seconds / figures.recoveries if figures.recoveries else None,
        "lastDisconnection": None
        if last is None
        else {"timestamp": iso(last[0]), "code": last[1], "action": last[2]},
    }


def recovery(view: InstanceView) -> dict[str, Any]:
    return {
        "attempts": view.recovery_attempts,
        "restartDue": iso(view.restart_due),
        "bannedUntil": iso(view.banned_until),
    }


def port(view: InstanceView, now: float) -> dict[str, Any]:
    heartbeat: Mapping[str, Any] | None = None
    if view.heartbeat_at is not None:
        heartbeat = {"timestamp": iso(view.heartbeat_at), "secondsAgo": round(now - view.heartbeat_at, 3)}
    return {
        "pid": view.pid,
        "incarnation": view.incarnation,
        "rssBytes": view.rss_bytes,
        "lastHeartbeat": heartbeat,
    }


def iso(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""After the last step: the host stays up to be played with, and everything it does is told."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any
from unittest.mock import ANY

from tests.demo.stage import Stage
from tests.demo.teller import Teller

SCAN_AFTER = 6.0
"""Seconds that a QR code is left to be looked at before one of the demo's phones scans it."""

_QUIET = {"info", "debug"}

_PHASES = {
    "closed": "is closed",
    "starting": "is starting a connection",
    "awaiting_scan": "shows a QR code",
    "pairing": "was scanned",
    "open": "is open",
    "recovering": "has lost its connection",
    "stopping": "is ending its connection",
    "failed": "has given up",
}


class Afterwards:
    """Tells what the host's log says until it is interrupted, and scans what is shown.

    Args:
        stage: with the host running.
        teller: whom to tell.
        scan_after: seconds before a QR code of a user's own instance is scanned.
    """

    def __init__(self, stage: Stage, teller: Teller, scan_after: float = SCAN_AFTER) -> None:
        self._stage = stage
        self._teller = teller
        self._scan_after = scan_after

    def invite(self) -> None:
        """Say where everything is, and what to try."""
        stage = self._stage
        url, key = stage.host.url, stage.key
        command = os.path.relpath(Path(sys.executable).with_name("zapvisor"))
        lines = [f"API        {url}   (its document: {url}/openapi)", f"API key    {key}"]
        if stage.api.client.get("/").status_code == 200:
            lines.insert(0, f"Dashboard  {url}/   (it asks for the key)")
        lines += [
            f"Log        {stage.host.directory / 'host.log'}",
            "",
            "Try, in another terminal:",
            f"  export ZAPVISOR_URL={url} ZAPVISOR_API_KEY={key}",
            f"  {command} tree",
            f"  {command} create mine && {command} connect mine   (a phone of the demo scans it)",
            f"  kill -9 {stage.host.port_pid('sales')}           (the connection of sales)",
            "",
            "Ctrl-C ends the demo and removes everything.",
        ]
        self._teller.panel("the host stays up", lines)

    def watch(self) -> None:
        """Tell what happens, for ever.

        Raises:
            HostDied: the host ended.
        """
        log = self._stage.host.log
        seen = log.mark()
        while True:
            try:
                log.wait_for(ANY, after=seen, timeout=3600)
            except TimeoutError:
                continue
            records = log.records_after(seen)
            seen += len(records)
            for record in records:
                self._tell(record)

    def _tell(self, record: dict[str, Any]) -> None:
        name, event = record.get("instance"), record["event"]
        if event == "phase":
            self._teller.say(_PHASES.get(record["phase"], record["phase"]), name)
            if record["phase"] == "awaiting_scan":
                self._scan_soon(str(name))
        elif event == "disconnected":
            what = f"disconnected: {record['code']} {record['name']} ({record['cause']})"
            self._teller.say(f"{what}, action {record['action']}", name)
        elif event == "port":
            self._teller.say(f"has a new process, {record['pid']}", name)
        elif record.get("level") not in _QUIET:
            self._teller.say(f"{record.get('level', '')}: {record.get('text', event)}", name)

    def _scan_soon(self, name: str) -> None:
        timer = threading.Timer(self._scan_after, self._scan, (name,))
        timer.daemon = True
        timer.start()

    def _scan(self, name: str) -> None:
        try:
            scan = self._stage.scan(name)
        except Exception as error:
            self._teller.say(f"the demo's phone found nothing to scan: {error}", name)
        else:
            self._teller.say(f"phone +{self._stage.phone(name).number} scans: {scan.outcome}", name)

"""Tells systemd how the host is: sd_notify(3) and sd_watchdog_enabled(3), without a library.

Outside of systemd, where NOTIFY_SOCKET is not set, everything here does nothing.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import MutableMapping

_SEND_TIMEOUT = 2.0
_log = logging.getLogger("zapvisor.systemd")


class Notifier:
    """Sends state changes of the service over NOTIFY_SOCKET.

    A message that cannot be sent is logged (once until one succeeds) and never raises: the service goes on
    without its manager, whose own watchdog is the judge of silence.

    Attributes:
        watchdog_period: seconds between two signs of life at most, as the unit's WatchdogSec says; None when
            the watchdog is off or meant for another process. Half of it is a good interval.
    """

    def __init__(self, address: str | None = None, watchdog_period: float | None = None) -> None:
        """Makes a notifier for a socket.

        Args:
            address: an absolute path, or `@name` for an abstract socket; None: say nothing.
            watchdog_period: in seconds.

        Raises:
            ValueError: the address is neither.
        """
        if address is not None and (not address.startswith(("/", "@")) or len(address) < 2):
            raise ValueError(f"NOTIFY_SOCKET {address!r}: allowed: an absolute path or @name")
        self.watchdog_period = watchdog_period
        self._address = None if address is None else _binary(address)
        self._failing = False

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> Notifier:
        """A notifier for this process.

        The variables are taken out of the environment, so that processes started later cannot speak for this
        one.

        Args:
            environ: the environment; the process's when None.
        """
        variables = os.environ if environ is None else environ
        address = variables.pop("NOTIFY_SOCKET", None) or None
        microseconds = variables.pop("WATCHDOG_USEC", None)
        process = variables.pop("WATCHDOG_PID", None)
        period = _watchdog_period(microseconds, process)
        try:
            return cls(address, period)
        except ValueError as error:
            _log.warning("systemd is not told anything: %s", error)
            return cls(None, period)

    @property
    def enabled(self) -> bool:
        """Somebody listens."""
        return self._address is not None

    def ready(self, status: str = "") -> bool:
        """The service has started, or has reloaded."""
        return self.notify("READY=1", *_status(status))

    def status(self, text: str) -> bool:
        """One line for `systemctl status`."""
        return self.notify(*_status(text))

    def watchdog(self) -> bool:
        """A sign of life."""
        return self.notify("WATCHDOG=1")

    def reloading(self, status: str = "") -> bool:
        """The service has begun to read its configuration again; `ready` ends it."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self.notify("RELOADING=1", f"MONOTONIC_USEC={microseconds}", *_status(status))

    def stopping(self, status: str = "") -> bool:
        """The service has begun to stop."""
        return self.notify("STOPPING=1", *_status(status))

    def extend_timeout(self, seconds: float) -> bool:
        """Starting or stopping takes so many seconds more; ValueError unless it is a positive number."""
        if not (math.isfinite(seconds) and seconds > 0):
            raise ValueError(f"seconds {seconds!r}: allowed: more than 0")
        return self.notify(f"EXTEND_TIMEOUT_USEC={math.ceil(seconds * 1_000_000)}")

    def notify(self, *assignments: str) -> bool:
        """Sends `NAME=value` lines as one message.

        Args:
            assignments: as sd_notify(3) knows them.

        Returns:
            Whether it was sent.

        Raises:
            ValueError: a line without `=`, or with a newline in it, which would be another assignment.
        """
        for assignment in assignments:
            if "=" not in assignment or "\n" in assignment:
                raise ValueError(f"assignment {assignment!r}: allowed: NAME=value on one line")
        if self._address is None:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_SEND_TIMEOUT)
                sender.connect(self._address)
                sender.sendall("\n".join(assignments).encode())
        except OSError as error:
            self._fail(error)
            return False
        self._failing = False
        return True

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            _log.warning("systemd could not be told: %s", error.strerror or error)


def _binary(address: str) -> bytes:
    raw = os.fsencode(address)
    return b"\0" + raw[1:] if raw.startswith(b"@") else raw


def _status(text: str) -> list[str]:
    line = " ".join(text.split())
    return [f"STATUS={line[:500]}"] if line else []


def _watchdog_period(microseconds: str | None, process: str | None) -> float | None:
    if not microseconds or (process and process != str(os.getpid())):
        return None
    if not microseconds.isascii() or not microseconds.isdigit() or int(microseconds) == 0:
        _log.warning("WATCHDOG_USEC %r: allowed: a positive whole number", microseconds[:40])
        return None
    return int(microseconds) / 1_000_000

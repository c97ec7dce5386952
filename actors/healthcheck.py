"""Asks the control API how it is, as a client would, on a thread that nobody waits for."""

from __future__ import annotations

import http.client
import ipaddress
import logging
import threading
from collections.abc import Callable

PATH = "/healthz"
log = logging.getLogger("zapvisor.watchdog")


class HealthCheck:
    """One question at a time: while one is not answered, no other is asked."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self, address: tuple[str, int], timeout: float, well: Callable[[], object]) -> None:
        """Ask, and go on.

        Args:
            address: where the API listens, host and port.
            timeout: seconds for each step of the exchange.
            well: called on the thread if the answer is 200; must not block.
        """
        if self._thread is not None and self._thread.is_alive():
            return
        self._thread = threading.Thread(
            target=_ask, args=(address, timeout, well), name="watchdog/http", daemon=True
        )
        self._thread.start()


def _ask(address: tuple[str, int], timeout: float, well: Callable[[], object]) -> None:
    connection = http.client.HTTPConnection(reachable(address[0]), address[1], timeout=timeout)
    try:
        connection.request("GET", PATH)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        log.error("GET %s of the API failed: %s", PATH, error or type(error).__name__)
    else:
        if status == http.client.OK:
            well()
        else:
            log.error("GET %s of the API was answered %d", PATH, status)
    finally:
        connection.close()


def reachable(host: str) -> str:
    """An address that reaches who listens on a host: loopback for one that listens on every address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"

"""What the way to WhatsApp is like, as the client library goes it: checks that wait for the network."""

from __future__ import annotations

import socket
import ssl
import time
from functools import cache
from typing import Any

import httpx

WHATSAPP = "web.whatsapp.com"
ADDRESS = f"https://{WHATSAPP}/"
SERVER_ERROR = 500
"""The first status of a server in trouble."""


def resolves(host: str) -> dict[str, Any]:
    """Whether a name has an address."""
    try:
        found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    except OSError as error:
        return {"ok": False, "host": host, "error": error.strerror or str(error)}
    return {"ok": True, "host": host, "addresses": sorted({str(entry[4][0]) for entry in found})[:8]}


def reaches(proxy: str | None, timeout: float) -> dict[str, Any]:
    """Whether WhatsApp's web server answers, through the proxy if there is one, else directly."""
    began = time.monotonic()
    try:
        # Which proxy to take was decided before; what is trusted may still be said by SSL_CERT_FILE.
        trusted = httpx.create_ssl_context()
        with httpx.Client(proxy=proxy, timeout=timeout, verify=trusted, trust_env=False) as client:
            status = client.get(ADDRESS).status_code
    except Exception as error:  # noqa: BLE001  (a proxy's nonsense has errors of its own, by the package that reads it)
        return {"ok": False, "error": type(error).__name__}
    return {"ok": True, "status": status, "milliseconds": round((time.monotonic() - began) * 1000)}


def is_reached(proxy: str | None, timeout: float) -> bool:
    """Whether WhatsApp's web server answers, and not that it is in trouble; cheaper than `reaches`, and only that.

    Args:
        proxy: the URL of the proxy to go through, None to go directly.
        timeout: seconds for each step of the exchange.
    """
    try:
        with (
            httpx.Client(proxy=proxy, timeout=timeout, verify=_trusted(), trust_env=False) as client,
            client.stream("GET", ADDRESS) as answer,
        ):
            return answer.status_code < SERVER_ERROR
    except Exception:  # noqa: BLE001  (as above)
        return False


@cache
def _trusted() -> ssl.SSLContext:
    """Reading the certificates takes longer than everything else of a look."""
    return httpx.create_ssl_context()

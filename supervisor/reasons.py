"""Why a connection ended, in words for people: the dashboard and the command line say the same."""

from __future__ import annotations

from collections.abc import Mapping

_CODES: Mapping[int, str] = {
    401: "Logged out",
    402: "Banned by WhatsApp for a time",
    403: "Account not allowed by WhatsApp",
    405: "WhatsApp asks for a newer client",
    406: "Login not accepted",
    408: "No answer in time",
    411: "Multi-device is off on the phone",
    428: "Connection closed",
    440: "Another session took over",
    500: "Session cannot be read",
    503: "WhatsApp not reachable",
    515: "Restart asked for after pairing",
}

_CAUSES: Mapping[tuple[int, str], str] = {
    (401, "command"): "Logged out on request",
    (401, "reset"): "Reset on request",
    (401, "logout"): "Logged out by the phone",
    (408, "dns"): "Name of the server not found",
    (408, "heartbeat"): "Its process did not answer",
    (408, "inactivity"): "No sign of life for too long",
    (408, "keepalive"): "WhatsApp stopped answering",
    (408, "pairing"): "Pairing was not finished in time",
    (408, "qr"): "Nobody scanned the codes",
    (408, "slow"): "WhatsApp took too long to answer",
    (408, "start"): "Its process did not start in time",
    (428, "closed"): "Connection closed by WhatsApp",
    (428, "crash"): "Its process ended unexpectedly",
    (428, "qr"): "Nobody scanned the codes",
    (428, "stream"): "Connection ended by WhatsApp",
    (503, "proxy"): "Proxy not reachable",
    (503, "refused"): "Connection refused",
    (503, "reset"): "Connection reset",
    (503, "start"): "Connection could not be started",
    (503, "tls"): "No secure connection",
    (515, "pairing"): "Pairing was not finished",
}


def reason(code: int | None, cause: str | None) -> str:
    """Why a connection ended.

    Args:
        code: a disconnect code.
        cause: what is known beyond it, as history and log call it.
    """
    if code is None:
        return "Unknown reason"
    return _CAUSES.get((code, cause or "")) or _CODES.get(code) or "Connection ended"

"""What an attempt came to, and what it says about the event and about the destination."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

import httpcore

from actors.delivery.address import RefusedAddress
from actors.delivery.request import Unsendable
from actors.delivery.transport import Answer

FINAL = frozenset({400, 401, 403, 404, 422})
"""Answers that end the retries, as in Evolution API."""

OVERLOADED = frozenset({429, 502, 503, 504})
"""Answers about the destination as a whole, not about the event."""

SPARED = frozenset({429, 503})
"""Those that say so in plain words. A gateway's 502 or 504 may be what one event makes of the receiver behind it."""

RETRY_AFTER_LIMIT = 3600.0
"""Seconds beyond which a Retry-After is not believed."""


class Result(Enum):
    """The kinds of outcome.

    WITHDRAWN: not attempted, as the delivery no longer waits for this destination.
    DELIVERED: taken. REJECTED: will never be taken; the destination is well. FAILED: not taken this time, and it may
    be the event's fault. UNAVAILABLE: the destination cannot be reached or says that it is overloaded.
    """

    DELIVERED = "delivered"
    REJECTED = "rejected"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt.

    Attributes:
        error: what went wrong, in words without secrets.
        retry_after: seconds that the destination asked to be left alone for.
        spared: it says so little about the event that it uses up no attempt while the destination is probed.
    """

    result: Result
    error: str | None = None
    retry_after: float | None = None
    spared: bool = False


def of_answer(answer: Answer, now: float) -> Outcome:
    """The outcome of an answer; `now` in epoch seconds."""
    status = answer.status
    if 200 <= status <= 299:
        return Outcome(Result.DELIVERED)
    error = f"HTTP {status}"
    if status in FINAL:
        return Outcome(Result.REJECTED, error)
    if 300 <= status <= 399:
        return Outcome(Result.FAILED, f"{error}: redirects are not followed")
    pause = retry_after(answer.headers.get(b"retry-after"), now)
    if status in OVERLOADED:
        return Outcome(Result.UNAVAILABLE, error, pause, spared=status in SPARED)
    return Outcome(Result.FAILED, error, pause)


def of_error(error: Exception) -> Outcome:
    """The outcome of a request that got no answer."""
    match error:
        case RefusedAddress():
            return Outcome(Result.REJECTED, str(error))
        case Unsendable():
            return Outcome(Result.REJECTED, f"cannot be sent: {error}")
        case httpcore.UnsupportedProtocol() | httpcore.LocalProtocolError() | ValueError():
            # What these say quotes the header or the URL.
            return Outcome(Result.REJECTED, "cannot be sent: the URL or a header is not valid")
        case httpcore.ConnectTimeout() | httpcore.ConnectError():
            return Outcome(Result.UNAVAILABLE, f"no connection: {error}", spared=True)
        case httpcore.TimeoutException():
            return Outcome(Result.FAILED, f"no answer: {error}")
        case httpcore.RemoteProtocolError():
            # What it says may quote the answer, and that may quote the request.
            return Outcome(Result.FAILED, "connection lost: no whole HTTP answer")
        case _:
            return Outcome(Result.FAILED, f"connection lost: {error}")


def retry_after(value: bytes | None, now: float) -> float | None:
    """Seconds named by a Retry-After header (RFC 9110, 10.2.3): a number or a date; None for anything else."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:9]), RETRY_AFTER_LIMIT)
    try:
        at = parsedate_to_datetime(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        seconds = (at - datetime.fromtimestamp(now, UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT)

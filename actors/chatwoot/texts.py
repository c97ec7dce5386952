"""What people are told in Chatwoot of what happens to an instance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.store import EventRow
from actors.views import QrView

Picture = Callable[[str], bytes]
"""Draws the text of a QR code as a PNG."""

Reason = Callable[[int], str]
"""The words for a disconnection's code."""

BY_COMMAND = {"command": "logged out by command", "reset": "reset by command"}
"""By the cause of a `status.instance`, where that says more than its code."""


@dataclass(frozen=True, slots=True)
class Message:
    """A text, and a PNG to attach."""

    text: str = field(repr=False)
    picture: bytes | None = field(default=None, repr=False)


def compose(
    event: EventRow, inbox: str, qr: QrView | None, picture: Picture, reason: Reason
) -> Message | None:
    """The message for an event; None for one of which nobody is told.

    Args:
        inbox: how people know the instance.
        qr: the code that can be scanned now. An event of another code is about one of no more use.
    """
    data = event.data or {}
    match event.event:
        case "qrcode.updated" if data.get("statusCode") is not None:
            return Message(
                f"🚨 *{inbox}*: nobody has scanned a code, and the limit of codes is reached. "
                "Connect the instance again to get another."
            )
        case "qrcode.updated":
            return _code(data, inbox, qr, picture)
        case "connection.update" if data.get("state") == "open":
            return Message(f"✅ *{inbox}* is connected to WhatsApp{_account(data)}.")
        case "status.instance":
            return _closed(data, inbox, reason)
        case _:
            return None


def is_code(event: EventRow) -> bool:
    """Whether it is about a code that can be scanned."""
    return event.event == "qrcode.updated" and bool((event.data or {}).get("qrcode"))


def is_open(event: EventRow) -> bool:
    """Whether it says that the connection is open."""
    return event.event == "connection.update" and (event.data or {}).get("state") == "open"


def _code(data: Mapping[str, Any], inbox: str, qr: QrView | None, picture: Picture) -> Message | None:
    shown = data.get("qrcode")
    count = shown.get("count") if isinstance(shown, Mapping) else None
    if qr is None or qr.count != count:
        return None
    text = (
        f"📱 *{inbox}*: scan this code in WhatsApp under *Linked devices*. "
        "It is good for a short time only; then the next one follows."
    )
    if qr.pairing_code:
        code = qr.pairing_code
        text += f"\n\nOr choose to link with the phone number there, and type *{code[:4]}-{code[4:]}*."
    return Message(text, picture(qr.code))


def _account(data: Mapping[str, Any]) -> str:
    number = str(data.get("wuid") or "").partition("@")[0]
    parts = [str(data.get("profileName") or ""), f"+{number}" if number else ""]
    named = ", ".join(part for part in parts if part)
    return f" ({named})" if named else ""


def _closed(data: Mapping[str, Any], inbox: str, reason: Reason) -> Message:
    code, cause = data.get("disconnectionReasonCode"), str(data.get("cause") or "")
    why = BY_COMMAND.get(cause) or (reason(code) if isinstance(code, int) else "")
    said = f": {why}" if why else ""
    number = f" ({code})" if code is not None else ""
    return Message(
        f"⚠️ *{inbox}* is disconnected from WhatsApp{said}{number}. It needs to be connected again."
    )

"""The events: what the `data` of each holds, as Evolution API 2.3 sends it where it has the event.

Each model carries an example; the table in docs/events.md is made from these models.
"""

# Field names are those of the wire.
# ruff: noqa: N815

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_serializer

QR_SECONDS = 180.0
"""How long a QR or pairing code may be of use: a batch of six codes lasts 160 s."""


class EventData(BaseModel):
    """What the events have in common.

    Fields that are not set are left out on the wire; fields beyond the model's are passed on as they are.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    name: ClassVar[str]
    when: ClassVar[str]
    """When it is sent, for the documentation."""
    example: ClassVar[Mapping[str, Any]]

    instance: str = Field(description="The instance's name.")

    def data(self) -> dict[str, Any]:
        """The event's data without what is secret, in JSON types."""
        return self.model_dump(mode="json", exclude_unset=True)

    def secret(self) -> dict[str, Any] | None:
        """What must be emptied in the database when it is of no more use."""
        return None


class InstanceCreate(EventData):
    name = "instance.create"
    when = "An instance was created."
    example = {"instanceId": "5e2b6c3e-5d0e-4a6e-9a3f-0d6a7c1b2f10"}

    instanceId: str = Field(description="The instance's id, which no later instance of that name has.")


class InstanceDelete(EventData):
    name = "instance.delete"
    when = "An instance is gone for good. The last event of an instance."
    example = {"instanceId": "5e2b6c3e-5d0e-4a6e-9a3f-0d6a7c1b2f10"}

    instanceId: str = Field(description="The instance's id, which no later instance of that name has.")


class RemoveInstance(EventData):
    name = "remove.instance"
    when = "An instance is being removed, just before `instance.delete`."
    example = {"instanceId": "5e2b6c3e-5d0e-4a6e-9a3f-0d6a7c1b2f10"}

    instanceId: str = Field(description="The instance's id, which no later instance of that name has.")


class QrCodeData(BaseModel):
    """A code to be scanned, or typed."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    instance: str = Field(description="The instance's name, here too.")
    code: str | None = Field(repr=False, description="The text of the QR code.")
    pairingCode: str | None = Field(default=None, repr=False, description="Eight characters to type instead.")
    count: int = Field(default=0, description="How many codes have been shown.")
    base64: str | None = Field(default=None, repr=False, description="The code as a PNG data URL.")


class QrcodeUpdated(EventData):
    name = "qrcode.updated"
    when = (
        "There is a new QR code, or the limit of codes is reached (then `message` and `statusCode` instead of "
        "`qrcode`). A code that could not be delivered while it was of use is delivered as null."
    )
    example = {
        "qrcode": {
            "instance": "sales",
            "pairingCode": None,
            "code": "2@Xw3…",
            "count": 1,
            "base64": "data:image/png;base64,iVBORw0…",
        }
    }

    qrcode: QrCodeData | None = Field(default=None, description="The code to scan.")
    message: str | None = Field(default=None, description="At the limit of codes: what to do.")
    statusCode: int | None = Field(default=None, description="At the limit of codes: 500.")

    def data(self) -> dict[str, Any]:
        public = super().data()
        if self.qrcode is not None:
            # The picture is not stored: it is drawn from the code when it is sent.
            public["qrcode"] |= {"code": None, "pairingCode": None, "base64": None}
        return public

    def secret(self) -> dict[str, Any] | None:
        if self.qrcode is None:
            return None
        return {"code": self.qrcode.code, "pairingCode": self.qrcode.pairingCode}


class ConnectionUpdate(EventData):
    name = "connection.update"
    when = "The connection changed: `connecting`, `open`, `close`, or `refused` at the limit of codes."
    example = {
        "state": "open",
        "statusReason": 200,
        "wuid": "5511999990001@s.whatsapp.net",
        "profileName": "Sales",
        "profilePictureUrl": None,
    }

    state: str = Field(description="`connecting`, `open`, `close` or `refused`.")
    statusReason: int = Field(
        default=200, description="The code of the disconnection; 200 when there was none."
    )
    wuid: str | None = Field(default=None, description="The account.")
    profileName: str | None = Field(default=None, description="The account's name in WhatsApp.")
    profilePictureUrl: str | None = Field(default=None, description="The account's picture.")


class StatusInstance(EventData):
    name = "status.instance"
    when = "The instance is closed for good: it needs a connect, and after most reasons a new scan."
    example = {
        "status": "closed",
        "disconnectionAt": 1_700_000_000.0,
        "disconnectionReasonCode": 401,
        "disconnectionObject": {"statusCode": 401, "name": "loggedOut", "cause": "logout"},
        "cause": "logout",
    }

    status: str = Field(description="Always `closed`.")
    disconnectionAt: float = Field(description="When.")
    disconnectionReasonCode: int = Field(description="The code of the disconnection.")
    disconnectionObject: Mapping[str, Any] | None = Field(
        default=None, description="Code, name, cause and what else is known, as JSON within the JSON."
    )
    cause: str | None = Field(default=None, description="What led to it, in one word.")

    @field_serializer("disconnectionAt")
    def _as_date(self, at: float) -> str:
        return iso(at)

    @field_serializer("disconnectionObject")
    def _as_text(self, value: Mapping[str, Any] | None) -> str | None:
        # Evolution API sends a JSON text within the JSON.
        return None if value is None else json.dumps(dict(value))


class LogoutInstance(EventData):
    name = "logout.instance"
    when = "The session was ended, by a command, by the phone or because it is of no more use."
    example = {"statusReason": 401, "cause": "command"}

    statusReason: int | None = Field(default=None, description="The code; 401 for a command.")
    cause: str | None = Field(
        default=None, description="`command`, `reset`, `logout`, or what else led to it."
    )


class NoConnection(EventData):
    name = "no.connection"
    when = "Nobody scanned: the limit of codes is reached, and the instance is closed."
    example = {"statusReason": 428}

    statusReason: int | None = Field(default=None, description="Always 428, as Evolution API sends it.")


class ReconnectionSuccess(EventData):
    name = "reconnection.success"
    when = "A lost connection is back."
    example = {"code": 428, "timeMs": 412, "strategy": "self"}

    code: int = Field(description="Why it was lost.")
    timeMs: int = Field(description="How long it took, in milliseconds.")
    strategy: str = Field(
        description="What brought it back: `self`, `restart` (by its supervisor), `inactivity` (it was silent), "
        "or a rung of the recovery ladder."
    )


class MultideviceConflict(EventData):
    name = "multidevice.conflict"
    when = "The phone's WhatsApp does not have multi-device switched on."
    example = {"action": "logout_required", "statusReason": 411}

    action: str = Field(description="Always `logout_required`.")
    statusReason: int | None = Field(default=None, description="Always 411.")


class RecoveryAttempt(EventData):
    name = "recovery.attempt"
    when = "A lost connection is going to be tried again."
    example = {
        "attempt": 2,
        "maxAttempts": 5,
        "statusReason": 428,
        "strategy": "clear-cache",
        "skipped": None,
        "delayMs": 4000,
    }

    attempt: int = Field(description="Its number since the connection was last stable.")
    maxAttempts: int | None = Field(default=None, description="After how many the instance is given up.")
    statusReason: int | None = Field(default=None, description="The code of the disconnection.")
    strategy: str | None = Field(
        default=None, description="The rung of the recovery ladder, or `inactivity` (it was silent)."
    )
    skipped: str | None = Field(default=None, description="A rung that would have deleted the session.")
    delayMs: int | None = Field(default=None, description="How long it waits first, in milliseconds.")


class InstanceCrash(EventData):
    name = "instance.crash"
    when = "A bug ended the instance's connection or subtree; its supervisor restarts it, or gives it up."
    example = {"reason": "killed by signal 9", "incarnation": 3}

    reason: str = Field(description="How it ended.")
    incarnation: int | None = Field(
        default=None, description="Which connection it was, counted since the start."
    )
    state: str | None = Field(default=None, description="`failed` when the supervisor gave the instance up.")


MODELS: Mapping[str, type[EventData]] = {
    model.name: model
    for model in (
        InstanceCreate,
        InstanceDelete,
        QrcodeUpdated,
        ConnectionUpdate,
        StatusInstance,
        LogoutInstance,
        RemoveInstance,
        NoConnection,
        ReconnectionSuccess,
        MultideviceConflict,
        RecoveryAttempt,
        InstanceCrash,
    )
}
"""Every event by its name."""


def iso(at: float) -> str:
    """An epoch time as JavaScript's `toISOString` writes it: UTC, milliseconds, `Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

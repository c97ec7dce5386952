# ruff: noqa: N815 - the names are the wire format's
"""The webhook of an instance.

Names and rules are those of Evolution API 2.3 (`src/api/integrations/event/webhook/webhook.schema.ts`); the
flat form and the names of its version 1 are accepted as well."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    RootModel,
    ValidationInfo,
    field_validator,
    model_validator,
)

from api.schemas.common import Body, Reply, Text, check_url

EVOLUTION_EVENTS = (
    "APPLICATION_STARTUP",
    "QRCODE_UPDATED",
    "MESSAGES_SET",
    "MESSAGES_UPSERT",
    "MESSAGES_EDITED",
    "MESSAGES_UPDATE",
    "MESSAGES_DELETE",
    "SEND_MESSAGE",
    "SEND_MESSAGE_UPDATE",
    "CONTACTS_SET",
    "CONTACTS_UPSERT",
    "CONTACTS_UPDATE",
    "PRESENCE_UPDATE",
    "CHATS_SET",
    "CHATS_UPSERT",
    "CHATS_UPDATE",
    "CHATS_DELETE",
    "GROUPS_UPSERT",
    "GROUP_UPDATE",
    "GROUP_PARTICIPANTS_UPDATE",
    "CONNECTION_UPDATE",
    "LABELS_EDIT",
    "LABELS_ASSOCIATION",
    "CALL",
    "TYPEBOT_START",
    "TYPEBOT_CHANGE_STATUS",
    "REMOVE_INSTANCE",
    "LOGOUT_INSTANCE",
    "INSTANCE_CREATE",
    "INSTANCE_DELETE",
    "STATUS_INSTANCE",
)
"""What a client of Evolution API may choose from; those that this host has no source for never come."""

OWN_EVENTS = (
    "NO_CONNECTION",
    "RECONNECTION_SUCCESS",
    "MULTIDEVICE_CONFLICT",
    "RECOVERY_ATTEMPT",
    "INSTANCE_CRASH",
)

EVENTS = EVOLUTION_EVENTS + OWN_EVENTS

MAX_HEADERS = 50
FLAT_FORM = frozenset({"url", "enabled"})
_NO_TOKEN = frozenset('"(),/:;<=>?@[\\]{}')


def _event(value: str) -> str:
    if value not in EVENTS:
        raise ValueError("one of " + ", ".join(EVENTS))
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    if len(value) > MAX_HEADERS:
        raise ValueError(f"at most {MAX_HEADERS} headers")
    for name, text in value.items():
        if not name or any(not "!" <= char <= "~" or char in _NO_TOKEN for char in name):
            raise ValueError("header names of letters, digits and hyphens")
        if not text.isprintable():
            raise ValueError("header values without line breaks or control characters")
    if "jwt_key" in value:
        _check_jwt_key(value["jwt_key"])
    return {name: text if name == "jwt_key" else text.strip() for name, text in value.items()}


def _check_jwt_key(key: str) -> None:
    import jwt  # here, for few webhooks have such a key and it may load all of `cryptography`

    try:
        jwt.encode({}, key, algorithm="HS256")
    except (jwt.InvalidKeyError, ValueError):
        raise ValueError("a jwt_key that is a secret: not empty, and no public key or certificate") from None


Event = Annotated[str, AfterValidator(_event), Field(json_schema_extra={"enum": list(EVENTS)})]
Headers = Annotated[dict[str, Text], AfterValidator(_headers)]


class WebhookFields(Body):
    """Where an instance's events go. With no event named, all of them."""

    enabled: bool | None = Field(None, description="On, unless it is false or there is no URL.")
    url: Text | None = Field(None, validate_default=True, description="Required when enabled.")
    headers: Headers | None = None
    byEvents: bool | None = Field(
        None,
        validation_alias=AliasChoices("byEvents", "webhookByEvents", "webhook_by_events"),
        description="Append the event's name to the URL. Also `webhookByEvents`.",
    )
    base64: bool | None = Field(
        None,
        validation_alias=AliasChoices("base64", "webhookBase64", "webhook_base64"),
        description="Also `webhookBase64`.",
    )
    events: list[Event] | None = Field(None, max_length=2 * len(EVENTS))

    @field_validator("url", mode="after")
    @classmethod
    def _url_when_enabled(cls, value: str | None, info: ValidationInfo) -> str | None:
        """A switched-off webhook may hold anything: n8n's node sends the word "vazio"."""
        enabled = info.data.get("enabled")
        if enabled or (value and enabled is None):
            check_url(value or "")
        return value

    @property
    def is_enabled(self) -> bool:
        """Version 1 clients send no `enabled`: an address alone switches it on."""
        return bool(self.url) if self.enabled is None else self.enabled

    def stored(self) -> dict[str, Any]:
        """In the form in which an instance keeps it; `base64` stays None where it was not said."""
        return {
            "enabled": self.is_enabled,
            "url": self.url or "",
            "headers": dict(self.headers or {}),
            "byEvents": bool(self.byEvents),
            "base64": self.base64,
            "events": list(dict.fromkeys(self.events or EVENTS)) if self.is_enabled else [],
        }


class WebhookBody(Body):
    """`{"webhook": {…}}`; the fields of `webhook` may also stand alone, as version 1 clients send them."""

    webhook: WebhookFields

    @model_validator(mode="before")
    @classmethod
    def _lift_flat_form(cls, data: Any) -> Any:
        if isinstance(data, dict) and "webhook" not in data and FLAT_FORM & data.keys():
            return {"webhook": data}
        return data


class WebhookReply(Reply):
    """The webhook of an instance, under the names that Evolution API answers and those that it asks for."""

    id: str
    instanceId: str
    enabled: bool
    url: str
    headers: dict[str, str]
    events: list[str]
    webhookByEvents: bool
    webhookBase64: bool
    byEvents: bool
    base64: bool
    createdAt: str
    updatedAt: str


class WebhookRow(Reply):
    """A webhook as a row of instances shows it: without its headers, which may hold credentials."""

    enabled: bool
    url: str = Field(description="Without user, password and query, for which there is `/webhook/find`.")
    events: list[str]
    webhookByEvents: bool
    webhookBase64: bool


class OptionalWebhook(RootModel[WebhookReply | None]):
    """The webhook of an instance; null when none was ever set."""

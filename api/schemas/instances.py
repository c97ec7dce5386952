# ruff: noqa: N815 - the names are the wire format's
"""Creating, connecting and listing instances.

The source is Evolution API 2.3: `src/validate/instance.schema.ts` and its instance controller.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from api.gateway import INTEGRATION
from api.schemas.common import (
    BlankIsAbsent,
    Body,
    InstanceRef,
    Name,
    Number,
    Query,
    Reply,
    ShortText,
    Text,
    Token,
)
from api.schemas.config import CHECK_PROXY, ChatwootBody, Port, ProxyFields, SettingsView
from api.schemas.webhook import WebhookFields, WebhookRow

_PROXY_FIELDS = {"proxyHost": "host", "proxyPort": "port", "proxyProtocol": "protocol"}
_FLAT_WEBHOOK = {
    "webhookUrl": "url",
    "webhookByEvents": "byEvents",
    "webhookBase64": "base64",
    "webhookEvents": "events",
}


class CreateBody(Body):
    """A new instance."""

    instanceName: Name = Field(examples=["sales"])
    integration: Annotated[str, Field(max_length=64)] | None = Field(None, description=f"`{INTEGRATION}`.")
    token: Annotated[Token | None, BlankIsAbsent] = Field(
        None, description="The instance's own key; made if absent."
    )
    number: Annotated[Number | None, BlankIsAbsent] = Field(None, description="To pair by a typed code.")
    qrcode: bool | None = Field(None, description="Connect at once and wait for the first code.")
    rejectCall: bool | None = None
    msgCall: Text | None = None
    groupsIgnore: bool | None = None
    alwaysOnline: bool | None = None
    readMessages: bool | None = None
    readStatus: bool | None = None
    syncFullHistory: bool | None = None
    proxyHost: Annotated[ShortText | None, BlankIsAbsent] = None
    proxyPort: Annotated[Port | None, BlankIsAbsent] = None
    proxyProtocol: Annotated[ShortText | None, BlankIsAbsent] = None
    proxyUsername: ShortText | None = None
    proxyPassword: ShortText | None = None
    webhook: WebhookFields | None = None
    chatwootAccountId: ShortText | None = None
    chatwootToken: ShortText | None = None
    chatwootUrl: Text | None = None
    chatwootSignMsg: bool | None = None
    chatwootReopenConversation: bool | None = None
    chatwootConversationPending: bool | None = None
    chatwootNameInbox: ShortText | None = None
    chatwootMergeBrazilContacts: bool | None = None
    chatwootImportContacts: bool | None = None
    chatwootImportMessages: bool | None = None
    chatwootDaysLimitImportMessages: int | float | None = Field(None, ge=0, le=36500)
    chatwootOrganization: ShortText | None = None
    chatwootLogo: Text | None = None
    chatwootAutoCreate: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _lift_flat_webhook(cls, data: Any) -> Any:
        """Version 1 clients send `webhookUrl` and its companions beside the name."""
        if isinstance(data, dict) and data.get("webhook") in (None, "") and data.get("webhookUrl"):
            return {**data, "webhook": {new: data[old] for old, new in _FLAT_WEBHOOK.items() if old in data}}
        return data

    @field_validator("integration", mode="after")
    @classmethod
    def _only_integration(cls, value: str | None) -> str | None:
        if value not in (None, "", INTEGRATION):
            raise ValueError(INTEGRATION)
        return value

    @field_validator("webhook", mode="before")
    @classmethod
    def _webhook_is_optional(cls, value: Any) -> Any:
        """n8n's node sends a webhook without an address for none."""
        if isinstance(value, dict) and not value.get("url") and not value.get("enabled"):
            return None
        return value

    @model_validator(mode="after")
    def _whole_proxy_or_none(self) -> CreateBody:
        if any(getattr(self, field) for field in _PROXY_FIELDS):
            for field, part in _PROXY_FIELDS.items():
                try:
                    CHECK_PROXY[part](getattr(self, field) or "")
                except ValueError as error:
                    raise ValueError(f"an object whose {field} is {error}, since a proxy is given") from None
        return self

    def settings(self) -> dict[str, Any]:
        """The settings as an instance keeps them."""
        return {
            name: getattr(self, name) or ("" if name == "msgCall" else False)
            for name in SettingsView.model_fields
        }

    def proxy(self) -> dict[str, Any]:
        """The proxy as an instance keeps it; empty when there is none."""
        if not self.proxyHost:
            return {}
        parts = {part: getattr(self, field) for field, part in _PROXY_FIELDS.items()}
        credentials = {"username": self.proxyUsername or "", "password": self.proxyPassword or ""}
        return {"enabled": True, **parts, **credentials}

    def chatwoot(self) -> dict[str, Any] | None:
        """The Chatwoot part as `ChatwootBody` takes it; None when account, token or address is missing."""
        if not (self.chatwootAccountId and self.chatwootToken and self.chatwootUrl):
            return None
        prefix = "chatwoot"
        fields = {
            name: getattr(self, prefix + name[0].upper() + name[1:])
            for name in ChatwootBody.model_fields
            if prefix + name[0].upper() + name[1:] in CreateBody.model_fields
        }
        for choice in ("signMsg", "reopenConversation", "conversationPending"):
            fields[choice] = bool(fields[choice])  # n8n's node leaves two of them out
        return {**fields, "enabled": True, "number": self.number}


class ConnectBody(Body):
    """Optional: the number may stand in the body as well as in the query."""

    model_config = ConfigDict(openapi_extra={"required": False})  # type: ignore[typeddict-unknown-key]

    number: Annotated[Number | None, BlankIsAbsent] = None


class ConnectQuery(Query):
    """How to connect."""

    number: Annotated[Number | None, BlankIsAbsent] = Field(None, description="To pair by a typed code.")


class FetchQuery(Query):
    """Which instances; all conditions must hold."""

    instanceName: Annotated[str | None, BlankIsAbsent] = Field(None, max_length=255)
    instanceId: Annotated[str | None, BlankIsAbsent] = Field(None, max_length=255)
    number: Annotated[str | None, BlankIsAbsent] = Field(None, max_length=255)


class ForceQuery(Query):
    """How to reconnect."""

    cleanSession: bool = Field(False, description="Delete the credentials first.")


class PresenceBody(Body):
    """How the account appears to others; what it does in a chat is not told, since chats are not carried."""

    presence: Literal["unavailable", "available"]


class PresenceReply(Reply):
    """The presence that was sent."""

    presence: str


REFUSED_PAIRING = "Why there is no code to type, where one was asked for and refused."


class QrFields(Reply):
    """The code to scan or to type; nulls while there is none."""

    pairingCode: str | None
    pairingError: str | None = Field(default=None, description=REFUSED_PAIRING)
    code: str | None
    base64: str | None = Field(description="The picture, as `data:image/png;base64,…`.")
    count: int


class StateReply(Reply):
    """The state of an instance."""

    instance: InstanceRef


class ConnectReply(Reply):
    """`instance` when it is open, else the code."""

    instance: InstanceRef | None = None
    pairingCode: str | None = None
    pairingError: str | None = Field(default=None, description=REFUSED_PAIRING)
    code: str | None = None
    base64: str | None = None
    count: int | None = None


class RestartReply(ConnectReply):
    """The instance after the restart began, and the code if it waits for one."""

    instance: InstanceRef


class CreatedInstance(Reply):
    """The new instance."""

    instanceName: str
    instanceId: str
    integration: str
    webhookWaBusiness: str | None
    accessTokenWaBusiness: str
    status: str


class CreatedWebhook(Reply):
    """Its webhook."""

    webhookUrl: str | None = None
    webhookHeaders: dict[str, str] | None = None
    webhookByEvents: bool | None = None
    webhookBase64: bool | None = None


class CreateReply(Reply):
    """A new instance; `hash` is its own key."""

    instance: CreatedInstance
    hash: str
    webhook: CreatedWebhook
    settings: SettingsView
    qrcode: QrFields | None = None


class SettingRow(SettingsView):
    """Its settings."""

    instanceId: str


class InstanceRow(Reply):
    """One instance. Times are ISO 8601 in UTC."""

    id: str
    name: str
    connectionStatus: str
    phase: str
    desired: str
    ownerJid: str | None
    profileName: str | None
    profilePicUrl: str | None
    integration: str
    number: str | None
    token: str
    clientName: str
    disconnectionReasonCode: int | None
    disconnectionObject: str | None = Field(description="JSON text, as Evolution API gives it.")
    disconnectionAt: str | None
    createdAt: str
    updatedAt: str
    Setting: SettingRow | None
    Webhook: WebhookRow | None
    Proxy: ProxyFields | None

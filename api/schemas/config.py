# ruff: noqa: N815 - the names are the wire format's
"""Settings, proxy and Chatwoot of an instance.

Names and required fields are those of Evolution API 2.3 (`settings.schema.ts`, `proxy.schema.ts`,
`chatwoot.schema.ts`); the snake_case names of its version 1 are accepted as well.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import (
    AliasChoices,
    AliasGenerator,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationInfo,
    field_validator,
    model_validator,
)

from api.schemas.common import Body, Reply, ShortText, Text, check_url

PROXY_PROTOCOLS = ("http", "https", "socks5")
MAX_PORT = 65535


def _old_name(name: str) -> AliasChoices:
    return AliasChoices(name, re.sub(r"[A-Z]", lambda upper: "_" + upper[0].lower(), name))


def _blank_is_false(value: Any) -> Any:
    return False if value == "" else value


def _number_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Port = Annotated[str, Field(max_length=8), BeforeValidator(_number_as_text)]
"""Evolution API takes the port as a string; a number is taken as well."""


class SettingsBody(Body):
    """The seven settings; all but the message are required."""

    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=_old_name))

    rejectCall: bool
    msgCall: Text | None = None
    groupsIgnore: bool
    alwaysOnline: bool
    readMessages: bool
    readStatus: bool
    syncFullHistory: bool

    def stored(self) -> dict[str, Any]:
        """In the form in which an instance keeps it."""
        return self.model_dump() | {"msgCall": self.msgCall or ""}


class SettingsView(Reply):
    """The seven settings."""

    rejectCall: bool
    msgCall: str
    groupsIgnore: bool
    alwaysOnline: bool
    readMessages: bool
    readStatus: bool
    syncFullHistory: bool


class SettingsOf(Reply):
    """The settings of one instance."""

    instanceName: str
    settings: SettingsView


class SettingsReply(Reply):
    """What was stored."""

    settings: SettingsOf


def _check_host(value: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", value) and not _is_ipv6(value):
        raise ValueError("a host name or an IP address")


def _is_ipv6(value: str) -> bool:
    try:
        return (
            ipaddress.ip_address(value.removeprefix("[").removesuffix("]")).version == 6 and "%" not in value
        )
    except ValueError:
        return False


def _check_port(value: str) -> None:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= MAX_PORT:
        raise ValueError(f"1 to {MAX_PORT}")


def _check_protocol(value: str) -> None:
    if value not in PROXY_PROTOCOLS:
        raise ValueError("one of " + ", ".join(PROXY_PROTOCOLS))


CHECK_PROXY: Mapping[str, Callable[[str], None]] = {
    "host": _check_host,
    "port": _check_port,
    "protocol": _check_protocol,
}
"""What the parts of a proxy in use must be."""


class ProxyBody(Body):
    """The proxy that an instance connects through; switched off, the rest is forgotten.

    Version 1 clients send one `proxy` address in place of the five fields.
    """

    enabled: Annotated[bool, BeforeValidator(_blank_is_false)] = Field(
        description='n8n\'s node sends "" for a switch that is off; it is taken as false.'
    )
    host: ShortText | None = Field(None, validate_default=True)
    port: Port | None = Field(None, validate_default=True)
    protocol: ShortText | None = Field(None, validate_default=True)
    username: ShortText | None = None
    password: ShortText | None = None

    @model_validator(mode="before")
    @classmethod
    def _split_address(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("proxy"), str) or data.get("host"):
            return data
        try:
            parts = urlsplit(data["proxy"])
            fields = {"protocol": parts.scheme, "host": parts.hostname, "port": parts.port}
            credentials = {
                "username": unquote(parts.username or ""),
                "password": unquote(parts.password or ""),
            }
        except ValueError:
            return data
        return {**data, **fields, **credentials}

    @field_validator("host", "port", "protocol", mode="after")
    @classmethod
    def _required_when_enabled(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("enabled"):
            CHECK_PROXY[info.field_name or ""](value or "")
        return value

    def stored(self) -> dict[str, Any]:
        """In the form in which an instance keeps it."""
        fields = {name: (value or "") if self.enabled else "" for name, value in self.model_dump().items()}
        return fields | {"enabled": self.enabled}


class ProxyFields(Reply):
    """A proxy."""

    enabled: bool
    host: str
    port: str
    protocol: str
    username: str


class ProxyOf(Reply):
    """The proxy of one instance."""

    instanceName: str
    proxy: ProxyFields


class ProxySetReply(Reply):
    """What was stored; the password is not repeated."""

    proxy: ProxyOf


class ProxyReply(ProxyFields):
    """The proxy of an instance, as Evolution API answers it."""

    password: str
    id: str
    instanceId: str
    createdAt: str
    updatedAt: str


class OptionalSettings(RootModel[SettingsView | None]):
    """The settings of an instance; null when none were ever set."""


class OptionalProxy(RootModel[ProxyReply | None]):
    """The proxy of an instance; null when none was ever set."""


class ChatwootBody(Body):
    """The Chatwoot account that hears of this instance."""

    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=_old_name))

    enabled: bool
    accountId: ShortText | None = Field(None, validate_default=True)
    token: ShortText | None = Field(None, validate_default=True)
    url: Text | None = Field(None, validate_default=True)
    signMsg: bool | None = Field(None, validate_default=True)
    reopenConversation: bool | None = Field(None, validate_default=True)
    conversationPending: bool | None = Field(None, validate_default=True)
    signDelimiter: ShortText | None = None
    nameInbox: ShortText | None = None
    number: ShortText | None = None
    mergeBrazilContacts: bool | None = None
    importContacts: bool | None = None
    importMessages: bool | None = None
    daysLimitImportMessages: int | float | None = Field(None, ge=0, le=36500)
    autoCreate: bool | None = None
    organization: ShortText | None = None
    logo: Text | None = None
    ignoreJids: list[ShortText] | None = Field(None, max_length=1000)

    @field_validator("accountId", "token", "url", mode="after")
    @classmethod
    def _text_when_enabled(cls, value: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("enabled"):
            if not value:
                raise ValueError("given when enabled is true")
            if info.field_name == "url":
                check_url(value)
        return value

    @field_validator("signMsg", "reopenConversation", "conversationPending", mode="after")
    @classmethod
    def _choice_when_enabled(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value is None and info.data.get("enabled"):
            raise ValueError("true or false when enabled is true")
        return value

    def stored(self, instance: str) -> dict[str, Any]:
        """In the form in which the named instance keeps it."""
        texts = {name: getattr(self, name) or "" for name in ("accountId", "token", "url")}
        choices = {
            name: bool(getattr(self, name))
            for name in (
                "signMsg",
                "reopenConversation",
                "conversationPending",
                "mergeBrazilContacts",
                "importContacts",
                "importMessages",
            )
        }
        return {
            **self.model_dump(),
            **texts,
            **choices,
            "autoCreate": self.autoCreate is not False,
            "nameInbox": self.nameInbox or instance,
            "signDelimiter": self.signDelimiter if self.signMsg else None,
            "ignoreJids": list(self.ignoreJids or []),
        }


class ChatwootReply(Reply):
    """The Chatwoot settings of an instance; `webhook_url` is empty, for nothing comes back this way."""

    enabled: bool
    accountId: str
    token: str
    url: str
    signMsg: bool
    nameInbox: str
    webhook_url: str
    reopenConversation: bool = False
    conversationPending: bool = False
    signDelimiter: str | None = None
    number: str | None = None
    mergeBrazilContacts: bool = False
    importContacts: bool = False
    importMessages: bool = False
    daysLimitImportMessages: int | float | None = None
    autoCreate: bool = False
    organization: str | None = None
    logo: str | None = None
    ignoreJids: list[str] = Field(default_factory=list)

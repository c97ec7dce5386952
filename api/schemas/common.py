# ruff: noqa: N815 - the names are the wire format's
"""What the other schemas are made of."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
NUMBER_PATTERN = "^[0-9]+[.@0-9A-Za-z_-]+$"
"""Evolution API's pattern for a number (`src/validate/instance.schema.ts`), anchored: digits, or a jid."""

MAX_TEXT = 4096

MIN_TOKEN = 8
"""Characters of an instance's token, as of the host's key: a shorter one can be guessed."""


class Body(BaseModel):
    """A request's JSON object: strict types; fields that are not known are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class Query(BaseModel):
    """A request's query string; what is not known is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Reply(BaseModel):
    """A reply; programs may rely on every field."""

    model_config = ConfigDict(extra="forbid")


class OpenReply(BaseModel):
    """A reply that other programs may find more in than is written here."""

    model_config = ConfigDict(extra="allow")


def _printable(value: str) -> str:
    if "\0" in value:
        raise ValueError("text without NUL characters")
    return value


def _header_safe(value: str) -> str:
    if not all("!" <= char <= "~" for char in value):
        raise ValueError("printable ASCII without spaces, since it is sent in a header")
    return value


def check_url(value: str) -> str:
    """An address that can be posted to; ValueError otherwise."""
    try:
        parts = urlsplit(value)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        port_is_fine = False
    if (
        not port_is_fine
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or not value.isprintable()
    ):
        raise ValueError("an http:// or https:// address with a host")
    if " " in value:
        raise ValueError("an address without spaces")
    return value


def _blank_is_absent(value: Any) -> Any:
    return None if value == "" else value


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_printable)]
ShortText = Annotated[str, Field(max_length=255), AfterValidator(_printable)]
Url = Annotated[str, Field(max_length=2048), AfterValidator(check_url)]
Token = Annotated[str, Field(min_length=MIN_TOKEN, max_length=255), AfterValidator(_header_safe)]
Number = Annotated[str, Field(pattern=NUMBER_PATTERN, max_length=100)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
BlankIsAbsent = BeforeValidator(_blank_is_absent)


class InstancePath(BaseModel):
    """The instance that a route is about."""

    instanceName: str = Field(description="The instance's name.")


class ErrorMessages(Reply):
    """What went wrong, for people."""

    message: list[str]


class ErrorReply(Reply):
    """Every error has this form."""

    status: int = Field(examples=[404])
    error: str = Field(examples=["Not Found"])
    response: ErrorMessages


class InstanceRef(Reply):
    """An instance and its state, in the words of Evolution API."""

    instanceName: str
    state: str = Field(description="`open`, `connecting` or `close`.")


class CommandMessage(Reply):
    """What a command did."""

    message: str


class CommandReply(Reply):
    """A command was carried out."""

    status: str = Field(examples=["SUCCESS"])
    error: bool
    response: CommandMessage

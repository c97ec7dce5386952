"""Kinds of values that lead somewhere: addresses, URLs, headers, keys. Secret parts are never shown."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pydantic import SecretStr

from supervisor.config.errors import HIDDEN
from supervisor.config.frozen import FrozenDict
from supervisor.config.kinds import Kind

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_OWN_HEADERS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})
_URL_LIMIT = 2000


class Address(NamedTuple):
    """Where to listen: a host name or IP address without brackets, and a TCP port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class SecretUrl(SecretStr):
    """A URL that may hold a password or a token.

    `str` and `repr` show scheme, host and port alone; `get_secret_value()` gives the whole.
    """

    def _display(self) -> str:
        return shown_url(self.get_secret_value())

    @property
    def scheme(self) -> str:
        """The scheme in lower case: `sqlite`, `postgresql`, `redis`, `https`…"""
        return urlsplit(self.get_secret_value()).scheme

    @property
    def password(self) -> str | None:
        """The password in its plain form, when there is one."""
        password = urlsplit(self.get_secret_value()).password
        return unquote(password) if password else None


def shown_url(text: str) -> str:
    """A URL without what may be secret: user, password, path, query and fragment; `***` when it is not a URL.

    A `sqlite` URL holds nothing secret and is shown as it is.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return HIDDEN
    if parts.scheme == "sqlite" and "@" not in text:
        return text
    if not parts.scheme or not host:
        return f"{parts.scheme}://" if text == f"{parts.scheme}://" else HIDDEN
    place = f"[{host}]" if ":" in host else host
    rest = "/…" if parts.path.strip("/") or parts.query or parts.fragment else ""
    user = f"{HIDDEN}@" if "@" in parts.netloc else ""
    return f"{parts.scheme}://{user}{place}{f':{port}' if port is not None else ''}{rest}"


@dataclass(frozen=True, slots=True)
class Listen(Kind):
    """`host:port`, kept as an `Address`."""

    @property
    def allowed(self) -> str:
        return "host:port, as in 127.0.0.1:8080 or [::1]:8080, port 0 to 65535"

    def parse(self, text: str) -> Address:
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError("no port")
        if host.startswith("[") and host.endswith("]"):
            host = _ipv6(host[1:-1])
        elif ":" in host:
            raise ValueError("an IPv6 address without brackets")
        elif not host:
            raise ValueError("no host (0.0.0.0 listens on all IPv4 addresses)")
        elif not _HOST.fullmatch(host):
            raise ValueError("not a host")
        if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError("not a port")
        return Address(host, int(port))

    def accept(self, value: Any) -> Address:
        if isinstance(value, tuple | list) and len(value) == 2:
            host = f"[{value[0]}]" if ":" in str(value[0]) else value[0]
            return self.parse(f"{host}:{value[1]}")
        raise ValueError("not host and port")


@dataclass(frozen=True, slots=True)
class Origins(Kind):
    """Origins of web pages, separated by commas (RFC 6454), kept as a tuple; `*` alone stands for all."""

    empty_means: str
    limit: int = 20

    @property
    def allowed(self) -> str:
        example = "origins as in https://manager.example.org, separated by commas"
        return f"{example}, * for all, or empty for {self.empty_means}"

    def parse(self, text: str) -> tuple[str, ...]:
        return self.accept([word for word in re.split(r"[,\s]+", text) if word])

    def accept(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
            raise ValueError("not a list of origins")
        if len(value) > self.limit:
            raise ValueError(f"more than {self.limit} entries")
        if "*" in value and len(value) > 1:
            raise ValueError("* stands for all and takes nothing beside it")
        return tuple(_origin(word) for word in value)

    def show(self, value: Any) -> str:
        return ", ".join(value)


def _origin(text: str) -> str:
    if text == "*":
        return text
    spelled = text.lower().removesuffix("/")
    try:
        parts = urlsplit(spelled)
        _ = parts.port
    except ValueError:
        raise ValueError("not an origin") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError("not an origin")
    if spelled != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("an origin has no path")
    return spelled


@dataclass(frozen=True, slots=True)
class Url(Kind):
    """A URL of one of some schemes, kept as a `SecretUrl`, or None where it may be empty.

    Attributes:
        schemes: the first of each tuple is the spelling that is kept; the others are read as it.
        optional: the words for what an empty value means; "" when it may not be empty.
    """

    schemes: tuple[tuple[str, ...], ...]
    example: str
    optional: str = ""
    secret = True

    @property
    def allowed(self) -> str:
        empty = f", or empty: {self.optional}" if self.optional else ""
        return f"a URL as in {self.example}{empty}"

    def parse(self, text: str) -> SecretUrl | None:
        if not text:
            if self.optional:
                return None
            raise ValueError("empty")
        if len(text) > _URL_LIMIT or not text.isprintable() or " " in text:
            raise ValueError("not a URL")
        try:
            parts = urlsplit(text)
            _ = parts.port
        except ValueError:
            raise ValueError("not a URL") from None
        if text[0] in "'\"":
            raise ValueError("in quotes, which values are not")
        if not parts.scheme or "://" not in text:
            raise ValueError("no scheme")
        scheme = self._scheme(parts)
        _check_place(scheme, parts)
        return SecretUrl(f"{scheme}{text[len(parts.scheme) :]}")

    def accept(self, value: Any) -> SecretUrl | None:
        if value is None:
            return self.parse("")
        if isinstance(value, SecretStr):
            return self.parse(value.get_secret_value())
        raise ValueError("not a URL")

    def show(self, value: Any) -> str:
        return "" if value is None else str(value.get_secret_value())

    def redact(self, text: str) -> str:
        return shown_url(text) if text else text

    def _scheme(self, parts: SplitResult) -> str:
        for spellings in self.schemes:
            if parts.scheme in spellings:
                return spellings[0]
        raise ValueError(f"scheme {parts.scheme!r}")


def _check_place(scheme: str, parts: SplitResult) -> None:
    if scheme == "sqlite":
        if parts.netloc or not parts.path.strip("/"):
            raise ValueError("no file name after sqlite:///")
        if ":memory:" in parts.path or parts.query or parts.fragment:
            raise ValueError("not a file")
    elif scheme == "memory":
        if parts.netloc or parts.path:
            raise ValueError("memory:// takes nothing after it")
    elif not parts.hostname and not (scheme == "postgresql" and "host" in parse_qs(parts.query)):
        raise ValueError("no host")
    elif scheme == "postgresql":
        _check_database(parts)


# fmt: off
_LIBPQ = frozenset((
    "application_name", "channel_binding", "client_encoding", "connect_timeout", "dbname",
    "fallback_application_name", "gssdelegation", "gssencmode", "gsslib", "host", "hostaddr", "keepalives",
    "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts",
    "max_protocol_version", "min_protocol_version", "options", "passfile", "password", "port", "replication",
    "require_auth", "requirepeer", "service", "sslcert", "sslcertmode", "sslcompression", "sslcrl",
    "sslcrldir", "sslkey", "sslkeylogfile", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert",
    "sslsni", "ssl_max_protocol_version", "ssl_min_protocol_version", "target_session_attrs",
    "tcp_user_timeout", "user",
))
# fmt: on
"""PostgreSQL's own connection parameters (its manual, 34.1.2); others, as Prisma's `schema`, it refuses."""


def _check_database(parts: SplitResult) -> None:
    if not parts.path.strip("/"):
        raise ValueError("no database name")
    if parts.netloc.count("@") > 1:
        raise ValueError("an @ in user or password is written %40")
    unknown = sorted(parse_qs(parts.query, keep_blank_values=True).keys() - _LIBPQ)
    if unknown:
        raise ValueError(f"no parameter of PostgreSQL's: {unknown[0][:40]}")


@dataclass(frozen=True, slots=True)
class Secret(Kind):
    """A key that programs send in headers, kept as `SecretStr`, or None where it may be empty."""

    minimum: int
    optional: str
    maximum: int = 256
    secret = True

    @property
    def allowed(self) -> str:
        return (
            f"{self.minimum} to {self.maximum} ASCII letters, digits and signs without blanks, "
            f"or empty: {self.optional}"
        )

    def parse(self, text: str) -> SecretStr | None:
        if not text:
            return None
        if not self.minimum <= len(text) <= self.maximum:
            raise ValueError("too short" if len(text) < self.minimum else "too long")
        if not all("!" <= character <= "~" for character in text):
            raise ValueError("a character that is not allowed")
        if text[0] == text[-1] and text[0] in "'\"":
            raise ValueError("in quotes, which values are not")
        return SecretStr(text)

    def accept(self, value: Any) -> SecretStr | None:
        if value is None:
            return None
        if isinstance(value, SecretStr):
            return self.parse(value.get_secret_value())
        raise ValueError("not a text")

    def show(self, value: Any) -> str:
        return "" if value is None else str(value.get_secret_value())


@dataclass(frozen=True, slots=True)
class Headers(Kind):
    """HTTP headers, `Name: value` a line or a JSON object; kept as a read-only mapping to `SecretStr`."""

    limit: int = 32
    secret = True

    @property
    def allowed(self) -> str:
        return f'up to {self.limit} lines of "Name: value", or a JSON object of texts'

    def parse(self, text: str) -> FrozenDict[str, SecretStr]:
        if text.startswith("{"):
            return self.accept(_json_object(text))
        pairs: dict[str, str] = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            name, colon, value = line.partition(":")
            if not colon:
                raise ValueError("a line without a colon")
            if name.strip().lower() in {known.lower() for known in pairs}:
                raise ValueError("the same header twice")
            pairs[name.strip()] = value.strip()
        return self.accept(pairs)

    def accept(self, value: Any) -> FrozenDict[str, SecretStr]:
        if not isinstance(value, Mapping):
            raise ValueError("not headers")
        if len(value) > self.limit:
            raise ValueError(f"more than {self.limit} headers")
        return FrozenDict({name: _header(name, content) for name, content in value.items()})

    def show(self, value: Any) -> str:
        return "\n".join(f"{name}: {content.get_secret_value()}" for name, content in value.items())


def _header(name: Any, content: Any) -> SecretStr:
    text = content.get_secret_value() if isinstance(content, SecretStr) else content
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ValueError("a header name that HTTP does not allow")
    if name.lower() in _OWN_HEADERS or name.lower().startswith("x-zapvisor-"):
        raise ValueError(f"header {name} is set by the sender itself")
    if not isinstance(text, str) or len(text) > 4000:
        raise ValueError(f"the value of header {name} is not a text of up to 4000 characters")
    if any(character < " " or character > "~" for character in text):
        raise ValueError(f"the value of header {name} has a character that HTTP does not allow")
    return SecretStr(text)


def _json_object(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("starts like a JSON object but is none") from None


def _ipv6(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError("not an IPv6 address") from None

"""What one port is started with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

PLATFORMS = (
    "UNKNOWN", "CHROME", "FIREFOX", "IE", "OPERA", "SAFARI", "EDGE", "DESKTOP", "IPAD", "ANDROID_TABLET",
    "OHANA", "ALOHA", "CATALINA", "TCL_TV", "IOS_PHONE", "IOS_CATALYST", "ANDROID_PHONE", "ANDROID_AMBIGUOUS",
    "WEAR_OS", "AR_WRIST", "AR_DEVICE", "UWP", "VR", "CLOUD_API", "SMARTGLASSES",
)  # fmt: skip
"""Device platforms that WhatsApp knows (`DeviceProps.PlatformType`)."""

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
PROXY_SCHEMES = ("http", "https", "socks5")

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


@dataclass(frozen=True, slots=True)
class PortSpec:
    """One connection: which session, through which proxy, under which name.

    Attributes:
        instance: the instance's name, for logs and for the process's title.
        session_url: absolute path of a SQLite session database, or a `postgresql://` URL (may hold a
            password).
        jid: the device's own JID, only when it is known to be in the session database. Without it a SQLite
            file resumes the device it holds, if any; in PostgreSQL, which instances share, a new device is
            made.
        proxy_url: `http`, `https` or `socks5` URL; may hold a password. None leaves the choice to the
            environment (`HTTPS_PROXY`).
        device_name: shown on the phone under linked devices.
        platform: icon shown there; one of `PLATFORMS`.
        heartbeat: seconds between heartbeats, 0.05 to 3600.
        log_level: least severe record of the client library that is logged.

    Raises:
        ValueError: an attribute is wrong; the text names it, its value and what is allowed.
    """

    instance: str
    session_url: str = field(repr=False)
    jid: str | None = None
    proxy_url: str | None = field(default=None, repr=False)
    device_name: str = "zapvisor"
    platform: str = "CHROME"
    heartbeat: float = 10.0
    log_level: LogLevel = "WARNING"

    def __post_init__(self) -> None:
        _printable("instance", self.instance, 100)
        _printable("device_name", self.device_name, 50)
        if not self.session_url.startswith(("/", "postgresql://", "postgres://")) or "\0" in self.session_url:
            raise ValueError("session_url: must be an absolute path or a postgresql:// URL")
        if self.jid is not None:
            split_jid(self.jid)
        if self.proxy_url is not None:
            _check_proxy(self.proxy_url)
        if self.platform not in PLATFORMS:
            raise ValueError(f"platform: {self.platform!r}; allowed are {', '.join(PLATFORMS)}")
        if self.log_level not in LOG_LEVELS:
            raise ValueError(f"log_level: {self.log_level!r}; allowed are {', '.join(LOG_LEVELS)}")
        if not (math.isfinite(self.heartbeat) and 0.05 <= self.heartbeat <= 3600):
            raise ValueError(f"heartbeat: {self.heartbeat!r}; allowed are 0.05 to 3600 seconds")

    @property
    def is_postgres(self) -> bool:
        """True for a shared PostgreSQL session store."""
        return not self.session_url.startswith("/")

    def secrets(self) -> tuple[str, ...]:
        """Give every text in here that must not be shown, as written and as decoded."""
        found: set[str] = set()
        for url in (self.proxy_url, self.session_url if self.is_postgres else None):
            password = urlsplit(url).password if url else None
            if password:
                found |= {password, unquote(password)}
        return tuple(sorted(found, key=len, reverse=True))

    def to_json(self) -> dict[str, Any]:
        """Give the spec as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PortSpec:
        """Make the spec again.

        Raises:
            ValueError, TypeError: not what `to_json` gave.
        """
        return cls(**values)


def split_jid(jid: str) -> tuple[str, int, int, str]:
    """Take a device JID apart: user, agent, device, server.

    Raises:
        ValueError: not a JID.
    """
    name, at, server = jid.partition("@")
    name, colon, device = name.partition(":")
    user, dot, agent = name.partition(".")
    numbers = [part for part, present in ((agent, dot), (device, colon)) if present]
    if not (
        at and server and user.isalnum() and user.isascii() and all(part.isdecimal() for part in numbers)
    ):
        raise ValueError(f"jid: {jid!r} is not a JID such as 5511999999999:12@s.whatsapp.net")
    return user, int(agent or 0), int(device or 0), server


def _printable(name: str, value: str, limit: int) -> None:
    if not (0 < len(value) <= limit and value.isprintable()):
        raise ValueError(f"{name}: must be 1 to {limit} printable characters")


def _check_proxy(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host is None or parts.scheme not in PROXY_SCHEMES or not url.isprintable() or " " in url:
        raise ValueError(
            f"proxy_url: must be a URL with a host and one of the schemes {', '.join(PROXY_SCHEMES)}"
        )

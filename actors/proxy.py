"""An instance's proxy setting as the URL that a port connects through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

PROTOCOLS = ("http", "https", "socks5")


def proxy_url(proxy: Mapping[str, Any]) -> str | None:
    """The URL of a stored proxy setting (`enabled, host, port, protocol, username, password`), None without one."""
    if not proxy.get("enabled") or not proxy.get("host"):
        return None
    user, password = proxy.get("username"), proxy.get("password")
    login = f"{quote(str(user), safe='')}:{quote(str(password or ''), safe='')}@" if user else ""
    host = str(proxy["host"])
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{proxy.get('protocol') or 'http'}://{login}{host}:{proxy['port']}"

"""The URL of the proxy that a port connects through: an instance's own setting, else the environment's."""

from __future__ import annotations

import os
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


def environment_proxy(host: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The URL of the proxy that the client library takes from the environment on its way to a host.

    It reads variables in the order of Go's `net/http`, and `NO_PROXY` before `no_proxy`, where Python's libraries do
    the opposite: a host may have both.

    Args:
        host: a name, in lower case.
        environ: the variables.
    """
    url = _first(environ, "HTTPS_PROXY", "https_proxy")
    if not url or any(
        _exempts(entry.strip(), host) for entry in _first(environ, "NO_PROXY", "no_proxy").split(",")
    ):
        return None
    return url if "://" in url else f"http://{url}"


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _exempts(entry: str, host: str) -> bool:
    """Whether an entry of `NO_PROXY` is about this host: itself, a domain above it, or everything."""
    name, _, port = entry.lower().partition(":")
    if name == "*":
        return True
    name = name.removeprefix("*")
    above = host if name.startswith(".") else f".{host}"
    return bool(name) and port in ("", "443") and above.endswith(f".{name.removeprefix('.')}")

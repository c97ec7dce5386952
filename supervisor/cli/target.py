"""Where the host is, and the key to it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from supervisor.cli.failures import Misconfigured, Refused
from supervisor.config import (
    Address,
    ConfigError,
    ConfigUnreadable,
    DataDirError,
    DataDirUnavailable,
    Settings,
    load,
    read_api_key,
)


@dataclass(frozen=True, slots=True)
class Target:
    """A host's API.

    Attributes:
        url: its address without a slash at the end.
        api_key: the key to send.
    """

    url: str
    api_key: str = field(repr=False)

    @property
    def local(self) -> bool:
        """The host is on this machine, so that no proxy may stand between."""
        name = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"


def find_target(config: str | None, environ: Mapping[str, str] | None = None) -> Target:
    """The host that a client command is for.

    An INI file named on the command line comes first, then `ZAPVISOR_URL` with `ZAPVISOR_API_KEY`, then the
    defaults.

    Args:
        config: the INI file's path, or None.
        environ: the environment; the process's when None.

    Raises:
        Misconfigured: the file, the address or the key is wrong or missing.
    """
    variables = os.environ if environ is None else environ
    if config is None and variables.get("ZAPVISOR_URL"):
        return Target(_url(variables["ZAPVISOR_URL"]), _given_key(variables))
    settings = load_settings(config, variables)
    return Target(f"http://{_reachable(settings.api.listen)}", _key(settings))


def load_settings(config: str | None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings, or `Misconfigured` with every problem on a line of its own; `Refused` if that may pass."""
    try:
        return load(config, os.environ if environ is None else environ)
    except ConfigUnreadable as error:
        raise Refused(str(error)) from None
    except ConfigError as error:
        raise Misconfigured(str(error)) from None


def _url(text: str) -> str:
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or not text.strip().isprintable() or parts.query or parts.fragment:
        raise Misconfigured("ZAPVISOR_URL: not an address; allowed: http://host:port or https://host:port")
    return text.strip().rstrip("/")


def _given_key(environ: Mapping[str, str]) -> str:
    key = environ.get("ZAPVISOR_API_KEY", "").strip()
    if not key:
        raise Misconfigured("ZAPVISOR_API_KEY: not set, and ZAPVISOR_URL asks for it")
    if not all("!" <= character <= "~" for character in key):
        raise Misconfigured(
            "ZAPVISOR_API_KEY: not a key; allowed: ASCII letters, digits and signs without blanks"
        )
    return key


def _key(settings: Settings) -> str:
    if settings.api.api_key is not None:
        return settings.api.api_key.get_secret_value()
    try:
        key = read_api_key(settings.host.data_dir)
    except DataDirUnavailable as error:
        raise Refused(str(error)) from None
    except DataDirError as error:
        raise Misconfigured(str(error)) from None
    if key is None:
        raise Misconfigured(
            "no key: neither ZAPVISOR_API_KEY nor [api] api_key is set, and there is none in "
            f"{settings.host.data_dir} (the host makes one at its first start; -c names its INI file)"
        )
    return key


def _reachable(listen: Address) -> Address:
    if listen.port == 0:
        raise Misconfigured(
            "[api] listen: port 0 is any free one; set ZAPVISOR_URL to the address in the host's log"
        )
    return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host), listen.port)  # noqa: S104

"""The control API as a child of the root: a WSGI server in its own threads that ends with the actor."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from actors.deletion import longest_delete
from api.app import create_app
from api.gateway import Gateway
from api.server import ApiServer, ListenError
from api.settings import ApiSettings
from supervisor import __version__
from supervisor.config import Address, Settings, session_secret
from supervisor.otp import Actor, Caller, ExitReason

log = structlog.get_logger("zapvisor.host")

STOP_SECONDS = 7.0
"""For the requests that are being served; with the server's own margin still less than the actor's time to stop."""


def _not_yet(_environ: object, _start_response: object) -> list[bytes]:
    """Stands for the application until the address is known that it tells; nothing is accepted before."""
    raise RuntimeError("the server was started without its application")


@dataclass(frozen=True, slots=True)
class ServerFailed:
    """The loop that accepts and answers ended by itself."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Refresh:
    """A cast: answer by the configuration as it is now."""


class Web(Actor):
    """Child `api` of the root. It crashes with its server, so that its supervisor starts another."""

    def init(self, gateway: Gateway, current: Callable[[], Settings], api_key: str) -> None:
        """Listen, and answer from now on.

        Args:
            gateway: the way into the tree.
            current: gives the configuration as it is.
            api_key: the host's key.

        Raises:
            ListenError: the address cannot be listened on.
        """
        self._gateway, self._current, self._api_key = gateway, current, api_key
        settings = current()
        address = settings.api.listen
        me = self.ref

        def failed(error: BaseException) -> None:
            me.cast(ServerFailed(error))

        listen = (address.host, address.port)
        try:
            self._server = ApiServer(_not_yet, listen, settings.api.threads, on_failure=failed)
        except ListenError as error:
            raise ListenError(error.errno, f"[api] listen: {error.strerror}") from None
        self._shown = self._wanted()
        self._server.replace(create_app(gateway, self._shown, clock=self.clock))
        self._server.start()
        if is_open_to_eavesdroppers(self._server.address[0], settings.api.public_url):
            log.warning(
                "the API listens beyond this machine without TLS: keys and QR codes cross the network in the clear; "
                "listen on 127.0.0.1 behind a proxy that speaks TLS, and give its https address as [api] server_url",
                listen=str(address),
            )

    def handle_call(self, message: Any, caller: Caller) -> Any:
        """`"address"`: where it listens, as host and port."""
        if message == "address":
            return self._server.address
        return super().handle_call(message, caller)

    def handle_cast(self, message: Any) -> None:
        """The configuration changed, or the server's loop failed."""
        match message:
            case Refresh():
                self._refresh()
            case ServerFailed(error=error):
                raise error
            case _:
                super().handle_cast(message)

    def terminate(self, reason: ExitReason) -> None:
        """Answer what is being answered, then close."""
        self._server.stop(STOP_SECONDS)

    def _wanted(self) -> ApiSettings:
        """What the API answers by: the configuration, and the address that it got."""
        return api_settings(self._current(), self._api_key, self._server.address)

    def _refresh(self) -> None:
        wanted = self._wanted()
        if wanted != self._shown:
            self._shown = wanted
            self._server.replace(create_app(self._gateway, wanted, clock=self.clock))


def is_open_to_eavesdroppers(host: str, public_url: str) -> bool:
    """Whether others can reach the API without TLS, as far as the configuration tells.

    Args:
        host: the IP address that the API listens on.
        public_url: by which others reach it; with `https` there is a proxy in front that speaks TLS.
    """
    return not ipaddress.ip_address(host).is_loopback and not public_url.lower().startswith("https://")


def reached_at(settings: Settings, address: tuple[str, int]) -> str:
    """The address that clients are told; empty when none is given and it listens on all that the machine has.

    Args:
        settings: the configuration.
        address: host and port that the API listens on.
    """
    if settings.api.server_url is not None:
        return settings.api.public_url
    host, port = address
    return "" if ipaddress.ip_address(host).is_unspecified else f"http://{Address(host, port)}"


def api_settings(settings: Settings, api_key: str, address: tuple[str, int]) -> ApiSettings:
    """The part of the configuration that the API takes, and where it listens."""
    return ApiSettings(
        api_key=api_key,
        server_url=reached_at(settings, address),
        qr_color=settings.qrcode.color,
        chatwoot_enabled=settings.chatwoot.enabled,
        delete_timeout=longest_delete(settings),
        dashboard=settings.api.dashboard,
        session_secret=session_secret(settings.host.data_dir),
        cors_origins=frozenset(settings.api.cors_origins),
        version=__version__,
    )

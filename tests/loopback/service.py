"""A loopback service in this process, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from .api import TIMEOUT, LoopbackApi
from .authority import Authority
from .commands import Commands
from .control import ControlServer
from .core import Core
from .environment import client_environment

GRACE = 10.0


class LoopbackService(LoopbackApi):
    """A WhatsApp service for real clients on 127.0.0.1; a context manager that starts and ends it.

    ``workdir`` gets the certificates and keys (``workdir/authority``) and, with ``persist``, the linked
    devices (``workdir/accounts.json``), which a later service in the same directory takes up. Services that
    are to be trusted by the same client share an ``authority`` directory. ``port`` 0 takes a free one.
    ``credentials`` (user, password) are then required by the proxy. ``control_port`` opens the network
    face: 0 takes a free port, None opens none.
    """

    def __init__(
        self,
        workdir: Path | str,
        *,
        authority: Path | str | None = None,
        port: int = 0,
        credentials: tuple[str, str] | None = None,
        persist: bool = False,
        linger: float = 0.2,
        control_port: int | None = None,
    ) -> None:
        workdir = Path(workdir).resolve()
        workdir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.authority = Authority(Path(authority).resolve() if authority else workdir / "authority")
        self._credentials = credentials
        self._core = Core(
            self.authority,
            port=port,
            accounts_file=workdir / "accounts.json" if persist else None,
            credentials=credentials,
            linger=linger,
        )
        self._commands = Commands(self._core)
        self._control = ControlServer(self._commands)
        self._control_port = control_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name=f"loopback-{self._core.port}", daemon=True
        )

    @property
    def port(self) -> int:
        return self._core.port

    @property
    def proxy_url(self) -> str:
        """What a client's proxy setting, or HTTPS_PROXY, has to be."""
        login = (
            ":".join(quote(part, safe="") for part in self._credentials) + "@" if self._credentials else ""
        )
        return f"http://{login}127.0.0.1:{self.port}"

    @property
    def control_url(self) -> str | None:
        return f"http://127.0.0.1:{self._control_port}" if self._control_port else None

    def environment(self, *, proxy: bool = True, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables to add to a client's environment; ``proxy=False`` leaves HTTPS_PROXY out."""
        url = self.proxy_url if proxy else None
        return client_environment(self.authority.ca_file, self.authority.root.public, url, base)

    def facts(self) -> dict[str, Any]:
        """Addresses and files, for other processes."""
        return {
            "pid": os.getpid(),
            "proxy_url": self.proxy_url,
            "control_url": self.control_url,
            "ca_file": str(self.authority.ca_file),
            "root_key": self.authority.root.public.hex(),
            "environment": self.environment(),
        }

    def call(self, name: str, /, **arguments: Any) -> Any:
        limit = float(arguments.get("timeout", TIMEOUT))
        future: Future[Any] = asyncio.run_coroutine_threadsafe(
            self._commands.dispatch(name, arguments), self._loop
        )
        return future.result(2 * limit + GRACE)

    def open(self) -> Self:
        """Start the thread and take connections; ``close`` ends it. The ``with`` statement does both."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(GRACE)
        return self

    def __enter__(self) -> Self:
        return self.open()

    async def _open(self) -> None:
        if self._control_port is not None:
            self._control_port = await self._control.start(self._control_port)
        self._core.start()

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End every connection, free the ports, and end the thread."""
        try:
            asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(GRACE)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(GRACE)
            self._loop.close()

    async def _shut(self) -> None:
        await self._control.close()
        await self._core.close()

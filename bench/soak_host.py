"""The host under a soak: driven over its API, killed, and restarted as a service manager would."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from bench.fleet import PATIENCE, Fleet
from bench.soak_model import Model
from tests.e2e.harness import KEY, Api, HostProcess, state
from tests.loopback.api import Connection

GONE_WITHIN = 10.0
"""Seconds in which every port has ended after its host was killed."""

ASK_AGAIN = 0.2
"""Seconds until a code is asked for again."""

WARM = 48
"""Requests at once that make every thread of the API work."""


def free_port() -> int:
    """A port that stays the host's own when it is restarted."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


class SoakHost:
    """A fleet's host. Its API may be used from any thread, and while it is being restarted."""

    def __init__(self, fleet: Fleet, model: Model) -> None:
        self._fleet, self._model = fleet, model
        self._api: httpx.Client | None = None
        self._holes: set[int] = set()
        self._lock = threading.Lock()  # of the holes, which faults and the watcher share

    @property
    def process(self) -> HostProcess:
        """The process."""
        return self._fleet.host

    @property
    def forkserver(self) -> int:
        """The process that ports are forked from."""
        return self._fleet.forkserver

    def ports(self) -> list[int]:
        """The processes of the connections."""
        return self.process.ports()

    def start(self) -> None:
        """Start it, and follow what it logs."""
        self.process.start(PATIENCE)
        self._api = self._client()
        self._model.host_up(self.process.log)

    def stop(self) -> float:
        """Stop it in order; the seconds it took."""
        self._model.host_down()
        self._close()
        return self._fleet.stop()

    def kill(self) -> None:
        """SIGKILL, and see that no port outlives it."""
        ports = self.ports()
        self._model.host_down()
        self.process.kill()
        self._close()
        deadline = time.monotonic() + GONE_WITHIN
        for pid in ports:
            while state(pid) != "Z":
                if time.monotonic() > deadline:
                    self._model.problem(f"port {pid} outlived its host")
                    return
                time.sleep(0.01)  # another's child cannot be waited for

    def _close(self) -> None:
        if self._api is not None:
            self._api.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        expect: Collection[int] = (200,),
        timeout: float = PATIENCE,
        **options: Any,
    ) -> Any:
        """Ask the API; while there is no host, wait for it and ask again.

        Raises:
            RuntimeError: another answer than expected.
            TimeoutError: no host within the time.
        """
        deadline, failed = time.monotonic() + timeout, 0
        while True:
            self._model.wait_up(max(0.0, deadline - time.monotonic()))
            life, api = self._model.life, self._api
            assert api is not None
            try:
                answer = api.request(method, path, **options)
            except (httpx.TransportError, RuntimeError):  # RuntimeError: the client was closed meanwhile
                failed += self._model.life == life and self._model.up
                if failed > 1:  # a connection that was kept may have been closed for its age, once
                    raise
                continue
            if answer.status_code not in expect:
                raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            return answer.json()

    def rows(self) -> list[dict[str, Any]]:
        """What the API says of each instance."""
        return list(self.call("GET", "/instance/fetchInstances"))

    def warm_up(self) -> None:
        """Let every thread of the API work once, so that what it keeps open is there before it is counted."""
        threads = [threading.Thread(target=self.rows, daemon=True) for _ in range(WARM)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    def forget_connections(self) -> None:
        """Close what is kept open to the API, so that it is not counted as the host's."""
        if self._api is not None:
            self._api.close()
            self._api = self._client()

    def _client(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=8)
        return httpx.Client(base_url=self.process.url, headers={"apikey": KEY}, timeout=60.0, limits=limits)

    def api(self) -> Api:
        """For one who asks often, on a connection of its own."""
        return self._fleet.client()

    def signal_port(self, name: str, number: signal.Signals) -> int:
        """Send a signal to the process of an instance's connection; its id, or 0 if it is just being replaced."""
        pid = self._model[name].pid
        if pid not in self.ports():
            return 0
        os.kill(pid, number)
        return pid

    def link(self, name: str, timeout: float) -> None:
        """Connect it and scan its code, again and again until it is open: faults go on meanwhile.

        Raises:
            TimeoutError: it is not open in time.
        """
        member, deadline = self._model[name], time.monotonic() + timeout
        phone = self._fleet.wa.phone(member.number)
        self._model.linking(name)
        device = member.device
        while time.monotonic() < deadline:
            answer = self.call("GET", f"/instance/connect/{name}", expect=(200, 409, 503, 504))
            if answer.get("instance", {}).get("state") == "open":
                self._model.wait_phase(name, ("open",), 10.0)
                self._model.linked(name, device)
                return
            code = answer.get("code")
            if not code:
                time.sleep(ASK_AGAIN)
                continue
            with suppress(ValueError, LookupError, TimeoutError):  # the code is over already
                scan = phone.scan(code)
                device = scan.jid if scan.paired else device
            with suppress(TimeoutError):
                self._model.wait_phase(name, ("open",), 5.0)
        raise TimeoutError(f"{name}: not linked within {timeout:g} s")

    @contextmanager
    def holed(self, link: Connection) -> Iterator[None]:
        """Nothing gets through a connection; at the end it is gone."""
        with self._lock:
            self._holes.add(link.number)
        try:
            link.black_hole()
            yield
        finally:
            with self._lock:
                self._holes.discard(link.number)

    def is_holed(self, number: int) -> bool:
        """Whether nothing gets through the connection of that number."""
        with self._lock:
            return number in self._holes

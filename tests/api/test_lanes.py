"""What waits for one thing does not hold up what waits for another: reads, the database, commands."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from flask.testing import FlaskClient

from api.lanes import Work, work_of
from tests.api.conftest import HOST_KEY
from tests.api.stream import FeedGateway
from tests.api.test_server import DEADLINE, Blocking, Start, connect, request, start
from tests.compat import access

__all__ = ["start"]

DATABASE = {"history", "deliveries", "newest_event", "events_after", "metrics"}
COMMANDS = {"create", "delete", "command", "diagnose", "replay", "restart_path"}


class SlowDatabase(FeedGateway):
    """Reads of the database wait until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()
        self.deadlines_of_reads: list[float] = []

    def history(self, name: str, before: int | None, limit: int, timeout: float) -> Any:
        self._wait(timeout)
        return super().history(name, before, limit, timeout)

    def deliveries(self, *args: Any, **kwargs: Any) -> Any:
        self._wait(args[-1])
        return super().deliveries(*args, **kwargs)

    def newest_event(self, timeout: float) -> int:
        self._wait(timeout)
        return super().newest_event(timeout)

    def _wait(self, timeout: float) -> None:
        self.deadlines_of_reads.append(timeout)
        self.entered.release()
        assert self.go.wait(DEADLINE)


class Noting(access.WholeGateway):
    """Notes by name what of it is called."""

    def __getattribute__(self, name: str) -> Any:
        if name in DATABASE | COMMANDS:
            super().__getattribute__("__dict__").setdefault("called", set()).add(name)
        return super().__getattribute__(name)


def ask(client: socket.socket, method: str, path: str, key: str = HOST_KEY) -> None:
    """Send a request, and do not wait for its answer."""
    client.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\napikey: {key}\r\n\r\n".encode())


def refused(clients: Sequence[socket.socket], count: int) -> set[socket.socket]:
    """Wait until so many were refused for now; nobody else is answered meanwhile."""
    waiting, found = set(clients), set[socket.socket]()
    while len(found) < count:
        answered, _, _ = select.select(waiting, [], [], DEADLINE)
        assert answered, f"{len(found)} were refused"
        for client in answered:
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"\r\nRetry-After: 1\r\n" in answer
        waiting.difference_update(answered)
        found.update(answered)
    return found


@pytest.mark.parametrize(
    "path", ["/instance/history/sales", "//instance/history/sales", "/webhook/deliveries", "/events"]
)
def test_a_slow_database_holds_up_neither_reads_nor_commands(start: Start, path: str) -> None:
    gateway = SlowDatabase()
    gateway.add("sales", logged_in=True)
    server = start(gateway, threads=16)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(48)]
        for client in clients:
            ask(client, "GET", path, "token-of-sales")
        for _ in range(3):
            assert gateway.entered.acquire(timeout=DEADLINE)
        assert request(server, "GET", "/healthz")[0] == 200
        assert request(server, "GET", "/instance/connectionState/sales")[0] == 200
        assert request(server, "DELETE", "/instance/logout/sales")[0] == 200
        assert not gateway.entered.acquire(blocking=False), "one connection that reads is left to the stream"
        gateway.go.set()
        for client in clients:
            assert client.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503"), "a token has eight streams"
    assert max(gateway.deadlines_of_reads) <= 5


def test_signing_in_does_not_wait_for_commands(start: Start) -> None:
    gateway = Blocking()
    server = start(gateway, threads=4)
    with ExitStack() as stack:
        for number in range(4):
            gateway.add(f"number-{number}", logged_in=True)
            ask(stack.enter_context(connect(server)), "DELETE", f"/instance/logout/number-{number}")
        for _ in range(2):
            assert gateway.entered.acquire(timeout=DEADLINE)
        for path in ("/dashboard/sign-in", "/dashboard/sign-out", "/verify-creds"):
            with connect(server) as client:
                ask(client, "POST", path)
                assert client.recv(9) == b"HTTP/1.1 "
        gateway.go.set()


def test_one_tokens_commands_leave_threads_to_the_others(start: Start) -> None:
    gateway = Blocking()
    gateway.add("greedy", logged_in=True)
    gateway.add("sales", logged_in=True)
    server = start(gateway, threads=16)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(60)]
        for client in clients:
            ask(client, "GET", "/instance/connect/greedy", "token-of-greedy")
        turned_away = refused(clients, 60 - 4)
        for name, key in (("sales", "token-of-sales"), ("greedy", HOST_KEY)):
            client = stack.enter_context(connect(server))
            ask(client, "DELETE", f"/instance/logout/{name}", key)
        for _ in range(4 + 2):
            assert gateway.entered.acquire(timeout=DEADLINE)
        gateway.go.set()
        for client in set(clients) - turned_away:
            assert client.recv(12) == b"HTTP/1.1 200"
    assert request(server, "GET", "/instance/connect/greedy")[0] == 200, "what ended gives its share back"


def test_the_hosts_commands_to_one_instance_leave_threads_to_the_others(start: Start) -> None:
    gateway = Blocking()
    for name in ("slow", "sales"):
        gateway.add(name, logged_in=True)
    server = start(gateway, threads=16)
    with ExitStack() as stack:
        for _ in range(10):
            ask(stack.enter_context(connect(server)), "POST", "/instance/restart/slow")
        ask(stack.enter_context(connect(server)), "DELETE", "/instance/logout/sales")
        for _ in range(4 + 1):
            assert gateway.entered.acquire(timeout=DEADLINE)
        gateway.go.set()


def test_strangers_take_nobodys_share(start: Start) -> None:
    gateway = Blocking()
    gateway.add("sales", logged_in=True)
    gateway.go.set()
    server = start(gateway, threads=4)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(10)]
        for client in clients:
            ask(client, "DELETE", "/instance/logout/sales", "wrong")
        for client in clients:
            assert client.recv(12) == b"HTTP/1.1 401"
        assert request(server, "DELETE", "/instance/logout/sales")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "work"),
    [
        ("GET", "/", Work.READ),
        ("GET", "/healthz", Work.READ),
        ("GET", "/instance/connectionState/a", Work.READ),
        ("GET", "/instance/fetchInstances", Work.READ),
        ("GET", "/dashboard/static/app.js", Work.READ),
        ("OPTIONS", "/instance/connect/a", Work.READ),
        ("POST", "/dashboard/sign-in", Work.READ),
        ("POST", "/dashboard/sign-in/", Work.READ),
        ("GET", "/instance/history/a", Work.DATABASE),
        ("HEAD", "/instance/history/a", Work.DATABASE),
        ("GET", "///instance/history/a", Work.DATABASE),
        ("GET", "/metrics", Work.DATABASE),
        ("GET", "/instance/connect/a", Work.COMMAND),
        ("GET", "//instance/connect/a", Work.COMMAND),
        ("POST", "/instance/create", Work.COMMAND),
        ("DELETE", "/instance/delete/a", Work.COMMAND),
        ("post", "/instance/create", Work.COMMAND),
    ],
)
def test_what_a_request_waits_for(method: str, path: str, work: Work) -> None:
    assert work_of(method, path) is work


@pytest.fixture(scope="module")
def everything() -> tuple[FlaskClient, Noting]:
    gateway = Noting()
    return access.application(gateway)[0].test_client(), gateway


@pytest.mark.parametrize("row", access.rows(), ids=lambda row: f"{row.method} {row.route}")
def test_no_route_calls_what_its_lane_is_not_for(
    everything: tuple[FlaskClient, Noting], row: access.Row
) -> None:
    client, gateway = everything
    gateway.__dict__.update(Noting().__dict__, called=set())
    gateway.add("sales", logged_in=True)
    path = row.route.replace("{name}", "sales").replace("{file}", "app.js")
    body = {"instanceName": "new", "path": "store", "instance": "sales"} if row.method == "POST" else None
    client.open(path, method=row.method, json=body, headers={"apikey": HOST_KEY}).close()
    allowed = {Work.READ: set[str](), Work.DATABASE: DATABASE, Work.COMMAND: DATABASE | COMMANDS}
    assert gateway.__dict__["called"] <= allowed[work_of(row.method, path)]


def test_what_is_called_is_noted(everything: tuple[FlaskClient, Noting]) -> None:
    client, gateway = everything
    gateway.__dict__.update(Noting().__dict__, called=set())
    gateway.add("sales")
    client.get("/instance/history/sales", headers={"apikey": HOST_KEY})
    assert gateway.__dict__["called"] == {"history"}

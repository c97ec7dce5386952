"""The server on a real socket: slow, many and broken clients, an orderly end."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from api import ApiServer, ListenError, create_app
from api.gateway import Logout
from api.wsgi import Limits
from supervisor.otp import SystemClock
from tests.api.conftest import HOST_KEY, SETTINGS
from tests.api.fakes import MemoryGateway

DEADLINE = 10.0


class Blocking(MemoryGateway):
    """Commands wait until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Semaphore(0)
        self.go = threading.Event()

    def command(self, name: str, message: Any, timeout: float) -> Any:
        self.entered.release()
        assert self.go.wait(DEADLINE)
        return super().command(name, message, timeout)


Start = Callable[..., ApiServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a server; it is stopped at the end."""
    servers: list[ApiServer] = []

    def _start(gateway: MemoryGateway | None = None, threads: int = 4, **limits: Any) -> ApiServer:
        app = create_app(gateway or MemoryGateway(), SETTINGS, clock=SystemClock())
        server = ApiServer(app, ("127.0.0.1", 0), threads, limits=Limits(**limits))
        servers.append(server)
        server.start()
        return server

    yield _start
    for server in servers:
        server.stop()


def connect(server: ApiServer) -> socket.socket:
    return socket.create_connection(server.address, timeout=DEADLINE)


def request(server: ApiServer, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection(*server.address, timeout=DEADLINE)) as connection:
        headers = {"apikey": HOST_KEY, "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def raw(server: ApiServer, data: bytes) -> tuple[int, dict[str, str], Any]:
    """Send bytes as they are; the answer's status, headers and JSON."""
    with connect(server) as client:
        client.sendall(data)
        response = http.client.HTTPResponse(client)
        response.begin()
        return response.status, dict(response.getheaders()), json.loads(response.read())


def test_it_serves_on_a_free_port_and_says_which(start: Start) -> None:
    server = start()
    assert server.port != 0
    assert request(server, "GET", "/healthz") == (200, {"status": "ok", "version": "0.1.0"})


def test_a_taken_address_is_an_error_with_the_address(start: Start) -> None:
    server = start()
    app = create_app(MemoryGateway(), SETTINGS, clock=SystemClock())
    with pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1:{server.port}"):
        ApiServer(app, server.address, 4)


def test_an_unknown_host_is_an_error_with_the_host() -> None:
    app = create_app(MemoryGateway(), SETTINGS, clock=SystemClock())
    with pytest.raises(ListenError, match=r"host\.invalid"):
        ApiServer(app, ("host.invalid", 0), 4)


def test_the_port_is_free_again_after_stop(start: Start) -> None:
    server = start()
    address = server.address
    assert server.stop() == 0
    app = create_app(MemoryGateway(), SETTINGS, clock=SystemClock())
    again = ApiServer(app, address, 4)
    again.start()
    try:
        assert request(again, "GET", "/healthz")[0] == 200
    finally:
        again.stop()


def test_stop_leaves_no_thread(start: Start) -> None:
    before = set(threading.enumerate())
    server = start(threads=8)
    request(server, "GET", "/healthz")
    idle = connect(server)
    server.stop()
    idle.close()
    assert not [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]


def test_stop_lets_a_request_finish_and_answers_it(start: Start) -> None:
    gateway = Blocking()
    gateway.add("sales", logged_in=True)
    server = start(gateway)
    answers: list[tuple[int, Any]] = []
    client = threading.Thread(
        target=lambda: answers.append(request(server, "DELETE", "/instance/logout/sales")), daemon=True
    )
    client.start()
    assert gateway.entered.acquire(timeout=DEADLINE)
    stopping = threading.Thread(target=server.stop, daemon=True)
    stopping.start()
    gateway.go.set()
    client.join(DEADLINE)
    stopping.join(DEADLINE)
    assert answers
    assert answers[0][0] == 200


def test_stop_does_not_wait_for_a_request_beyond_its_time(start: Start) -> None:
    gateway = Blocking()
    gateway.add("sales", logged_in=True)
    server = start(gateway)
    with connect(server) as client:
        client.sendall(
            f"DELETE /instance/logout/sales HTTP/1.1\r\nHost: x\r\napikey: {HOST_KEY}\r\n\r\n".encode()
        )
        assert gateway.entered.acquire(timeout=DEADLINE)
        assert server.stop(timeout=0.2) == 1
        assert client.recv(1) == b""
    gateway.go.set()


def test_reads_are_answered_while_every_command_thread_waits(start: Start) -> None:
    gateway = Blocking()
    names = [f"number-{number}" for number in range(20)]
    for name in names:
        gateway.add(name, logged_in=True)
    server = start(gateway, threads=4)
    clients = [connect(server) for _ in names]
    for client, name in zip(clients, names, strict=True):
        client.sendall(
            f"DELETE /instance/logout/{name} HTTP/1.1\r\nHost: x\r\napikey: {HOST_KEY}\r\n\r\n".encode()
        )
    assert gateway.entered.acquire(timeout=DEADLINE)
    for _ in range(5):
        assert request(server, "GET", "/instance/connectionState/number-0")[0] == 200
    gateway.go.set()
    for client in clients:
        assert client.recv(12).startswith(b"HTTP/1.1 ")
        client.close()
    assert sorted(gateway.sent, key=str) == sorted(((name, Logout()) for name in names), key=str)


def test_a_request_that_waited_too_long_for_a_thread_is_503(start: Start) -> None:
    gateway = Blocking()
    gateway.add("sales", logged_in=True)
    server = start(gateway, threads=4, queue_time=0.0)
    status, headers, body = raw(
        server, f"DELETE /instance/logout/sales HTTP/1.1\r\nHost: x\r\napikey: {HOST_KEY}\r\n\r\n".encode()
    )
    assert status == 503
    assert headers["Retry-After"] == "1"
    assert body["response"]["message"] == ["The host has too many requests waiting; try again"]


def test_slow_senders_hold_no_thread(start: Start) -> None:
    server = start(threads=4)
    slow = [connect(server) for _ in range(50)]
    for client in slow:
        client.sendall(b"POST /instance/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert request(server, "GET", "/healthz")[0] == 200
    for client in slow:
        client.close()


def test_a_request_that_never_ends_is_closed_however_it_trickles(start: Start) -> None:
    server = start(request_time=0.3)
    with connect(server) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        client.settimeout(0.05)
        closed = threading.Event()

        def trickle() -> None:
            while not closed.is_set():
                try:
                    client.sendall(b"X-A: b\r\n")
                    closed.set() if client.recv(1) == b"" else None
                except TimeoutError:
                    continue
                except OSError:
                    closed.set()

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        assert closed.wait(DEADLINE)
        thread.join(DEADLINE)


def test_an_idle_connection_is_closed(start: Start) -> None:
    server = start(idle_time=0.2)
    with connect(server) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while chunk := client.recv(4096):
            received += chunk
        assert received.startswith(b"HTTP/1.1 200")


def test_at_the_limit_the_quietest_connection_makes_room(start: Start) -> None:
    server = start(connections=10)
    first = connect(server)
    others = [connect(server) for _ in range(9)]
    for client in (first, *others):
        client.sendall(b"GET /hea")
    assert request(server, "GET", "/healthz")[0] == 200
    assert first.recv(1) == b""
    for client in (first, *others):
        client.close()


def test_at_the_limit_of_served_connections_a_new_one_is_closed(start: Start) -> None:
    gateway = Blocking()
    for number in range(3):
        gateway.add(f"number-{number}", logged_in=True)
    server = start(gateway, connections=3)
    served = [connect(server) for _ in range(3)]
    for number, client in enumerate(served):
        client.sendall(
            f"DELETE /instance/logout/number-{number} HTTP/1.1\r\nHost: x\r\napikey: {HOST_KEY}\r\n\r\n".encode()
        )
    for _ in range(2):  # the command threads; the third waits in their queue
        assert gateway.entered.acquire(timeout=DEADLINE)
    with connect(server) as late:
        assert late.recv(1) == b""
    gateway.go.set()
    for client in served:
        assert client.recv(12).startswith(b"HTTP/1.1 ")
        client.close()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"POST /instance/create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST /instance/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST /instance/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /%ff%fe HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_what_is_not_http_is_answered_like_every_error(start: Start, sent: bytes, status: int) -> None:
    code, headers, body = raw(start(), sent)
    assert code == status
    assert headers["Content-Type"] == "application/json"
    assert "Server" not in headers
    assert set(body) == {"status", "error", "response"}
    assert body["status"] == status


def test_requests_one_after_another_on_one_connection(start: Start) -> None:
    server = start()
    with closing(http.client.HTTPConnection(*server.address, timeout=DEADLINE)) as connection:
        for _ in range(3):
            connection.request("GET", "/healthz")
            response = connection.getresponse()
            assert response.status == 200
            response.read()


def test_a_loop_that_fails_is_told_to_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[BaseException] = []
    told = threading.Event()

    def fail(**_: Any) -> None:
        raise MemoryError("loop")

    monkeypatch.setattr("api.server.wasyncore.loop", fail)
    app = create_app(MemoryGateway(), SETTINGS, clock=SystemClock())

    def tell(error: BaseException) -> None:
        failures.append(error)
        told.set()

    server = ApiServer(app, ("127.0.0.1", 0), 4, on_failure=tell)
    server.start()
    assert told.wait(DEADLINE)
    assert isinstance(failures[0], MemoryError)
    server.stop()


# What is refused while it is still being sent


def create_with(body: bytes, *headers: str) -> bytes:
    head = [
        "POST /instance/create HTTP/1.1",
        "Host: x",
        f"apikey: {HOST_KEY}",
        "Content-Type: application/json",
        *headers,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("megabytes", [2, 5, 12])
def test_a_body_that_is_too_large_is_413_also_for_who_sends_it_whole_first(
    start: Start, megabytes: int
) -> None:
    server = start()
    for _ in range(5):
        with closing(http.client.HTTPConnection(*server.address, timeout=DEADLINE)) as connection:
            body = b"x" * (megabytes * 1024 * 1024)
            connection.request("POST", "/instance/create", body, {"apikey": HOST_KEY})
            response = connection.getresponse()
            assert response.status == 413
            assert response.getheader("Connection") == "close"
            assert json.loads(response.read())["error"] == "Request Entity Too Large"


def test_a_body_in_chunks_that_becomes_too_large_is_413(start: Start) -> None:
    with closing(http.client.HTTPConnection(*start().address, timeout=DEADLINE)) as connection:
        chunks = (b"x" * 100_000 for _ in range(40))
        connection.request("POST", "/instance/create", chunks, {"apikey": HOST_KEY}, encode_chunked=True)
        assert connection.getresponse().status == 413


def test_who_asks_before_sending_what_is_too_large_gets_no_yes(start: Start) -> None:
    with connect(start()) as client:
        client.sendall(create_with(b"", "Content-Length: 5000000", "Expect: 100-continue"))
        assert client.recv(12) == b"HTTP/1.1 413"


def test_who_asks_before_sending_what_is_allowed_gets_a_yes(start: Start) -> None:
    with connect(start()) as client:
        client.sendall(create_with(b"", "Content-Length: 2", "Expect: 100-continue"))
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(12) == b"HTTP/1.1 400"


def send_on(client: socket.socket, piece: bytes, pause: float = 0.0) -> None:
    """Send until the other side has closed, which is an error here."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        client.sendall(piece)
        threading.Event().wait(pause)


def test_after_a_refusal_no_more_is_read_than_so_many_bytes(start: Start) -> None:
    server = start(discard_bytes=200_000, discard_time=60.0)
    with connect(server) as client:
        client.sendall(create_with(b"", "Content-Length: 999999999"))
        assert client.recv(12) == b"HTTP/1.1 413"
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_on(client, b"x" * 65536)


def test_after_a_refusal_the_connection_is_closed_in_time_however_it_trickles(start: Start) -> None:
    server = start(discard_time=0.2)
    with connect(server) as client:
        client.sendall(create_with(b"", "Content-Length: 999999999"))
        while client.recv(4096):  # the answer has ended, and the connection goes on for a while
            pass
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_on(client, b"x", pause=0.01)


def test_a_stop_does_not_wait_for_who_still_sends_what_was_refused(start: Start) -> None:
    server = start(discard_time=60.0)
    with connect(server) as client:
        client.sendall(create_with(b"", "Content-Length: 999999999"))
        assert client.recv(12) == b"HTTP/1.1 413"
        assert server.stop(timeout=DEADLINE) == 0
        assert server._loop is not None
        assert not server._loop.is_alive()


# What a proxy says of its client


@pytest.fixture
def behind_proxy() -> Iterator[ApiServer]:
    settings = replace(
        SETTINGS, dashboard=True, server_url="https://wa.example.org", failed_attempts=2, session_secret="s"
    )
    app = create_app(MemoryGateway(), settings, clock=SystemClock())
    server = ApiServer(app, ("127.0.0.1", 0), 4)
    server.start()
    yield server
    server.stop()


def test_a_guesser_behind_the_proxy_is_told_from_the_others(behind_proxy: ApiServer) -> None:
    def status(key: str, address: str) -> int:
        with closing(http.client.HTTPConnection(*behind_proxy.address, timeout=DEADLINE)) as connection:
            headers = {"apikey": key, "X-Forwarded-For": address}
            connection.request("GET", "/supervisor/tree", headers=headers)
            return connection.getresponse().status

    assert [status("wrong", "192.0.2.66") for _ in range(3)] == [401, 401, 429]
    assert status(HOST_KEY, "192.0.2.66") == 429
    assert status(HOST_KEY, "192.0.2.7") == 200


def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(behind_proxy: ApiServer) -> None:
    with closing(http.client.HTTPConnection(*behind_proxy.address, timeout=DEADLINE)) as connection:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-Proto": "https"}
        connection.request("POST", "/dashboard/sign-in", f"key={HOST_KEY}", headers)
        response = connection.getresponse()
        assert response.status == 303
        assert "; Secure" in response.headers["Set-Cookie"]

"""The stream of events on a real socket: who hears what, resuming, limits, slow clients, an orderly end."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import pytest

import api.routes.events as route
from api import ApiServer, create_app
from api.gateway import CallTimeout, Phase, QrView
from api.hub import Hub, Pace
from api.streaming import STREAM
from api.wsgi import Limits
from supervisor.otp import SystemClock
from tests.api.conftest import HOST_KEY, SETTINGS, build, message_of
from tests.api.fakes import EPOCH, FakeClock
from tests.api.stream import DEADLINE, FeedGateway, Listener, stream_threads
from tests.api.test_server import connect, request

Start = Callable[..., ApiServer]


@pytest.fixture
def gateway() -> FeedGateway:
    gateway = FeedGateway()
    gateway.add("sales")
    gateway.add("support")
    return gateway


@pytest.fixture
def start(gateway: FeedGateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a server with a stream of a pace; it is stopped at the end, and no thread of it is left."""
    servers: list[ApiServer] = []

    def _start(threads: int = 4, limits: Limits | None = None, **pace: Any) -> ApiServer:
        monkeypatch.setattr(route, "Hub", partial(Hub, pace=Pace(**{"look": 0.02, "poll": 60.0, **pace})))
        app = create_app(gateway, SETTINGS, clock=SystemClock())
        servers.append(ApiServer(app, ("127.0.0.1", 0), threads, limits=limits))
        servers[-1].start()
        return servers[-1]

    yield _start
    for server in servers:
        server.stop()
    all_left()


# What is heard


def test_an_event_arrives_with_its_id_in_the_envelope_of_webhooks(start: Start, gateway: FeedGateway) -> None:
    with Listener(start()) as client:
        headers = dict(client.response.getheaders())
        sent = gateway.emit("sales", state="open")
        message = client.read()
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["Cache-Control"] == "no-store"
    assert (message.id, message.event) == (sent.seq, "connection.update")
    assert message.data == {
        "id": sent.id,
        "event": "connection.update",
        "instance": "sales",
        "data": {"state": "open", "n": sent.seq},
        "date_time": "2026-01-01T00:00:00.000Z",
        "sender": None,
        "server_url": "",
    }


def test_a_new_client_hears_what_comes_after_it(start: Start, gateway: FeedGateway) -> None:
    gateway.store("sales", count=5)
    with Listener(start()) as client:
        gateway.emit("sales")
        assert client.read().id == 6


def test_what_was_committed_while_the_client_was_away_is_sent_by_its_last_id(
    start: Start, gateway: FeedGateway
) -> None:
    server = start()
    gateway.store("sales", count=1000)
    with Listener(server, Last_Event_ID="400") as client:
        assert client.numbers(600) == list(range(401, 1001))
        gateway.emit("sales")
        assert client.read().number == 1001


def test_id_0_is_the_beginning_and_one_beyond_the_end_is_the_end(start: Start, gateway: FeedGateway) -> None:
    server = start()
    gateway.store("sales", count=3)
    with Listener(server, Last_Event_ID="0") as first, Listener(server, Last_Event_ID="999") as last:
        gateway.emit("sales")
        assert first.numbers(4) == [1, 2, 3, 4]
        assert last.numbers(1) == [4]


@pytest.mark.parametrize("sent", ["-1", "abc", "1.5", "²", "9" * 19])
def test_an_id_that_was_never_given_is_400(sent: str) -> None:
    api = build(gateway=FeedGateway())
    response = api.get("/events", headers={"Last-Event-ID": sent})
    assert '"Last-Event-ID"' in message_of(response, 400)


def test_only_what_was_asked_for_is_sent(start: Start, gateway: FeedGateway) -> None:
    server = start()
    query = "?instance=sales,other&event=qrcode.updated,CONNECTION_UPDATE"
    with Listener(server, query) as client:
        gateway.emit("support")
        gateway.emit("sales", "logout.instance")
        gateway.emit("sales", "qrcode.updated")
        gateway.emit("sales")
        assert client.numbers(2) == [3, 4]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?instance=a/b", '"instance"'),
        ("?event=qrcode.updated,nonsense", '"event": "qrcode.updated,nonsense" is not allowed'),
        ("?changes=yes", '"changes"'),
        ("?instance=" + "a," * 3000, '"instance"'),
    ],
)
def test_a_wrong_filter_is_400_with_what_is_allowed(query: str, words: str) -> None:
    assert words in message_of(build(gateway=FeedGateway()).get("/events" + query), 400)


def test_empty_filters_are_none(start: Start, gateway: FeedGateway) -> None:
    with Listener(start(), "?instance=&event=&changes=") as client:
        gateway.emit("support")
        assert client.read().number == 1


# Who hears it


def test_without_a_key_there_is_no_stream(start: Start) -> None:
    for key in (None, "wrong"):
        with Listener(start(), key=key) as client:
            assert client.response.status == 401


def test_a_token_hears_of_its_own_instance_only(start: Start, gateway: FeedGateway) -> None:
    server = start()
    with Listener(server, key="token-of-sales") as client:
        gateway.emit("support")
        gateway.emit("sales")
        assert client.numbers(1) == [2]
    with Listener(server, "?instance=support", key="token-of-sales") as client:
        assert client.response.status == 404


def test_another_instance_of_the_same_name_is_another_instance(start: Start, gateway: FeedGateway) -> None:
    with Listener(start(), key="token-of-sales") as client:
        del gateway.instances["sales"]
        gateway.add("sales", token="another")
        gateway.emit("sales", secret="of another")
        gateway.add("sales", id="00000000-0000-4000-8000-000000000001")
        gateway.emit("sales")
        assert client.read().number == 2


def test_a_code_comes_with_its_picture(start: Start, gateway: FeedGateway) -> None:
    with Listener(start()) as client:
        gateway.emit("sales", "qrcode.updated", qrcode={"code": "2@abc", "count": 1, "base64": None})
        code = client.read().data["data"]["qrcode"]
        gateway.emit("sales", "qrcode.updated", qrcode={"code": None, "count": 1, "base64": None})
        stale = client.read().data["data"]["qrcode"]
    assert code["code"] == "2@abc"
    assert code["base64"].startswith("data:image/png;base64,")
    assert stale["base64"] is None


def test_the_stream_of_a_deleted_instances_token_ends(start: Start, gateway: FeedGateway) -> None:
    with Listener(start(keep_alive=0.05), key="token-of-sales") as client:
        gateway.emit("sales", "instance.delete")
        del gateway.instances["sales"]
        assert client.read().event == "instance.delete"
        client.until_closed()


# Changes


def test_changes_tell_which_instances_look_different(start: Start, gateway: FeedGateway) -> None:
    with Listener(start(), "?changes=only") as client:
        assert client.read().data == {"instances": [], "tree": True}
        gateway.change("sales", phase=Phase.OPEN)
        assert client.read().data == {"instances": ["sales"], "tree": False}
        gateway.change("sales", heartbeat_at=EPOCH, rss_bytes=1)
        gateway.emit("sales")
        gateway.change("support", qr=QrView("2@a", None, 1, EPOCH))
        message = client.read()
        assert message.data == {"instances": ["support"], "tree": False}
        assert message.id is None
        del gateway.instances["support"]
        assert client.read().data["instances"] == ["support"]


def test_a_token_hears_of_its_own_instances_changes_only(start: Start, gateway: FeedGateway) -> None:
    with Listener(start(), "?changes=with", key="token-of-sales") as client:
        assert client.read().data == {"instances": [], "tree": False}
        gateway.change("support", phase=Phase.OPEN)
        gateway.change("sales", phase=Phase.OPEN)
        assert client.read().data == {"instances": ["sales"], "tree": False}
        gateway.emit("sales")
        assert client.read().event == "connection.update"


# Limits


def test_streams_hold_no_thread(start: Start, gateway: FeedGateway) -> None:
    server = start(threads=4)
    with ExitStack() as stack:
        clients = [stack.enter_context(joined(server)) for _ in range(40)]
        assert request(server, "GET", "/healthz")[0] == 200
        assert len(stream_threads()) == 1
        gateway.emit("sales")
        assert [client.read().number for client in clients] == [1] * 40
        assert gateway.reads <= 3 * 40, "the outbox is read once for all who are not behind"


def test_beyond_the_limit_it_is_503(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "MAX_CLIENTS", 2)
    server = start()
    with joined(server), joined(server), Listener(server) as late:
        assert late.response.status == 503
        assert late.response.getheader("Retry-After")
    all_left()
    with Listener(server) as again:
        assert again.response.status == 200


def test_one_token_cannot_take_all_streams(start: Start, gateway: FeedGateway) -> None:
    server = start()
    with ExitStack() as stack:

        def status(key: str) -> int:
            return stack.enter_context(Listener(server, key=key)).response.status

        assert [status("token-of-sales") for _ in range(12)] == [200] * 8 + [503] * 4
        assert status("token-of-support") == 200
        assert status(HOST_KEY) == 200


def test_tokens_together_leave_some_to_the_hosts_key(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(route, "MAX_CLIENTS", 5)
    monkeypatch.setattr(route, "KEPT_FOR_HOST", 2)
    server = start()
    with ExitStack() as stack:

        def status(key: str) -> int:
            return stack.enter_context(Listener(server, key=key)).response.status

        assert [status(f"token-of-{name}") for name in ("sales", "support") * 2] == [200, 200, 200, 503]
        assert [status(HOST_KEY) for _ in range(3)] == [200, 200, 503]


def test_clients_that_come_at_once_share_the_places(
    start: Start, gateway: FeedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the question whether there is a place and the taking of it nobody else may come."""
    monkeypatch.setattr(route, "MAX_OF_ONE", 1)
    together = threading.Barrier(3)

    def newest_event(_timeout: float) -> int:
        together.wait(DEADLINE)
        return 0

    monkeypatch.setattr(gateway, "newest_event", newest_event)
    server = start(threads=16)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(3)]
        for client in clients:
            client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\napikey: token-of-sales\r\n\r\n")
        assert sorted(client.recv(12) for client in clients) == [b"HTTP/1.1 200"] + [b"HTTP/1.1 503"] * 2


def test_whoever_waits_for_a_connection_hears_when_it_is_not_to_be_had() -> None:
    told: list[str] = []

    def app(environ: dict[str, Any], _start_response: object) -> list[bytes]:
        environ[STREAM](lambda _stream: told.append("opened"), lambda: told.append("lost"))
        raise RuntimeError("before the answer")

    server = ApiServer(app, ("127.0.0.1", 0), 4)
    server.start()
    try:
        with connect(server) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 500"
    finally:
        server.stop()
    assert told == ["lost"]


def joined(server: ApiServer) -> Listener:
    """A client of which the hub has heard: it was greeted."""
    client = Listener(server, "?changes=with")
    assert client.read().event == "change"
    return client


def all_left() -> None:
    """Wait until the hub has noticed that its clients went: it ends with the last one."""
    for thread in stream_threads():
        thread.join(DEADLINE)
    assert not stream_threads()


def test_streams_are_not_closed_to_make_room(start: Start, gateway: FeedGateway) -> None:
    server = start(limits=Limits(connections=3))
    with Listener(server) as client:
        for _ in range(6):
            connect(server)
        gateway.emit("sales")
        assert client.read().number == 1


def test_a_slow_client_gets_everything_in_order_and_the_host_keeps_little_for_it(
    start: Start, gateway: FeedGateway
) -> None:
    server = start(window=20_000)
    with Listener(server) as slow, Listener(server) as quick:
        gateway.store("sales", count=9_999, filler="x" * 1000)
        gateway.emit("sales")
        assert quick.numbers(10_000) == list(range(1, 10_001))
        assert server._server is not None
        held = [channel.total_outbufs_len for channel in list(server._server.active_channels.values())]
        assert max(held) < 30_000
        assert slow.numbers(10_000) == list(range(1, 10_001))


def test_a_client_that_takes_nothing_is_closed_and_resumes_by_its_id(
    start: Start, gateway: FeedGateway
) -> None:
    server = start(window=20_000, stall=0.2, keep_alive=0.05)
    with Listener(server) as stuck:
        gateway.store("sales", count=20_000, filler="x" * 1000)
        gateway.emit("sales")
        all_left()
        got = list(stuck.numbers_until_closed())
    assert got == list(range(1, len(got) + 1))
    assert len(got) < 20_001
    with Listener(server, Last_Event_ID=str(got[-1])) as again:
        assert again.numbers(20_001 - len(got)) == list(range(len(got) + 1, 20_002))


def test_silence_is_broken_by_comments(start: Start, gateway: FeedGateway) -> None:
    with Listener(start(keep_alive=0.02)) as client:
        assert client.line() == ": keep-alive"


def test_a_connection_ends_after_its_life_and_the_client_comes_again(
    start: Start, gateway: FeedGateway
) -> None:
    server = start(life=0.1, keep_alive=0.02)
    with Listener(server) as client:
        client.until_closed()
        assert client.response.isclosed(), "the last chunk was sent: it is an end, not a failure"
    gateway.store("sales")
    with Listener(server, Last_Event_ID="0") as client:
        assert client.numbers(1) == [1]


def test_what_the_client_sends_later_is_not_a_request(start: Start, gateway: FeedGateway) -> None:
    with Listener(start()) as client:
        client.socket.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        gateway.emit("sales")
        assert client.read().number == 1


def test_an_old_client_gets_it_without_chunks(start: Start, gateway: FeedGateway) -> None:
    with connect(start()) as client:
        client.sendall(f"GET /events HTTP/1.0\r\napikey: {HOST_KEY}\r\n\r\n".encode())
        head = read_until(client, b"\r\n\r\nretry: 2000\n\n")
        gateway.emit("sales")
        message = read_until(client, b"\n\n")
    assert b"chunked" not in head
    assert message.startswith(b"id: 1\nevent: connection.update\ndata: {")


def read_until(client: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        chunk = client.recv(1)
        assert chunk, received
        received += chunk
    return received


# Failures


def test_without_the_bus_the_outbox_is_polled(start: Start, gateway: FeedGateway) -> None:
    gateway.deaf = CallTimeout("events", 1.0, "queued")
    with Listener(start(poll=0.02)) as client:
        gateway.store("sales")
        assert client.numbers(1) == [1]


def test_a_store_that_is_away_is_asked_again(start: Start, gateway: FeedGateway) -> None:
    with Listener(start(poll=0.02)) as client:
        gateway.broken = CallTimeout("store", 1.0, "queued")
        seen = gateway.reads
        gateway.emit("sales")
        while gateway.reads == seen:
            threading.Event().wait(0.005)
        gateway.broken = None
        assert client.numbers(1) == [1]


def test_a_bug_ends_the_streams_and_the_next_client_is_served(start: Start, gateway: FeedGateway) -> None:
    server = start()
    with Listener(server) as client:
        gateway.broken = RuntimeError("a bug")
        gateway.emit("sales")
        client.until_closed()
    gateway.broken = None
    with Listener(server, Last_Event_ID="0") as client:
        assert client.numbers(1) == [1]


def test_the_thread_ends_with_the_last_client(start: Start, gateway: FeedGateway) -> None:
    server = start()
    for _ in range(3):
        with joined(server), joined(server):
            assert len(stream_threads()) == 1
        all_left()
        assert not gateway.listeners


def test_a_server_that_stops_ends_its_streams(start: Start, gateway: FeedGateway) -> None:
    server = start()
    with Listener(server) as client:
        assert server.stop() == 0
        client.until_closed()
        assert client.response.isclosed(), "the last chunk was sent: the browser has nothing to complain of"


# Other ways to ask


def test_head_is_answered_and_ends(start: Start) -> None:
    server = start()
    with closing(http.client.HTTPConnection(*server.address, timeout=DEADLINE)) as connection:
        connection.request("HEAD", "/events", headers={"apikey": HOST_KEY})
        assert connection.getresponse().status == 200
    assert not stream_threads()


def test_a_server_that_cannot_stream_answers_what_there_is(gateway: FeedGateway) -> None:
    gateway.store("sales", count=2)
    gateway.store("support")
    text = (
        build(gateway=gateway)
        .get("/events?instance=sales", headers={"Last-Event-ID": "1"})
        .get_data(as_text=True)
    )
    retry, message, rest = text.split("\n\n")
    assert retry == "retry: 2000"
    assert message.startswith("id: 2\n")
    assert json.loads(message.partition("data: ")[2])["instance"] == "sales"
    assert rest == ""


def test_without_a_feed_there_is_no_route() -> None:
    assert message_of(build().get("/events"), 404) == "Cannot GET /events"


def test_it_is_in_the_document() -> None:
    document = create_app(FeedGateway(), SETTINGS, clock=FakeClock()).api_doc
    operation = document["paths"]["/events"]["get"]
    assert {"instance", "event", "changes"} == {each["name"] for each in operation["parameters"]}
    assert list(operation["responses"]["200"]["content"]) == ["text/event-stream"]


def test_ids_never_go_back(start: Start, gateway: FeedGateway) -> None:
    """However reading on, catching up and commits interleave, each client sees each event once, in order."""
    server = start(window=3000)
    stop = threading.Event()

    def commit() -> None:
        for _ in range(5000):
            if stop.is_set():
                return
            gateway.emit("sales", filler="x" * 300)

    writer = threading.Thread(target=commit, daemon=True)
    with ExitStack() as stack:
        stack.callback(writer.join, DEADLINE)
        stack.callback(stop.set)
        writer.start()
        clients = [
            stack.enter_context(Listener(server, Last_Event_ID=str(start_at))) for start_at in (0, 5, 50)
        ]
        for client in clients:
            numbers = client.numbers(300)
            assert numbers == list(itertools.islice(itertools.count(numbers[0]), 300))

"""Who waits for WhatsApp tries as soon as it can be reached: the real tree, with ways that the test answers for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from actors import reachability
from actors.messages import Configure, Connect, CreateInstance
from actors.network import is_reached
from actors.port import events
from actors.reachability import AT_MOST_EVERY, LONGEST, SHARE, STARTS_PER_SECOND, begin_look
from actors.services import ROSTER
from actors.views import Awaits, InstanceView, Phase
from supervisor.config import RecoverySettings, Settings
from tests.actors.session.tree import Port, Tree

REFUSED = events.DialFailed("connection refused", "refused")
IN_TROUBLE = events.ConnectFailure(503, "")
PROXY = {"enabled": True, "host": "proxy.test", "port": "3128", "protocol": "http"}


class Outage:
    """Instances that lose their links, and a way back that opens when the test says so."""

    def __init__(self, directory: Path, **recovery: Any) -> None:
        settings = Settings(recovery=RecoverySettings(jitter=0.0, **recovery))
        self.tree = Tree(directory, settings)

    def add(self, *names: str, proxy: Mapping[str, Any] | None = None) -> None:
        for name in names:
            self.tree.ask(ROSTER, CreateInstance(name, token=f"token-of-{name}", proxy=proxy or {}))
            self.tree.settle()
            self.tree.tell(name, Connect())
            self.tree.settle()
            self.open(name)

    def open(self, name: str) -> None:
        port = self.port(name)
        device = f"551199999000{len(name)}:1@s.whatsapp.net"
        Path(port.spec.session_url).write_text(device)
        for event in (events.Ready(), events.Connected(device, "Ana")):
            port.say(event)
        self.tree.settle()
        assert self.view(name).phase is Phase.OPEN

    def fail(self, name: str, event: events.Event = REFUSED) -> None:
        """Its present connection comes to nothing, once the client has given up."""
        self.port(name).say(event)
        self.tree.settle()
        self.give_up(name)

    def give_up(self, *names: str) -> None:
        """The clients have tried for as long as they may."""
        if any(self.tree.ports(name) for name in names):
            self.tree.advance(12.01)
        assert not any(self.tree.ports(name) for name in names)

    def port(self, name: str) -> Port:
        [port] = self.tree.ports(name)
        return port

    def view(self, name: str) -> InstanceView:
        found = self.tree.board.view(name)
        assert found is not None
        return found

    def second(self) -> None:
        """Long enough for one look to begin."""
        self.tree.advance(1.01)

    def look(self, *, reached: bool) -> list[str | None]:
        """Wait for a look, and answer it; the proxies that it went through."""
        for _ in range(20):
            if self.tree.looks:
                break
            self.second()
        proxies = self.tree.looked(reached=reached)
        self.tree.advance(0.01)
        return proxies

    def exhaust(self, name: str) -> None:
        """Use up its attempts."""
        while self.view(name).phase is not Phase.FAILED:
            if self.tree.ports(name):
                self.fail(name)
            self.tree.advance(1.0)


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    found = Outage(tmp_path)
    try:
        yield found
    finally:
        found.tree.stop()


class TestNetwork:
    def test_nobody_looks_while_nobody_waits(self, outage: Outage) -> None:
        outage.add("sales")
        outage.tree.advance(60.0)
        assert outage.tree.looks == []

    def test_who_waits_tries_once_the_way_is_open(self, outage: Outage) -> None:
        outage.add("sales")
        outage.fail("sales")
        assert outage.view("sales").awaits is Awaits.NETWORK
        assert outage.look(reached=False) == [None]
        assert not outage.tree.ports("sales"), "it tries although nothing has changed"
        outage.look(reached=True)
        outage.open("sales")
        assert outage.view("sales").recovery_attempts == 1, "the attempt that was due, and no other"

    def test_who_used_up_its_attempts_starts_anew(self, outage: Outage) -> None:
        outage.add("sales")
        outage.exhaust("sales")
        outage.look(reached=False)
        outage.look(reached=True)
        assert outage.view("sales").phase is Phase.STARTING
        assert outage.view("sales").recovery_attempts == 0

    def test_who_is_to_stay_failed_stays_failed(self, tmp_path: Path) -> None:
        outage = Outage(tmp_path, on_limit="abort")
        try:
            outage.add("sales")
            outage.exhaust("sales")
            outage.tree.looks.clear()
            outage.tree.advance(60.0)
            assert outage.tree.looks == []
            assert outage.view("sales").phase is Phase.FAILED
        finally:
            outage.tree.stop()

    def test_a_look_that_began_before_the_failure_tells_nothing(self, outage: Outage) -> None:
        outage.add("sales", "support")
        outage.fail("sales")
        outage.second()
        outage.fail("support")
        outage.second()
        assert len(outage.tree.looks) == 1, "the one of before"
        outage.tree.looked(reached=True)
        outage.tree.advance(0.5)
        assert outage.tree.ports("sales")
        assert not outage.tree.ports("support")

    def test_each_way_is_looked_at_and_opens_for_those_who_go_it(self, outage: Outage) -> None:
        outage.add("sales")
        outage.add("support", proxy=PROXY)
        outage.fail("sales")
        outage.fail("support")
        outage.second()
        looks = dict(outage.tree.looks)
        assert looks.keys() == {None, "http://proxy.test:3128"}
        looks["http://proxy.test:3128"](True)
        outage.tree.settle()
        outage.tree.advance(0.01)
        assert outage.tree.ports("support")
        assert not outage.tree.ports("sales")

    def test_a_way_is_looked_at_once_at_a_time(self, outage: Outage) -> None:
        outage.add("sales")
        outage.fail("sales")
        outage.tree.advance(5.0, step=1.0)
        assert len(outage.tree.looks) == 1

    def test_a_way_that_stays_closed_is_looked_at_less_often(self, outage: Outage) -> None:
        outage.add("sales")
        outage.fail("sales")
        gaps: list[float] = []
        last = began = outage.tree.clock.monotonic()
        while last - began < 1200:
            outage.second()
            if outage.view("sales").awaits is None and outage.tree.ports("sales"):
                outage.fail("sales")
            if outage.tree.looks:
                now = outage.tree.clock.monotonic()
                gaps.append(now - last)
                last = now
                outage.tree.looked(reached=False)
        assert gaps[1] < 2.1
        assert max(gaps) <= LONGEST + 2.1
        assert len(gaps) < 1200 * SHARE * 4

    def test_a_try_that_fails_although_the_way_is_open_goes_by_its_own_delays(self, outage: Outage) -> None:
        outage.add("sales")
        outage.fail("sales")
        outage.look(reached=True)
        outage.fail("sales")
        for _ in range(8):
            outage.look(reached=True)
        assert not outage.tree.ports("sales")
        assert outage.view("sales").recovery_attempts == 2

    def test_a_way_that_was_closed_again_opens_anew_but_not_every_second(self, outage: Outage) -> None:
        outage.add("sales")
        outage.fail("sales")
        outage.look(reached=True)
        outage.fail("sales")
        began, is_open = outage.tree.clock.monotonic(), False
        while not outage.tree.ports("sales"):
            outage.look(reached=is_open)
            is_open = not is_open
        waited = outage.tree.clock.monotonic() - began
        assert AT_MOST_EVERY - 2 <= waited <= AT_MOST_EVERY + 5

    def test_who_is_given_another_way_waits_for_that_one(self, outage: Outage) -> None:
        outage.add("sales", proxy=PROXY)
        outage.exhaust("sales")
        outage.tree.looks.clear()
        outage.tree.tell("sales", Configure(proxy={**PROXY, "host": "other.test"}))
        outage.tree.settle()
        actor = outage.tree.system.whereis(reachability.PATH)
        for _ in range(3):
            outage.second()
            outage.tree.looked(reached=False)
        assert outage.tree.system.whereis(reachability.PATH) is actor
        assert outage.tree.crashes == []
        assert outage.look(reached=True) == ["http://other.test:3128"]
        assert outage.view("sales").phase is Phase.STARTING

    def test_with_more_ways_than_looks_each_has_its_turn(
        self, outage: Outage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reachability, "LOOKS", 1)
        ways = {f"http://proxy-{number}.test:3128" for number in range(4)}
        for number in range(4):
            outage.add(f"sales-{number}", proxy={**PROXY, "host": f"proxy-{number}.test"})
        for number in range(4):
            outage.port(f"sales-{number}").say(REFUSED)
        outage.tree.settle()
        seen: set[str | None] = set()
        for _ in range(5):
            outage.second()
            seen.update(outage.tree.looked(reached=False))
        assert seen == ways

    def test_they_start_one_after_the_other(self, outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reachability, "STARTS_PER_SECOND", 1)
        names = ("sales", "support", "billing")
        outage.add(*names)
        for name in names:
            outage.fail(name)
        outage.second()
        outage.look(reached=True)
        started = []
        for _ in names:
            outage.tree.advance(0.01)
            started.append(sum(1 for name in names if outage.tree.ports(name)))
            outage.tree.advance(0.99)
        assert started == [1, 2, 3]
        assert STARTS_PER_SECOND >= 20

    def test_it_can_be_switched_off(self, tmp_path: Path) -> None:
        outage = Outage(tmp_path, reachability_check=0.0)
        try:
            outage.add("sales")
            outage.fail("sales")
            outage.tree.advance(5.0)
            assert outage.tree.looks == []
        finally:
            outage.tree.stop()


class TestService:
    """WhatsApp's server answers, and refuses logins with a 5xx: only a login that is taken tells of its end."""

    def test_another_login_ends_the_wait(self, outage: Outage) -> None:
        names = ("sales", "support")
        outage.add(*names)
        for name in names:
            outage.port(name).say(IN_TROUBLE)
        outage.tree.settle()
        outage.give_up(*names)
        assert [outage.view(name).awaits for name in names] == [Awaits.SERVICE] * 2
        outage.second()
        assert outage.tree.looks == [], "an answer of the web server would tell nothing"
        outage.tree.advance(10.0)
        outage.port("sales").say(IN_TROUBLE)
        outage.tree.settle()
        outage.give_up("sales")
        outage.second()
        assert [bool(outage.tree.ports(name)) for name in names] == [False, True]
        outage.open("support")
        outage.second()
        outage.tree.advance(0.01)
        assert outage.tree.ports("sales")

    def test_a_login_that_went_another_way_tells_nothing(self, outage: Outage) -> None:
        outage.add("sales")
        outage.fail("sales", IN_TROUBLE)
        outage.second()
        outage.add("support", proxy=PROXY)
        for _ in range(2):
            outage.second()
        assert not outage.tree.ports("sales")

    def test_those_who_were_open_all_along_tell_nothing(self, outage: Outage) -> None:
        outage.add("sales", "support")
        outage.fail("sales", IN_TROUBLE)
        due = outage.view("sales").restart_due
        for _ in range(3):
            outage.second()
        assert outage.view("sales").restart_due == due
        assert not outage.tree.ports("sales")


class TestLook:
    """A look asks the web server that the client's connection goes to, through the same proxy."""

    @pytest.mark.parametrize(("status", "reached"), [(200, True), (404, True), (500, False), (503, False)])
    def test_any_answer_but_of_a_server_in_trouble(
        self, monkeypatch: pytest.MonkeyPatch, status: int, reached: bool
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.setattr("actors.network.ADDRESS", f"http://127.0.0.1:{server.server_port}/")
            assert is_reached(None, 5.0) is reached
            server.shutdown()

    @pytest.mark.parametrize(
        "proxy", [None, "http://127.0.0.1:1", "socks5://127.0.0.1:1", "gopher://x", "http://"]
    )
    def test_no_answer_is_none(self, monkeypatch: pytest.MonkeyPatch, proxy: str | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        monkeypatch.setattr("actors.network.ADDRESS", f"http://127.0.0.1:{port}/")
        assert is_reached(proxy, 0.5) is False

    @pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
    def test_a_proxy_that_talks_nonsense_reaches_nothing(self, answer: bytes) -> None:
        """And the look at it is over, however it failed."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(100)
                    connection.sendall(answer)

            threading.Thread(target=serve, daemon=True).start()
            said: Queue[bool] = Queue()
            begin_look(f"socks5://127.0.0.1:{server.getsockname()[1]}", said.put)
            assert said.get(timeout=10) is False

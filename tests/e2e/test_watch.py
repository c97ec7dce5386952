"""The watch itself: what it calls wrong, and what it does not let pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.watch import FOUND_OUT_WITHIN, TOLD_WITHIN, Answer, Watch, dead, lives_of
from tests.loopback.journal import Event

DEVICE = "5511999990001:1@s.whatsapp.net"


def journal(*entries: tuple[float, int, str]) -> list[Event]:
    """Events by time, connection and kind."""
    switched = {"black hole": ("black_hole", {"on": True}), "mended": ("black_hole", {"on": False})}
    found = []
    for number, (at, connection, name) in enumerate(entries, start=1):
        kind, detail = switched.get(name, (name, {}))
        found.append(Event(number, at, kind, connection, DEVICE, detail))
    return found


def wrong(asked: float, *entries: tuple[float, int, str]) -> bool:
    return dead(Answer("sales", asked, asked + 0.01, "open"), lives_of(DEVICE, journal(*entries)))


class TestJudgement:
    def test_open_while_a_connection_lives_is_right(self) -> None:
        assert not wrong(50.0, (10.0, 1, "tcp"), (11.0, 1, "success"))
        assert not wrong(50.0, (11.0, 1, "success"), (60.0, 1, "closed"))

    def test_open_before_the_login_is_wrong(self) -> None:
        assert wrong(10.5, (10.0, 1, "tcp"), (11.0, 1, "success"))

    def test_open_after_the_end_is_wrong(self) -> None:
        ended = ((11.0, 1, "success"), (20.0, 1, "closed"))
        assert not wrong(20.0 + TOLD_WITHIN - 0.1, *ended)
        assert wrong(20.0 + TOLD_WITHIN + 0.1, *ended)

    def test_a_dial_that_does_not_log_in_is_no_connection(self) -> None:
        ended = ((11.0, 1, "success"), (20.0, 1, "closed"), (21.0, 2, "tcp"), (21.1, 2, "login"))
        assert wrong(30.0, *ended)
        assert not wrong(30.0, *ended, (21.2, 2, "success"))

    def test_a_black_hole_has_to_be_found_out_in_time(self) -> None:
        silent = ((11.0, 1, "success"), (20.0, 1, "black hole"))
        assert not wrong(20.0 + FOUND_OUT_WITHIN - 0.1, *silent)
        assert wrong(20.0 + FOUND_OUT_WITHIN + 0.1, *silent)
        assert not wrong(100.0, *silent, (25.0, 1, "mended"))


class Host:
    """Answers as the test says."""

    def __init__(self, answer: Callable[[], str]) -> None:
        self.answer = answer
        self.asked = threading.Event()

    def api_with_own_client(self) -> Any:
        return self

    def state(self, name: str) -> str:
        self.asked.set()
        return self.answer()


class Service:
    def __init__(self, *entries: tuple[float, int, str]) -> None:
        self.entries = entries

    def events(self, jid: str) -> list[Event]:
        return journal(*self.entries)


def watched(host: Host, service: Service) -> Watch:
    watch = Watch(host, service)  # type: ignore[arg-type]
    watch.follow({"sales": DEVICE})
    return watch


def refuse() -> str:
    raise httpx.ConnectError("connection refused")


class TestWatch:
    def test_it_passes_what_is_right(self) -> None:
        host = Host(lambda: "open")
        with watched(host, Service((0.0, 1, "success"))):
            assert host.asked.wait(10)

    def test_it_fails_on_open_without_a_connection(self) -> None:
        host, ended = Host(lambda: "open"), Service((0.0, 1, "success"), (1.0, 1, "closed"))
        with pytest.raises(AssertionError, match="called a dead link open"), watched(host, ended):
            assert host.asked.wait(10)

    def test_it_fails_when_nothing_was_asked(self) -> None:
        with pytest.raises(AssertionError, match="sales"):
            watched(Host(refuse), Service()).check()

    @pytest.mark.parametrize(
        "error", [httpx.ReadTimeout("slow"), AssertionError("500 Internal Server Error")]
    )
    def test_it_fails_on_an_answer_that_does_not_come(self, error: Exception) -> None:
        def fail() -> str:
            raise error

        host = Host(fail)
        with pytest.raises(AssertionError, match="sales"), watched(host, Service()):
            assert host.asked.wait(10)

    def test_no_answer_is_no_failure_while_the_test_has_the_host_down(self) -> None:
        host = Host(lambda: "close")
        with watched(host, Service()) as watch:
            assert host.asked.wait(10)
            with watch.host_down():
                host.answer = refuse
                host.asked.clear()
                assert host.asked.wait(10)
                host.answer = lambda: "close"

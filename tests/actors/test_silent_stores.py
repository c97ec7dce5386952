"""A session store, or a cache, that takes a connection and then says nothing is given up in its time."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from actors import cache, credentials
from actors.cache import CacheUnavailable, RedisCache
from actors.credentials import CredentialsUnavailable, PostgresCredentials

SLACK = 3.0
"""Seconds that a busy machine may add."""


@contextmanager
def server(say: Callable[[socket.socket], object]) -> Iterator[tuple[int, list[socket.socket]]]:
    """A server that says something to whoever connects, and then nothing any more: its port, and its connections."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    link, _ = listening.accept()
                except OSError:
                    return
                taken.append(link)
                say(link)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1], taken
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for link in taken:
                link.close()


def nothing(_: socket.socket) -> None:
    """Not even a word."""


def welcome(link: socket.socket) -> None:
    """What a PostgreSQL server says to who it lets in without a password."""
    [length] = struct.unpack("!I", link.recv(4, socket.MSG_WAITALL))
    link.recv(length - 4, socket.MSG_WAITALL)
    link.sendall(b"R" + struct.pack("!II", 8, 0) + b"Z" + struct.pack("!Ic", 5, b"I"))


def test_a_session_store_that_says_nothing_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "CONNECT_TIMEOUT", 2)  # the least that libpq knows
    with server(nothing) as (port, _):
        gives_up(lambda: postgres(port).delete("i", "a device"), CredentialsUnavailable, 2.0)


def test_a_session_store_that_falls_silent_once_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's own limit of a statement is of no use then: it is the server that is out of reach."""
    monkeypatch.setattr(credentials, "STATEMENT_TIMEOUT", 0.3)
    monkeypatch.setattr(credentials, "STATEMENT_MARGIN", 0.2)
    with server(welcome) as (port, _):
        gives_up(lambda: postgres(port).delete("i", "a device"), CredentialsUnavailable, 0.5)
        gives_up(lambda: postgres(port).exist("i", "a device"), CredentialsUnavailable, 0.5)


def test_a_session_store_in_which_no_device_was_ever_linked(postgres_url: str) -> None:
    store = PostgresCredentials(postgres_url)
    assert not store.exist("i", "a device")
    store.delete("i", "a device")


def test_a_cache_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "REDIS_TIMEOUT", 0.3)
    with server(nothing) as (port, taken):
        gives_up(lambda: RedisCache(f"redis://127.0.0.1:{port}/0").clear("i"), CacheUnavailable, 0.6)
    assert len(taken) == 1


def postgres(port: int) -> PostgresCredentials:
    return PostgresCredentials(
        f"postgresql://postgres@127.0.0.1:{port}/sessions?sslmode=disable&gssencmode=disable"
    )


def gives_up(ask: Callable[[], object], error: type[Exception], seconds: float) -> None:
    began = time.monotonic()
    with pytest.raises(error):
        ask()
    assert time.monotonic() - began < seconds + SLACK

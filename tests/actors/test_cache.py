"""What is deleted from a Redis that other programs use too, and how long that may take."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from actors.cache import DEADLINE, REDIS_TIMEOUT, CacheUnavailable, RedisCache
from tests.actors.test_silent_stores import server
from tests.redis_server import redis_server

PAGES = 25


class SlowRedis:
    """Answers each SCAN a second later, by a clock of its own: the last of 25 pages says that there is no more."""

    def __init__(self, seconds: float = 1.0, page: bytes = b"*0\r\n") -> None:
        self.now = 1000.0
        self.asked: list[bytes] = []
        self._seconds, self._page = seconds, page

    def clock(self) -> float:
        return self.now

    def serve(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as lines:
            for head in lines:
                words = []
                for _ in range(int(head[1:])):
                    length = int(lines.readline()[1:])
                    words.append(lines.read(length + 2)[:-2])
                link.sendall(self._answer(words[0]))

    def _answer(self, command: bytes) -> bytes:
        if command not in (b"SCAN", b"DEL"):
            return b"+OK\r\n"
        self.asked.append(command)
        self.now += self._seconds
        if command == b"DEL":
            return b":1\r\n"
        cursor = b"7" if self.asked.count(b"SCAN") < PAGES else b"0"
        return b"*2\r\n$1\r\n" + cursor + b"\r\n" + self._page


def clear(slow: SlowRedis) -> None:
    with server(slow.serve) as (port, _):
        cache = RedisCache(f"redis://127.0.0.1:{port}/0?protocol=2", slow.clock)
        try:
            cache.clear("i")
        finally:
            cache._client.close()


def test_a_redis_that_is_slow_each_time_is_given_up_in_time_for_its_last_answer() -> None:
    slow = SlowRedis()
    with pytest.raises(CacheUnavailable, match="within 4 s"):
        clear(slow)
    assert slow.asked == [b"SCAN"] * 3  # a fourth might take until after the deadline


def test_what_was_found_too_late_is_not_deleted_either() -> None:
    slow = SlowRedis(DEADLINE - REDIS_TIMEOUT + 0.1, b"*1\r\n$12\r\ninstance:i:a\r\n")
    with pytest.raises(CacheUnavailable):
        clear(slow)
    assert slow.asked == [b"SCAN"]


def test_a_redis_with_many_pages_has_its_time() -> None:
    slow = SlowRedis(0.01, b"*1\r\n$12\r\ninstance:i:a\r\n")
    clear(slow)
    assert slow.asked == [b"SCAN", b"DEL"] * PAGES


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as address:
        yield address


@pytest.mark.parametrize("query", ["", "?decode_responses=True"])
def test_one_instances_keys_go_and_no_others(url: str, query: str) -> None:
    """More of them than there are in one answer, among as many of others."""
    ours = [f"{kind}:i:{number}" for kind in ("instance", "auth") for number in range(3000)]
    others = [f"instance:j:{number}" for number in range(3000)]
    others += ["other:i:a", "other:instance:i:a", "instance:i", "instance:ii:a", "instance:j:i:a", "i"]
    with redis.Redis.from_url(url) as client:
        client.mset(dict.fromkeys([*ours, *others], "1"))
        RedisCache(url + query).clear("i")
        assert {key.decode() for key in client.scan_iter(count=5000)} == set(others)


def test_a_key_need_not_be_text(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.mset({b"instance:i:\xff": "1", b"\xff:i:\xff": "1"})
        RedisCache(url).clear("i")
        assert client.keys() == [b"\xff:i:\xff"]

"""What the host can do without: in memory, or in Redis where several programs share it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from supervisor.config import Settings

REDIS_TIMEOUT = 2.0
"""Seconds after which a Redis that does not answer is given up: to connect, and to be answered."""
DEADLINE = 2 * REDIS_TIMEOUT
"""Seconds for all that one instance's keys need. A question is asked only if there is time for its answer.

The greetings of a new connection come on top where they are answered slowly too."""
SCAN_COUNT = 2000
"""Keys that Redis looks at for one answer: the fewer, the more answers to wait for; the more, the longer all others
wait (2000 are about 2 ms)."""


class CacheUnavailable(Exception):
    """The cache cannot be reached now."""


class Cache(Protocol):
    """Values that may be lost at any time."""

    def clear(self, instance_id: str) -> None:
        """Forget everything under `instance:<id>:` and `auth:<id>:`.

        Raises:
            CacheUnavailable: it may still be there.
        """


def open_cache(settings: Settings) -> Cache:
    """The cache that `[cache] url` asks for."""
    url = settings.cache.url.get_secret_value()
    return MemoryCache() if url.startswith("memory:") else RedisCache(url)


def prefixes(instance_id: str) -> tuple[str, str]:
    """What the keys of an instance begin with."""
    return f"instance:{instance_id}:", f"auth:{instance_id}:"


class MemoryCache:
    """A cache that nothing is kept in: in one process the sessions themselves hold all there is to know."""

    def clear(self, instance_id: str) -> None:
        """Nothing is there to forget."""


class RedisCache:
    """Keys in Redis that other programs may have written for an instance.

    Args:
        url: `redis://…`, as `redis.Redis.from_url` takes it.
        now: seconds of a clock that never goes back.
    """

    def __init__(self, url: str, now: Callable[[], float] = time.monotonic) -> None:
        import redis

        self._now = now
        self._errors = redis.RedisError
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT
        )

    def clear(self, instance_id: str) -> None:
        try:
            self._delete_all(instance_id, self._now() + DEADLINE)
        except self._errors as error:
            raise CacheUnavailable(type(error).__name__) from error

    def _delete_all(self, instance_id: str, until: float) -> None:
        """Go through all keys once, whatever their prefix: Redis looks at every key it has each time."""
        encode = self._client.get_encoder().encode
        ours = tuple(prefix.encode() for prefix in prefixes(instance_id))
        cursor = None
        while cursor != 0:
            if cursor is not None:
                self._hurry(until)
            cursor, found = self._client.scan(cursor or 0, match=f"*:{instance_id}:*", count=SCAN_COUNT)
            keys = [key for key in found if encode(key).startswith(ours)]
            if keys:
                self._hurry(until)
                self._client.delete(*keys)

    def _hurry(self, until: float) -> None:
        if self._now() > until - REDIS_TIMEOUT:
            raise CacheUnavailable(f"its keys could not be gone through within {DEADLINE:g} s")

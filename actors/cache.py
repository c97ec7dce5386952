"""What the host can do without: in memory, or in Redis where several programs share it."""

from __future__ import annotations

from typing import Any, Protocol

from supervisor.config import Settings

REDIS_TIMEOUT = 2.0
DEADLINE = 2 * REDIS_TIMEOUT
"""Seconds after which a Redis that does not answer is given up: to connect, and to be answered."""
SCAN_COUNT = 500


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
    """Keys in Redis that other programs may have written for an instance."""

    def __init__(self, url: str) -> None:
        import redis

        self._errors = redis.RedisError
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT
        )

    def clear(self, instance_id: str) -> None:
        try:
            for prefix in prefixes(instance_id):
                keys = list(self._client.scan_iter(match=f"{prefix}*", count=SCAN_COUNT))
                if keys:
                    self._client.delete(*keys)
        except self._errors as error:
            raise CacheUnavailable(type(error).__name__) from error

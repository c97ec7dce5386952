"""How metrics are written for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

SCRAPE_DEADLINE = 2.0
"""Seconds that a scrape waits for the database, the only thing that it waits for."""


class Source(Protocol):
    """Something that has metrics."""

    def collect(self) -> Iterable[Metric]: ...


class _Together:
    """What prometheus_client takes for a registry."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = tuple(sources)

    def collect(self) -> Iterable[Metric]:
        for source in self._sources:
            yield from source.collect()


_process = ProcessCollector(registry=None)


def exposition(sources: Iterable[Source], accept: str = "") -> tuple[bytes, str]:
    """The metrics of some sources and of this process, in the text format or in OpenMetrics.

    Args:
        accept: what the scraper says that it takes (the header `Accept`).

    Returns:
        The body and its media type.
    """
    encode, media_type = choose_encoder(accept)
    body: bytes = encode(_Together([*sources, _process]))
    return body, media_type

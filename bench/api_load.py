"""Asks the control API at a steady rate, in a process of its own: `python -m bench.api_load URL SECONDS STREAM...`.

A stream is `rate:connections:path[,path...]`: so many requests a second, spread over so many kept connections, for the
paths in turn; a rate of 0 asks again as soon as the answer is there. The load is open: a request is due at its moment
however late the ones before it are, and its latency counts from then. One line of JSON at the end: for each stream the
latencies in seconds, and the seconds that it took.

A process of its own, and HTTP written by hand, as the question must cost less than the answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from tests.e2e.harness import KEY

DEADLINE = 30.0
"""Seconds for one answer."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Requests of one kind.

    Attributes:
        rate: a second, over all connections; 0 for as many as are answered.
        connections: that are kept.
        paths: asked for in turn.
    """

    rate: float
    connections: int
    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rate:g}:{self.connections}:{','.join(self.paths)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of `str`."""
        rate, connections, paths = text.split(":", 2)
        return cls(float(rate), int(connections), tuple(paths.split(",")))


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a stream: seconds that each answer took, and seconds in all."""

    latencies: list[float]
    took: float

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.took


class Asking:
    """A load that runs; `result` waits for its end."""

    def __init__(self, url: str, seconds: float, streams: Sequence[Stream]) -> None:
        self._patience = seconds + 2 * DEADLINE
        command = [sys.executable, "-m", "bench.api_load", url, f"{seconds:g}", *map(str, streams)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def result(self) -> list[Load]:
        """A load for each stream.

        Raises:
            RuntimeError: an answer was not 200, or did not come.
        """
        try:
            output, _ = self._process.communicate(timeout=self._patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise RuntimeError(f"the load did not end within {self._patience:g} s") from None
        if self._process.returncode != 0:
            raise RuntimeError(f"the load ended with {self._process.returncode}")
        return [Load(**each) for each in json.loads(output)]


def ask(url: str, seconds: float, *streams: Stream) -> list[Load]:
    """Run streams side by side, and wait for their end."""
    return Asking(url, seconds, streams).result()


class _Connection:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer = reader, writer
        self._rest = f" HTTP/1.1\r\nHost: {host}\r\napikey: {KEY}\r\n\r\n".encode()

    async def get(self, path: str) -> None:
        """Ask, and read the whole answer.

        Raises:
            RuntimeError: it is not 200.
        """
        self._writer.write(b"GET " + path.encode() + self._rest)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        lengths = [
            value
            for name, _, value in (field.partition(":") for field in fields)
            if name.lower() == "content-length"
        ]
        body = await self._reader.readexactly(int(lengths[0]))
        if status.split()[1] != "200":
            raise RuntimeError(f"{path}: {status} {body[:200]!r}")

    def close(self) -> None:
        self._writer.close()


async def _run(url: str, seconds: float, streams: Sequence[Stream]) -> list[Load]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    opened = [
        [
            _Connection(*await asyncio.open_connection(parts.hostname, parts.port), parts.netloc)
            for _ in range(stream.connections)
        ]
        for stream in streams
    ]
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_drive(stream, connections, began, seconds))
            for stream, connections in zip(streams, opened, strict=True)
        ]
    for connections in opened:
        for connection in connections:
            connection.close()
    return [task.result() for task in tasks]


async def _drive(stream: Stream, connections: Sequence[_Connection], began: float, seconds: float) -> Load:
    latencies: list[float] = []

    async def drive(index: int, connection: _Connection) -> None:
        number = index
        while True:
            now = time.monotonic()
            due = began + number / stream.rate if stream.rate else now
            if due >= began + seconds:
                return
            if due > now:
                await asyncio.sleep(due - now)
            async with asyncio.timeout(DEADLINE):
                await connection.get(stream.paths[number % len(stream.paths)])
            latencies.append(time.monotonic() - due)
            number += len(connections)

    async with asyncio.TaskGroup() as group:
        for index, connection in enumerate(connections):
            group.create_task(drive(index, connection))
    return Load(latencies, time.monotonic() - began)


def main() -> None:
    """The command line."""
    url, seconds, *streams = sys.argv[1:]
    loads = asyncio.run(_run(url, float(seconds), [Stream.parse(stream) for stream in streams]))
    json.dump([{"latencies": load.latencies, "took": load.took} for load in loads], sys.stdout)


if __name__ == "__main__":
    os.environ["NO_PROXY"] = "*"
    main()

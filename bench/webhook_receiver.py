"""A webhook receiver in a process of its own, so that it costs the host under measurement no processor time.

Listens on the port that is its argument, or on a free one. Prints its port, takes requests until its input ends, then
prints one line a request: the event's number and the time of its arrival (CLOCK_MONOTONIC, which all processes of a
machine share).
"""

from __future__ import annotations

import asyncio
import re
import sys
import time

NUMBER = re.compile(rb'"number":(\d+)')
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Receiver(asyncio.Protocol):
    """Answers 200 to every request, with as little work as possible."""

    arrivals: list[tuple[int, float]] = []  # noqa: RUF012 - one list for all connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:") + len(b"content-length:")
            length = int(head[at:].split(b"\r\n", 1)[0])
            if len(self._data) < end + 4 + length:
                return
            body = self._data[end + 4 : end + 4 + length]
            self._data = self._data[end + 4 + length :]
            found = NUMBER.search(body)
            self.arrivals.append((int(found[1]) if found else -1, time.monotonic()))
            self._transport.write(ANSWER)  # type: ignore[attr-defined]


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    for number, at in Receiver.arrivals:
        print(number, at)


if __name__ == "__main__":
    asyncio.run(main())

"""A webhook receiver that is not always well, in a process of its own: `python -m bench.soak_receiver FILE SEED SHARE`.

Prints its port. Of all requests it treats that share badly, by a seeded generator: it answers 500 or 429, never
answers, or resets the connection. Each request is a line of JSON in the file, written before its answer. A line on
its input makes it well for good; the end of its input ends it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TextIO, cast

ID = re.compile(rb"x-zapvisor-event-id:[ \t]*(\S+)")
LENGTH = re.compile(rb"content-length:[ \t]*(\d+)")
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset."""

BAD: Mapping[str, int] = {"500": 4, "429": 1, "silence": 1, "reset": 2}
"""What goes wrong, by how often among itself."""

ANSWERS: Mapping[str, bytes] = {
    "200": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "500": b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
    "429": b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n",
}
SECRETS = "qrcode.updated"
"""The event whose body changes when what it carries has expired."""


class Mood:
    """Decides how each request is treated, and keeps the list of them."""

    def __init__(self, log: TextIO, seed: str, share: float) -> None:
        self._log = log
        self._random = random.Random(seed)
        self.share = share

    def take(self, head: bytes, body: bytes) -> str:
        """Write a request down, and say how it is treated."""
        bad = self._random.random() < self.share
        how = self._random.choices(list(BAD), list(BAD.values()))[0] if bad else "200"
        found = ID.search(head)
        event = json.loads(body)
        same = b"" if event["event"] == SECRETS else json.dumps(event["data"], sort_keys=True).encode()
        entry = {
            "at": time.time(),
            "id": found[1].decode() if found else "",
            "instance": event["instance"],
            "event": event["event"],
            "data": hashlib.sha256(same).hexdigest()[:16],
            "answer": how,
        }
        self._log.write(json.dumps(entry) + "\n")
        return how


class Connection(asyncio.Protocol):
    """One kept connection of a sender."""

    def __init__(self, mood: Mood) -> None:
        self._mood = mood
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            length = LENGTH.search(head)
            over = end + 4 + (int(length[1]) if length else 0)
            if len(self._data) < over:
                return
            body, self._data = self._data[end + 4 : over], self._data[over:]
            self._answer(self._mood.take(head, body))

    def _answer(self, how: str) -> None:
        if how in ANSWERS:
            self._transport.write(ANSWERS[how])
        elif how == "reset":
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            self._transport.abort()


class ReceiverProcess:
    """The receiver as a process; a context manager that starts and ends it.

    Args:
        file: gets a line for each request; it can be read after the end.
        share: how much is treated badly, 0 to 1.
    """

    def __init__(self, file: Path, seed: int, share: float) -> None:
        self.file = file
        self._command = [sys.executable, "-m", "bench.soak_receiver", str(file), str(seed), str(share)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}/hook"
        return self

    def be_well(self) -> None:
        """From now on every request is answered 200."""
        assert self._process.stdin is not None
        self._process.stdin.write("well\n")
        self._process.stdin.flush()

    def requests(self) -> list[dict[str, Any]]:
        """What has been received, in order; after the end."""
        return [json.loads(line) for line in self.file.read_text().splitlines()]

    def end(self) -> None:
        """End it, with everything written; a second time it does nothing."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
            raise

    def __exit__(self, *_exc: object) -> None:
        self.end()


async def main(file: str, seed: str, share: str) -> None:
    """Receive until the input ends."""
    loop = asyncio.get_running_loop()
    with Path(file).open("a") as log:
        mood = Mood(log, seed, float(share))
        server = await loop.create_server(lambda: Connection(mood), "127.0.0.1", 0, backlog=256)
        print(server.sockets[0].getsockname()[1], flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            mood.share = 0.0
        server.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))

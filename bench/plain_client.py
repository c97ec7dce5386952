"""Clients of the library without zapvisor, in one interpreter: what the figures are compared with.

`python -P plain_client.py DESCRIPTOR DATABASE...`: each client is connected once the one before it is, so that
the library's unlocked maps see one at a time. Writes `C INDEX TIME` and `D INDEX TIME` for connected and
disconnected, in seconds since the epoch. Ends with its standard input, so that it does not outlive who started it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import pylibmagic  # noqa: F401  (brings libmagic, which neonize loads)
from neonize.client import NewClient
from neonize.proto import Neonize_pb2 as proto


def main() -> None:
    """Connect the clients, and stay as long as standard input does."""
    arguments = int(sys.argv[1]), sys.argv[2:]
    threading.Thread(target=connect_all, args=arguments, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)


def connect_all(descriptor: int, databases: list[str]) -> None:
    """Connect one client after the other."""
    for index, database in enumerate(databases):
        connected = threading.Event()
        client = NewClient(database, uuid=str(index))

        def say(letter: str, index: int = index, connected: threading.Event = connected) -> Any:
            def handle(_client: NewClient, _event: object) -> None:
                os.write(descriptor, f"{letter} {index} {time.time():.6f}\n".encode())
                connected.set()

            return handle

        client.event(proto.Connected)(say("C"))
        client.event(proto.Disconnected)(say("D"))
        threading.Thread(target=client.connect, daemon=True).start()
        connected.wait()


if __name__ == "__main__":
    main()

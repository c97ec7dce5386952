"""A host to be killed: starts a port for each argument (DATABASE=JID), tells the process ids, and waits."""

from __future__ import annotations

import json
import signal
import sys

from actors.port.events import Connected
from tests.actors.port.harness import Harbour


def main(sessions: list[str]) -> None:
    harbour = Harbour()
    ports = []
    for session in sessions:
        database, _, jid = session.partition("=")
        ports.append(harbour.spawn(database, jid=jid or None))
    for port in ports:
        port.wait(Connected)
    print(
        json.dumps({"forkserver": harbour.status.forkserver, "ports": [port.handle.pid for port in ports]}),
        flush=True,
    )
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1:])

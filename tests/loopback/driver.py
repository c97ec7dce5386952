"""One unmodified neonize client in a process of its own: events out as JSON lines, commands in as lines.

``python -m tests.loopback.driver DATABASE [PROXY_URL]``. Out: ``{"event": …, …}`` on the descriptor given
by ``DRIVER_FD`` (the library itself writes on 1 and 2). In: ``pair NUMBER``, ``logout``, ``stop``, ``flags``,
``is_connected``, ``connect``.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pylibmagic  # noqa: F401  (brings libmagic, which neonize loads)
from neonize import NewClient
from neonize import events as library
from neonize._binder import ProxySettings

EVENTS = (
    "PairStatusEv",
    "ConnectedEv",
    "DisconnectedEv",
    "KeepAliveTimeoutEv",
    "KeepAliveRestoredEv",
    "LoggedOutEv",
    "StreamReplacedEv",
    "StreamErrorEv",
    "TemporaryBanEv",
    "ConnectFailureEv",
    "ClientOutdatedEv",
)
INTERESTING = ("Code", "Expire", "Reason", "OnConnect", "Message", "Error", "ErrorCount", "Status")


class Output:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def emit(self, event: str, **detail: Any) -> None:
        line = json.dumps({"event": event, "at": time.monotonic(), **detail}, default=str) + "\n"
        with self._lock:
            os.write(self._descriptor, line.encode())


def fields_of(message: Any) -> dict[str, Any]:
    """The fields that tests look at, by the library's names; enumerations as their names."""

    def plain(field: Any, value: Any) -> Any:
        return field.enum_type.values_by_number[value].name if field.enum_type else value

    return {
        field.name: plain(field, value) for field, value in message.ListFields() if field.name in INTERESTING
    }


def make_client(database: str, output: Output) -> Any:
    client = NewClient(database)

    def handler(name: str) -> Callable[[Any, Any], None]:
        return lambda _client, message: output.emit(name, **fields_of(message))

    for alias in EVENTS:
        client.event(getattr(library, alias))(handler(alias.removesuffix("Ev")))
    client.event.qr(lambda _client, data: output.emit("QR", code=data.decode()))

    def status(_uuid: int, pointer: int) -> None:
        output.emit("status", status=ctypes.string_at(pointer).decode())

    client.__dict__["_NewClient__onLoginStatus"] = status
    return client


def run_command(client: Any, output: Output, line: str) -> None:
    name, _, argument = line.strip().partition(" ")
    started = time.monotonic()
    try:
        if name == "pair":
            output.emit("code", code=client.PairPhone(argument, False))
        elif name == "flags":
            output.emit("flags", connected=client.connected, logged_in=client.is_logged_in)
        elif name == "is_connected":
            output.emit("is_connected", value=client.is_connected)
        elif name in ("logout", "stop"):
            getattr(client, name)()
    except Exception as error:
        output.emit("raised", command=name, error=str(error), took=time.monotonic() - started)
    else:
        output.emit("done", command=name, took=time.monotonic() - started)


def main() -> None:
    output = Output(int(os.environ["DRIVER_FD"]))
    client = make_client(sys.argv[1], output)
    proxy = ProxySettings(proxy_address=sys.argv[2]) if len(sys.argv) > 2 else None

    def connect() -> None:
        try:
            client.connect(proxy)
        except Exception as error:
            output.emit("connect.raised", error=str(error))
        else:
            output.emit("connect.returned")

    output.emit("started")
    threading.Thread(target=connect, daemon=True).start()
    for line in sys.stdin:
        task = (connect, ()) if line == "connect\n" else (run_command, (client, output, line))
        threading.Thread(target=task[0], args=task[1], daemon=True).start()
    os._exit(0)


if __name__ == "__main__":
    main()

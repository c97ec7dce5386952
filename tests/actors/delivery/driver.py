"""A host in small that emits and delivers events until it is killed, for `kills`.

Arguments: the store's URL, the data directory, the number of the run, the URL of the host-wide webhook, then one
webhook URL an instance. Each event that is committed is a line on the output: instance, number, event id. A line
on the input ends the emission; the process then delivers what waits and ends.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

from actors.delivery import Delivery
from actors.events import Events, emit
from actors.store import Instance, Reader, Store, Tx, instances, new_id, open_backend, outbox, write
from supervisor.config import Settings, WebhookSettings
from supervisor.config.urls import SecretUrl
from supervisor.otp import REST_FOR_ONE, ChildSpec, Start, Supervisor, SupervisorFlags, System

RUN = 1_000_000
"""Numbers of one run are below those of the next."""


def settings(url: str) -> Settings:
    return Settings(
        webhook=WebhookSettings(
            url=SecretUrl(url),
            timeout=0.3,
            max_attempts=1000,
            initial_delay=0.01,
            max_delay=0.2,
            jitter=0.2,
        )
    )


def instance(tx: Tx, name: str, url: str) -> Instance:
    row = instances.by_name(tx, name)
    webhook = {"enabled": True, "url": url}
    return row or instances.insert(tx, Instance(name=name, token=new_id(), webhook=webhook))


def main(url: str, data_dir: str, run: str, everybody: str, *own: str) -> None:
    system = System()
    backend = open_backend(url, Path(data_dir))
    config = settings(everybody)
    children = [
        ChildSpec("store", Start(Store, backend), shutdown=20),
        ChildSpec("events", Start(Events)),
        ChildSpec("delivery", Start(Delivery, backend, config)),
    ]
    system.start(Supervisor, SupervisorFlags(REST_FOR_ONE, 3, 5), children)
    rows = [
        write(system, lambda tx, n=n, place=place: instance(tx, f"i{n}", place))
        for n, place in enumerate(own)
    ]
    stop = threading.Event()

    def flap(row: Instance) -> None:
        for number in itertools.count(int(run) * RUN):
            if stop.is_set():
                return
            data = {"state": "open", "number": number}

            def unit(tx: Tx, data: dict[str, object] = data) -> str:
                return emit(tx, row, "connection.update", data, settings=config.webhook)

            event_id = write(system, unit)
            os.write(1, f"{row.name} {number} {event_id}\n".encode())
            stop.wait(0.005)

    threads = [threading.Thread(target=flap, args=(row,), daemon=True) for row in rows]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    stop.set()
    for thread in threads:
        thread.join()
    reader = Reader(backend)
    while reader.query(outbox.backlog)[0]:
        stop.wait(0)
        write(system, lambda tx: None)
    reader.close()
    system.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

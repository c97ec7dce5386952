"""A process that writes until it is killed, and says on its output what was acknowledged.

Arguments: the store's URL, the data directory, a number that makes its names unlike those of other runs.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

from actors.store import Instance, Store, Tx, instances, open_backend, write
from supervisor.otp import System

THREADS = 4


def main(url: str, data_dir: str, run: str) -> None:
    system = System()
    system.start(Store, open_backend(url, Path(data_dir)), path="store")

    def work(number: int) -> None:
        for count in itertools.count():
            name = f"{run}-{number}-{count}"

            def unit(tx: Tx, name: str = name) -> None:
                instances.insert(tx, Instance(name=name, token=name))
                instances.insert(tx, Instance(name=f"{name}-twin", token=f"{name}-twin"))

            write(system, unit)
            os.write(1, f"{name}\n".encode())

    for number in range(THREADS):
        threading.Thread(target=work, args=(number,), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])

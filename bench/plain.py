"""The same clients without zapvisor: a fresh interpreter for each, or one for all."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.fleet import BOOT_CONCURRENCY, PATIENCE, Note, loopback, make_databases, template
from tests.loopback.client import LoopbackProcess

SCRIPT = Path(__file__).with_name("plain_client.py")


@dataclass(frozen=True, slots=True)
class Said:
    """What a client said: the index of its database, `C` or `D`, and when (seconds since the epoch)."""

    index: int
    kind: str
    at: float


class Spoken:
    """What clients have said so far."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._said: list[Said] = []

    def hear(self, index: int, kind: str, at: float) -> None:
        """Keep what a client says."""
        with self._changed:
            self._said.append(Said(index, kind, at))
            self._changed.notify_all()

    def mark(self) -> int:
        """How much has been said so far, to be given to `wait` as `after`."""
        with self._changed:
            return len(self._said)

    def wait(self, kind: str, indexes: Sequence[int] | range, *, after: int = 0) -> float:
        """Wait until each of some clients has said it after a mark; when the last one did.

        Args:
            kind: `C` or `D`.
            indexes: of the clients.

        Raises:
            TimeoutError: some did not.
        """
        wanted, deadline = set(indexes), time.monotonic() + PATIENCE
        with self._changed:
            while True:
                found: dict[int, float] = {}
                for said in self._said[after:]:
                    if said.kind == kind:
                        found.setdefault(said.index, said.at)
                if found.keys() >= wanted:
                    return max(found[index] for index in wanted)
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"{len(wanted - found.keys())} clients did not say {kind}")


class PlainClients(Spoken):
    """Interpreters with clients in them; a context manager that ends them.

    Args:
        environment: points the clients to the service.
        databases: one for each client.
        share: how many clients one interpreter holds.
        restart: replace an interpreter that ends, at once, as the simplest supervisor does.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        databases: Sequence[Path],
        *,
        share: int = 1,
        restart: bool = False,
    ) -> None:
        super().__init__()
        self._environment = {**os.environ, **environment}
        self._databases = databases
        self._groups = [databases[at : at + share] for at in range(0, len(databases), share)]
        self._share = share
        self._restart = restart
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._ended = False
        self._wake, self._waker = os.pipe()
        self._life, self._lifeline = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._read, name="plain-clients", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended = True
        os.write(self._waker, b"x")
        self._thread.join(10)
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(10)
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        self._selector.close()
        for descriptor in (self._waker, self._life, self._lifeline):
            os.close(descriptor)

    def boot(self) -> float:
        """Start all, a few at a time, each until its clients are connected; the seconds until the last one was."""
        began, mark = time.time(), self.mark()

        def start(group: int) -> None:
            self._spawn(group)
            first = group * self._share
            self.wait("C", range(first, first + len(self._groups[group])), after=mark)

        with ThreadPoolExecutor(BOOT_CONCURRENCY) as pool:
            list(pool.map(start, range(len(self._groups))))
        return self.wait("C", range(len(self._databases)), after=mark) - began

    def pids(self) -> list[int]:
        """The interpreters."""
        return [process.pid for process in self._processes.values()]

    def kill(self, index: int) -> float:
        """Kill a client's interpreter; the seconds until its replacement is connected."""
        mark, killed = self.mark(), time.time()
        self._processes[index // self._share].kill()
        return self.wait("C", [index], after=mark) - killed

    def _spawn(self, group: int) -> None:
        ours, theirs = os.pipe()
        command = [sys.executable, "-P", str(SCRIPT), str(theirs), *map(str, self._groups[group])]
        process = subprocess.Popen(
            command,
            env=self._environment,
            pass_fds=[theirs],
            stdin=self._life,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        self._processes[group] = process
        self._selector.register(ours, selectors.EVENT_READ, group)
        os.write(self._waker, b"x")

    def _read(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                data = os.read(key.fd, 65536)
                if key.data is None:
                    continue
                if data:
                    self._hear(key.data, data.decode())
                else:
                    self._selector.unregister(key.fd)
                    os.close(key.fd)
                    self._processes[key.data].wait(10)
                    if self._restart and not self._ended:
                        self._spawn(key.data)

    def _hear(self, group: int, text: str) -> None:
        for line in text.splitlines():
            kind, index, at = line.split()
            self.hear(group * self._share + int(index), kind, float(at))


@contextmanager
def plain_fleet(
    directory: Path, count: int, note: Note, *, share: int = 1, restart: bool = False
) -> Iterator[tuple[LoopbackProcess, PlainClients]]:
    """Clients whose devices are linked, not started yet, on a service of their own."""
    with loopback(directory / "whatsapp") as wa, template(directory / "template") as made:
        note(f"linking {count} clients")
        databases = make_databases(wa, made, directory / "sessions", count)
        with PlainClients(wa.environment(), databases, share=share, restart=restart) as clients:
            yield wa, clients

"""Starts ``driver`` processes against a service and waits for what they say."""

from __future__ import annotations

import json
import os
import queue
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from .api import LoopbackApi
from .keys import KeyPair
from .service import LoopbackService

ROOT = Path(__file__).parents[2]


class Client:
    """A neonize client in a process of its own, ended by ``close`` or the end of the ``with`` block."""

    def __init__(self, wa: LoopbackService, database: Path, *, proxy: str | None = None) -> None:
        read_end, write_end = os.pipe()
        environment = {**os.environ, **wa.environment(proxy=proxy is None), "DRIVER_FD": str(write_end)}
        environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}{os.pathsep}{ROOT}"
        self.log = database.with_suffix(".log")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.loopback.driver", str(database), *([proxy] if proxy else [])],
                env=environment,
                cwd=database.parent,
                pass_fds=(write_end,),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
            )
        os.close(write_end)
        self.seen: list[dict[str, Any]] = []
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(read_end,), daemon=True)
        self._reader.start()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor) as lines:
            for line in lines:
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def next(self, timeout: float = 15) -> dict[str, Any]:
        """The next event; raises TimeoutError with what was seen so far, ConnectionError when the process
        is gone.
        """
        try:
            event = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"nothing more within {timeout} s; seen: {self.names}") from None
        if event is None:
            raise ConnectionError(f"the client is gone; seen: {self.names}; its log is {self.log}")
        self.seen.append(event)
        return event

    def wait(self, name: str, timeout: float = 15) -> dict[str, Any]:
        """The next event of this name; events before it are kept in ``seen``."""
        deadline = time.monotonic() + timeout
        while True:
            event = self.next(max(0.0, deadline - time.monotonic()))
            if event["event"] == name:
                return event

    def quiet(self, seconds: float) -> bool:
        """Whether nothing at all is said for so long."""
        try:
            self.next(seconds)
        except TimeoutError:
            return True
        return False

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.seen]

    def until(self, name: str, timeout: float = 15) -> list[str]:
        """The names of the events from now up to and including the next one of this name."""
        start = len(self.seen)
        self.wait(name, timeout)
        return self.names[start:]

    def command(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def close(self) -> None:
        self.kill()
        self._reader.join(10)
        if self._process.stdin is not None:
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def session_rows(database: Path) -> int:
    """How many devices a neonize database holds."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return int(connection.execute("SELECT count(*) FROM whatsmeow_device").fetchone()[0])


class Template:
    """One really paired device, from which the databases of any number of others are made without pairing them.

    The copies share their keys and differ in their address, which is all that a service tells devices apart
    by.
    """

    def __init__(self, wa: LoopbackService, folder: Path) -> None:
        self._database = folder / "template.db"
        number = "5511900000000"
        with Client(wa, self._database) as client:
            wa.phone(number).scan(client.wait("QR")["code"])
            client.wait("Connected")
        (jid,) = wa.devices(number)
        wa.forget_device(jid)

    def make(self, wa: LoopbackApi, number: str, database: Path) -> str:
        """Write the database of a device of ``number``, link it in the service, and return its address."""
        shutil.copy(self._database, database)
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            keys = connection.execute("SELECT noise_key, identity_key FROM whatsmeow_device").fetchone()
            noise_key, identity_key = (KeyPair(key).public for key in keys)
            jid, lid = wa.link_device(number, noise_key, identity_key)
            connection.execute("UPDATE whatsmeow_device SET jid = ?, lid = ?", (jid, lid))
        connection.close()
        return jid

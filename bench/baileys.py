"""The clients of another library: Baileys, all in one Node process, on the same service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from bench import processes
from bench.figures import Bench, Unavailable
from bench.fleet import BOOT_CONCURRENCY, loopback, number_of
from bench.plain import Spoken
from bench.samples import Samples
from tests.loopback.client import LoopbackProcess

HERE = Path(__file__).parent
SCRIPT = HERE / "baileys_client.mjs"


class BaileysClients(Spoken):
    """Linked clients in one process; a context manager that starts and ends it.

    Raises:
        Unavailable: Node or Baileys is not installed.
    """

    def __init__(self, wa: LoopbackProcess, count: int) -> None:
        super().__init__()
        node = shutil.which("node")
        if node is None or not (HERE / "node_modules" / "baileys").is_dir():
            raise Unavailable("Baileys is not installed: it needs Node 20 and `npm install --prefix bench`")
        self._wa = wa
        self._count = count
        self._command = [node, str(SCRIPT)]
        self._thread = threading.Thread(target=self._read, name="baileys", daemon=True)

    def __enter__(self) -> Self:
        environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(self._wa.facts["ca_file"])}
        self._process = subprocess.Popen(
            self._command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.kill()
        self._process.wait(10)
        if self._thread.is_alive():
            self._thread.join(10)
        for stream in (self._in, self._out):
            stream.close()

    def boot(self) -> float:
        """Link all clients, and let them connect; the seconds from the last link to the last connection."""
        facts = {
            "proxy": self._wa.proxy_url,
            "root": self._wa.facts["root_key"],
            "count": self._count,
            "concurrency": BOOT_CONCURRENCY,
        }
        self._write(json.dumps(facts))
        addresses = []
        for _ in range(self._count):
            _, index, noise, identity = self._out.readline().split()
            keys = bytes.fromhex(noise), bytes.fromhex(identity)
            addresses.append(self._wa.link_device(number_of(int(index)), *keys))
        self._thread.start()
        began = time.time()
        for jid, lid in addresses:
            self._write(f"{jid} {lid}")
        return self.wait("C", range(self._count)) - began

    def pids(self) -> Sequence[int]:
        """The one process."""
        return [self._process.pid]

    @property
    def _in(self) -> IO[str]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _out(self) -> IO[str]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _write(self, line: str) -> None:
        self._in.write(line + "\n")
        self._in.flush()

    def _read(self) -> None:
        for line in self._out:
            kind, index, at = line.split()
            self.hear(int(index), kind, float(at))


def run_baileys(bench: Bench) -> Mapping[str, Samples]:
    """The life of `bench.host`'s plain clients, with this library."""
    from bench.host import OUTAGE_SECONDS, drop_plain, idle_plain, restart_plain

    with loopback(bench.scratch / "whatsapp") as wa, BaileysClients(wa, bench.instances) as clients:
        bench.note(f"{bench.instances} clients of Baileys: boot")
        booted, worked = clients.boot(), processes.cpu_seconds(clients.pids())
        bench.note("idle")
        rest = idle_plain(clients.pids(), bench)
        taken = processes.memory(clients.pids()[0])
        bench.note("dropping every link at once")
        dropped = drop_plain(wa, clients, bench.instances)
        bench.note("restarting the service")
        restarted = restart_plain(wa, clients, bench.instances)
        bench.note("taking the service away for a while")
        away = restart_plain(wa, clients, bench.instances, bench.pick(*OUTAGE_SECONDS))
    return {
        "boot": [booted],
        "boot work": [worked],
        "uss": [taken.uss / bench.instances],
        "pss": [taken.pss],
        "idle": [rest],
        "drop": [dropped],
        "restart": [restarted],
        "outage": [away],
    }

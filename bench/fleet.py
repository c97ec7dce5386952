"""Many linked instances on a loopback WhatsApp service: what the measurements of the whole host run on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.e2e.harness import KEY, Api, HostProcess, children
from tests.loopback.api import LoopbackApi
from tests.loopback.client import LoopbackProcess
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

BOOT_CONCURRENCY = 8
"""Connections that are brought up at once: the host's default, and what every baseline is given."""

PAIRING_THREADS = 4
FIRST_NUMBER = 5511900100000
PATIENCE = 300.0
"""Seconds for what takes a while when there are hundreds."""

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "host": {"log_format": "json"},
    "api": {"listen": "127.0.0.1:0", "api_key": KEY},
    # Repeated faults are the point here; everything else is as it comes.
    "recovery": {"max_attempts": "1000", "same_code_limit": "1000"},
}
"""The defaults, but for the limits that would end the retries."""

Note = Callable[[str], None]


@contextmanager
def loopback(directory: Path) -> Iterator[LoopbackProcess]:
    """A WhatsApp service in a process of its own."""
    with LoopbackProcess(directory) as wa:
        yield wa


@contextmanager
def template(directory: Path) -> Iterator[Template]:
    """A paired device to make others from, for any service."""
    directory.mkdir(parents=True, exist_ok=True)
    with LoopbackService(directory / "whatsapp") as wa:
        made = Template(wa, directory)
    yield made


def number_of(index: int) -> str:
    """The phone number of the instance with that index."""
    return str(FIRST_NUMBER + index)


@dataclass(frozen=True, slots=True)
class Boot:
    """How long a start took, in seconds: until the API answered, and until all were open."""

    answering: float
    opened: float


class Fleet:
    """A host's data directory with many linked instances, and the host on it.

    Args:
        directory: gets everything.
        count: how many instances.
        wa: the service they are linked with.
        settings: sections over those of `SETTINGS`.
    """

    def __init__(
        self,
        directory: Path,
        count: int,
        wa: LoopbackProcess,
        settings: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.names = [f"number-{index:03}" for index in range(count)]
        self.wa = wa
        self.host = HostProcess(directory, wa.environment())
        _write_ini(self.host, settings or {})

    def create(self) -> float:
        """Start the host and create all instances over HTTP; the seconds the second took."""
        self.host.start(PATIENCE)
        began = time.monotonic()
        for name in self.names:
            self.host.api.create(name)
        return time.monotonic() - began

    def link(self, template: Template) -> None:
        """Give every instance the credentials of a device that is linked, as if it had been paired; ends the host."""
        self.host.stop(PATIENCE)
        with sqlite3.connect(self.host.data_dir / "zapvisor.db") as database:
            ids = dict(database.execute("SELECT name, id FROM instance"))
            for index, name in enumerate(self.names):
                file = self.host.data_dir / "sessions" / f"{ids[name]}.db"
                jid = template.make(self.wa, number_of(index), file)
                file.chmod(0o600)
                database.execute(
                    "UPDATE instance SET desired = 'up', phase = 'open', logged_in = 1, device_jid = ?, owner_jid = ?"
                    " WHERE name = ?",
                    (jid, f"{number_of(index)}@s.whatsapp.net", name),
                )
        database.close()

    def pair(self) -> list[float]:
        """Pair every instance by the QR code it shows, a few at a time; the seconds from connect to open of each."""
        api = self.host.api

        def pair(index: int) -> float:
            name, began = self.names[index], time.monotonic()
            mark = self.host.log.mark()
            scan = self.wa.phone(number_of(index)).scan(api.connect(name)["code"])
            if not scan.paired:
                raise RuntimeError(f"{name}: {scan}")
            self.host.phase(name, "open", after=mark, timeout=PATIENCE)
            return time.monotonic() - began

        with ThreadPoolExecutor(PAIRING_THREADS) as pool:
            return list(pool.map(pair, range(len(self.names))))

    def start(self) -> Boot:
        """Start the host and wait until all instances are open."""
        launched = time.time()
        self.host.start(PATIENCE)
        answering = time.time()
        opened = self.all_in("open")
        return Boot(answering - launched, max(opened.values()) - launched)

    def stop(self) -> float:
        """Stop the host in order; the seconds it took."""
        began = time.monotonic()
        code = self.host.stop(PATIENCE)
        if code != 0:
            raise RuntimeError(f"the host ended with {code}:\n{self.host.log.tail()}")
        return time.monotonic() - began

    def all_in(self, phase: str, *, after: int = 0) -> dict[str, float]:
        """Wait until every instance has entered a phase after a mark; when each did, in seconds since the epoch."""
        entered: dict[str, float] = {}
        wanted = set(self.names)

        def complete(record: dict[str, Any]) -> bool:
            entered.setdefault(record["instance"], moment(record))
            return entered.keys() >= wanted

        try:
            self.host.log.wait_for("phase", after=after, timeout=PATIENCE, phase=phase, where=complete)
        except TimeoutError:
            missing = sorted(wanted - entered.keys())
            raise TimeoutError(
                f"{len(missing)} of {len(wanted)} instances are not {phase} after {PATIENCE:g} s: {missing[:5]}"
            ) from None
        return entered

    def client(self) -> Api:
        """For a thread of its own."""
        return self.host.api_with(KEY)

    @property
    def forkserver(self) -> int:
        """The process that the ports are forked from."""
        [pid] = [child for child in children(self.host.pid) if children(child)]
        return pid


@contextmanager
def linked_fleet(
    directory: Path,
    count: int,
    note: Note,
    *,
    paired: bool = False,
    settings: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[Fleet]:
    """A fleet whose instances are linked and desired, with its host stopped, on a service of its own.

    Args:
        paired: link them by scanning each one's QR code, instead of making copies of one paired device.
    """
    with ExitStack() as undo:
        wa = undo.enter_context(loopback(directory / "whatsapp"))
        fleet = Fleet(directory / "host", count, wa, settings)
        undo.callback(fleet.host.stop, PATIENCE)
        note(f"creating {count} instances over HTTP")
        fleet.create()
        if paired:
            note(f"pairing {count} instances by their QR codes")
            fleet.pair()
            fleet.stop()
        else:
            note(f"linking {count} instances")
            with template(directory / "template") as made:
                fleet.link(made)
        yield fleet


def make_databases(wa: LoopbackApi, made: Template, directory: Path, count: int) -> Sequence[Path]:
    """The session databases of linked devices, for clients without a host."""
    directory.mkdir(parents=True, exist_ok=True)
    files = [directory / f"{index}.db" for index in range(count)]
    for index, file in enumerate(files):
        made.make(wa, number_of(index), file)
    return files


def moment(record: Mapping[str, Any]) -> float:
    """When a log record was written, in seconds since the epoch; the log has milliseconds."""
    return datetime.fromisoformat(str(record["time"])).timestamp()


def _write_ini(host: HostProcess, settings: Mapping[str, Mapping[str, str]]) -> None:
    """Replace the tests' settings, which are scaled down, by the real ones."""
    sections = {name: dict(keys) for name, keys in SETTINGS.items()}
    sections["host"]["data_dir"] = str(host.data_dir)
    for name, keys in settings.items():
        sections.setdefault(name, {}).update(keys)
    lines = [
        line
        for name, keys in sections.items()
        for line in (f"[{name}]", *(f"{key} = {value}" for key, value in keys.items()))
    ]
    host.ini.write_text("\n".join(lines) + "\n")

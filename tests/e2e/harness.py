"""A real host process against the loopback service, and what tests need to drive and to watch it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx

KEY = "e2e-key-0123456789"
DEADLINE = 30.0

FAST = {
    "host": {"log_format": "json"},
    "api": {"listen": "127.0.0.1:0", "api_key": KEY},
    "recovery": {"stable_after": "2s", "max_delay": "2s", "max_attempts": "200", "same_code_limit": "1000"},
    "disconnect.428": {"delay": "500ms"},
    "disconnect.408": {"delay": "500ms"},
    "disconnect.440": {"delay": "200ms"},
    "disconnect.515": {"delay": "100ms"},
    "disconnect.503": {"delay": "500ms"},
    "port": {"heartbeat": "1s", "command_timeout": "3s", "start_timeout": "10s"},
}
"""The default policies with their delays scaled down."""


class HostDied(AssertionError):
    """The host ended where it should have run."""


class Lines:
    """The host's log, line by line, as it is written; waits for records with a deadline."""

    def __init__(self, stream: Any, keep: Path) -> None:
        self._changed = threading.Condition()
        self._records: list[dict[str, Any]] = []
        self._closed = False
        self._keep = keep
        self._thread = threading.Thread(target=self._read, args=(stream,), name="host-log", daemon=True)
        self._thread.start()

    def mark(self) -> int:
        """The number of records so far, to be given to `wait_for` as `after`."""
        with self._changed:
            return len(self._records)

    def records(self, **fields: Any) -> list[dict[str, Any]]:
        with self._changed:
            return [record for record in self._records if matches(record, fields)]

    def records_after(self, mark: int, **fields: Any) -> list[dict[str, Any]]:
        with self._changed:
            return [record for record in self._records[mark:] if matches(record, fields)]

    def wait_for(
        self,
        event: str,
        *,
        after: int = 0,
        timeout: float = DEADLINE,
        where: Callable[[dict[str, Any]], bool] = lambda record: True,
        **fields: Any,
    ) -> dict[str, Any]:
        """The first record after a mark with this event and these fields."""
        deadline = time.monotonic() + timeout
        seen = after
        with self._changed:
            while True:
                for record in self._records[seen:]:
                    if record.get("event") == event and matches(record, fields) and where(record):
                        return record
                seen = len(self._records)
                left = deadline - time.monotonic()
                if self._closed:
                    raise HostDied(f"the host ended before {event} {fields}:\n{self.tail()}")
                if left <= 0:
                    raise TimeoutError(f"no {event} {fields} within {timeout:g} s:\n{self.tail()}")
                self._changed.wait(left)

    def tail(self, count: int = 40) -> str:
        return "\n".join(json.dumps(record) for record in self._records[-count:])

    def join(self, timeout: float) -> None:
        self._thread.join(timeout)

    def _read(self, stream: Any) -> None:
        with self._keep.open("ab") as keep:
            for line in stream:
                keep.write(line)
                keep.flush()
                try:
                    record = json.loads(line)
                except ValueError:
                    record = {"event": "raw", "text": line.decode(errors="replace").rstrip()}
                with self._changed:
                    self._records.append(record)
                    self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def matches(record: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(record.get(key) == value for key, value in fields.items())


SECRET_FIELDS = frozenset({"code", "pairingCode", "base64", "hash", "token", "apikey"})
"""Fields of answers whose text must be found nowhere else."""


class Seen:
    """The secrets that the API gave away, as it should, and the errors that it answered."""

    def __init__(self) -> None:
        self.secrets = {KEY}
        self.errors: list[str] = []

    def note(self, answer: httpx.Response) -> None:
        if answer.status_code >= 400:
            self.errors.append(answer.text)
        elif answer.headers.get("content-type") == "application/json":
            self.secrets.update(secrets_in(answer.json()))

    def leaks(self, log: Path) -> list[str]:
        """Lines of a log, and errors, that hold a secret."""
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return [
            line[:300] for line in [*lines, *self.errors] if any(secret in line for secret in self.secrets)
        ]


def secrets_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from secrets_in(item)
    if isinstance(value, dict):
        for name, item in value.items():
            if name in SECRET_FIELDS and isinstance(item, str) and len(item) >= 8:
                yield item
            yield from secrets_in(item)


class Api:
    """The host's control API."""

    def __init__(self, url: str, key: str | None = KEY, seen: Seen | None = None) -> None:
        self._seen = seen or Seen()
        headers = {"apikey": key} if key else {}
        self.client = httpx.Client(base_url=url, headers=headers, timeout=40.0)

    def close(self) -> None:
        self.client.close()

    def call(self, method: str, path: str, *, expect: int = 200, **options: Any) -> Any:
        answer = self.client.request(method, path, **options)
        self._seen.note(answer)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def create(self, name: str, **fields: Any) -> Any:
        body = {"instanceName": name, "integration": "WHATSAPP-BAILEYS", **fields}
        return self.call("POST", "/instance/create", expect=201, json=body)

    def connect(self, name: str, number: str | None = None) -> Any:
        return self.call("GET", f"/instance/connect/{name}", params={"number": number} if number else None)

    def state(self, name: str) -> str:
        answer = self.call("GET", f"/instance/connectionState/{name}")
        return str(answer["instance"]["state"])

    def row(self, name: str) -> Any:
        [row] = self.call("GET", "/instance/fetchInstances", params={"instanceName": name})
        return row

    def rows(self) -> Any:
        return self.call("GET", "/instance/fetchInstances")

    def logout(self, name: str, *, expect: int = 200) -> Any:
        return self.call("DELETE", f"/instance/logout/{name}", expect=expect)

    def delete(self, name: str, *, expect: int = 200) -> Any:
        return self.call("DELETE", f"/instance/delete/{name}", expect=expect)

    def restart(self, name: str) -> Any:
        return self.call("POST", f"/instance/restart/{name}")


class HostProcess:
    """`python -m supervisor run` with an INI of the test's.

    Args:
        directory: gets the INI, the data directory and the log.
        environment: what points the client library to the loopback service.
        settings: sections over those of `FAST`.
        prefix: a command that runs the host's, in the same process.
    """

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        settings: Mapping[str, Mapping[str, str]] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self._prefix = prefix
        self.directory = directory
        self.data_dir = directory / "data"
        self.ini = directory / "supervisor.ini"
        self._environment = {**os.environ, **environment}
        sections: dict[str, dict[str, str]] = {name: dict(keys) for name, keys in FAST.items()}
        for name, keys in (settings or {}).items():
            sections.setdefault(name, {}).update(keys)
        sections["host"]["data_dir"] = str(self.data_dir)
        lines = [
            line
            for name, keys in sections.items()
            for line in (f"[{name}]", *(f"{key} = {value}" for key, value in keys.items()))
        ]
        directory.mkdir(parents=True, exist_ok=True)
        self.ini.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self._apis: list[Api] = []
        self.seen = Seen()

    def start(self, timeout: float = DEADLINE) -> Self:
        """Start the host and wait until its API answers."""
        return self.launch().ready(timeout)

    def launch(self) -> Self:
        """Start the host, and wait for nothing."""
        command = [*self._prefix, sys.executable, "-m", "supervisor", "run", "-c", str(self.ini)]
        self._process = subprocess.Popen(
            command, env=self._environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.log = Lines(self._process.stderr, self.directory / "host.log")
        return self

    def ready(self, timeout: float = DEADLINE) -> Self:
        """Wait until the API of a host that was launched answers."""
        self.url = str(self.log.wait_for("ready", timeout=timeout)["url"])
        self.api = self.api_with(KEY)
        return self

    def api_with(self, key: str | None) -> Api:
        self._apis.append(Api(self.url, key, self.seen))
        return self._apis[-1]

    def api_with_own_client(self) -> Api:
        """For another thread."""
        return self.api_with(KEY)

    def ports(self) -> list[int]:
        """The processes of the ports: what the forkserver has forked and not yet lost."""
        return [port for forkserver in children(self.pid) for port in children(forkserver)]

    def port_pid(self, name: str) -> int:
        """The process of an instance's port."""
        report = self.log.records(event="port", instance=name)
        return int(report[-1]["pid"])

    def rows(self, table: str) -> int:
        """How many rows a table of the host's database has."""
        with sqlite3.connect(f"file:{self.data_dir / 'zapvisor.db'}?mode=ro", uri=True) as database:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def execute(self, statement: str, *values: object) -> None:
        """Change the database of a host that is not running."""
        with sqlite3.connect(self.data_dir / "zapvisor.db") as database:
            database.execute(statement, values)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self, timeout: float = 30.0) -> int:
        """SIGTERM, and the exit code."""
        return self._end(signal.SIGTERM, timeout)

    def kill(self) -> int:
        return self._end(signal.SIGKILL, 10.0)

    def _end(self, number: signal.Signals, timeout: float) -> int:
        process = self._process
        if process is None:
            return 0
        for api in self._apis:
            api.close()
        self._apis.clear()
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise AssertionError(f"the host did not stop within {timeout:g} s:\n{self.log.tail()}") from None
        self.log.join(10)
        assert process.stderr is not None
        process.stderr.close()
        self._process = None
        return code

    def phase(self, name: str, phase: str, *, after: int = 0, timeout: float = DEADLINE) -> dict[str, Any]:
        """Wait until the instance enters a phase."""
        return self.log.wait_for("phase", after=after, timeout=timeout, instance=name, phase=phase)


def children(pid: int) -> list[int]:
    """The living child processes of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return [child for child in found if state(child) != "Z"]


def state(pid: int) -> str:
    """The state letter of a process; Z for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


class Receiver:
    """A webhook receiver: keeps what arrives, and waits for it with a deadline."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.requests: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._changed:
                    entry = {"path": self.path, "headers": dict(self.headers), "body": json.loads(body)}
                    receiver.requests.append(entry)
                    receiver._changed.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(
        self,
        event: str,
        where: Callable[[dict[str, Any]], bool] = lambda body: True,
        timeout: float = DEADLINE,
    ) -> dict[str, Any]:
        """The body of the first request with this event."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for request in self.requests:
                    if request["body"]["event"] == event and where(request["body"]):
                        return dict(request["body"])
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = [request["body"]["event"] for request in self.requests]
                    raise TimeoutError(f"no {event} within {timeout:g} s; got {seen}")
                self._changed.wait(left)

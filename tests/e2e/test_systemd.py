"""The host under a service manager: what it says of itself, how it stops, what it reads again, how it comes up."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.conftest import pair
from tests.e2e.fleet import linked, settle
from tests.e2e.harness import DEADLINE, HostProcess, Receiver, children, state
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

WATCHDOG_SECONDS = 1.5


class ServiceManager:
    """What systemd holds: the socket that NOTIFY_SOCKET names, and what was said on it."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self._changed = threading.Condition()
        self._messages: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._thread = threading.Thread(target=self._listen, name="service-manager", daemon=True)

    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.address), "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6))}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"END=1", str(self.address))
        self._thread.join(10)
        self._socket.close()

    def _listen(self) -> None:
        while True:
            lines = self._socket.recv(65536).decode().split("\n")
            message = dict(line.split("=", 1) for line in lines)
            if "END" in message:
                return
            with self._changed:
                self._messages.append(message)
                self._changed.notify_all()

    def mark(self) -> int:
        with self._changed:
            return len(self._messages)

    def wait_for(
        self, name: str, matches: str = "", *, after: int = 0, times: int = 1, timeout: float = DEADLINE
    ) -> list[dict[str, str]]:
        """All messages after a mark, once one with this assignment has come so often."""

        def heard() -> bool:
            values = [message[name] for message in self._messages[after:] if name in message]
            return sum(1 for value in values if re.search(matches, value)) >= times

        with self._changed:
            assert self._changed.wait_for(heard, timeout), f"no {name}={matches}: {self._messages[after:]}"
            return self._messages[after:]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with ServiceManager(tmp_path / "notify") as listening:
        yield listening


MakeHost = Callable[..., HostProcess]


@pytest.fixture
def make_host(wa: LoopbackService, manager: ServiceManager, tmp_path: Path) -> Iterator[MakeHost]:
    """Makes hosts that the service manager starts; they end with the test."""
    hosts: list[HostProcess] = []

    def make(settings: Mapping[str, Mapping[str, str]] | None = None) -> HostProcess:
        environment = {**wa.environment(), **manager.environment()}
        hosts.append(HostProcess(tmp_path / "host", environment, settings))
        return hosts[-1]

    yield make
    for host in hosts:
        host.stop()


def names(count: int) -> list[str]:
    return [f"number-{index:02}" for index in range(count)]


# -- what the host says ------------------------------------------------------------------------------------


def test_ready_status_signs_of_life_and_stopping(make_host: MakeHost, manager: ServiceManager) -> None:
    host = make_host().start()
    said = manager.wait_for("WATCHDOG", times=3)
    ready = next(message for message in said if "READY" in message)
    assert ready == {"READY": "1"}
    manager.wait_for("STATUS", "0 of 0 instances open")
    mark = manager.mark()
    assert host.stop() == 0
    [stopping] = [message for message in manager.wait_for("STOPPING", after=mark) if "STOPPING" in message]
    assert stopping["STOPPING"] == "1"


def test_what_the_host_starts_cannot_speak_for_it(make_host: MakeHost) -> None:
    host = make_host().start()
    for pid in children(host.pid):
        inherited = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"NOTIFY_SOCKET" not in inherited
        assert b"WATCHDOG_USEC" not in inherited


def test_a_stopped_host_gives_no_sign_of_life(make_host: MakeHost, manager: ServiceManager) -> None:
    """What the service manager's watchdog is for in the end."""
    host = make_host().start()
    manager.wait_for("WATCHDOG")
    os.kill(host.pid, signal.SIGSTOP)
    try:
        while state(host.pid) != "T":
            os.sched_yield()
        mark = manager.mark()
        threading.Event().wait(WATCHDOG_SECONDS)  # the silence itself is what is tested
        assert manager.mark() == mark
    finally:
        os.kill(host.pid, signal.SIGCONT)
    manager.wait_for("WATCHDOG", after=mark)


def test_a_host_that_is_ended_for_hanging_says_where_its_threads_stand(make_host: MakeHost) -> None:
    """The service manager sends SIGABRT when the signs of life stop."""
    host = make_host().start()
    os.kill(host.pid, signal.SIGABRT)
    with pytest.raises(AssertionError, match="host ended"):
        host.log.wait_for("never")
    text = [record["text"] for record in host.log.records(event="raw")]
    assert "Fatal Python error: Aborted" in text
    assert sum(1 for line in text if line.startswith(("Thread 0x", "Current thread 0x"))) > 10
    assert host.stop() == -signal.SIGABRT


def test_how_many_instances_there_is_room_for_is_said_at_the_start(make_host: MakeHost) -> None:
    host = make_host().start()
    room = host.log.wait_for("room for instances")
    assert room["instances"] > 0
    assert room["limited_by"]


def test_a_start_that_fails_never_says_that_it_is_ready(
    make_host: MakeHost, manager: ServiceManager, tmp_path: Path
) -> None:
    host = make_host({"store": {"url": "postgresql://nobody@127.0.0.1:1/none"}})
    with pytest.raises(AssertionError, match="ended before"):
        host.start()
    assert host.stop() == 1
    assert manager.mark() == 0


# -- stopping ----------------------------------------------------------------------------------------------


class Writer:
    """Sets an instance's webhook again and again, and keeps the last one that was acknowledged."""

    def __init__(self, host: HostProcess, name: str) -> None:
        self.name = name
        self.acknowledged = 0
        self._api = host.api_with_own_client()
        self._thread = threading.Thread(target=self._write, name=f"writer-{name}", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        for number in itertools.count(1):
            body = {"enabled": False, "url": f"http://127.0.0.1:9/{number}"}
            try:
                answer = self._api.client.post(f"/webhook/set/{self.name}", json={"webhook": body})
            except Exception:  # the host has closed its socket
                return
            if answer.status_code >= 300:
                return
            self.acknowledged = number

    def join(self) -> None:
        self._thread.join(30)


def test_sigterm_stops_in_order_in_time_with_everything_that_was_acknowledged(
    make_host: MakeHost, manager: ServiceManager, wa: LoopbackService, template: Template, numbers: Any
) -> None:
    """Twenty connections, four writers who do not stop, and one command under way."""
    host = make_host({"host": {"boot_concurrency": "20"}})
    rows = [linked(name, number) for name, number in zip(names(20), numbers(20), strict=True)]
    devices = settle(host.data_dir, wa, template, rows)
    host.start()
    for name in devices:
        host.phase(name, "open", timeout=30)
    ports = host.ports()
    assert len(ports) == 20
    writers = [Writer(host, name) for name in names(4)]
    manager.wait_for("STATUS", "20 of 20 instances open")
    began = time.monotonic()
    os.kill(host.pid, signal.SIGTERM)
    for writer in writers:
        writer.join()
    assert host.stop() == 0
    assert time.monotonic() - began < 20
    assert [pid for pid in ports if state(pid) != "Z"] == []
    assert not host.log.records(level="error", logger="zapvisor.otp")
    assert not host.log.records(level="critical")
    with sqlite3.connect(host.data_dir / "zapvisor.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = dict(database.execute("SELECT name, webhook FROM instance"))
        phases = {phase for (phase,) in database.execute("SELECT DISTINCT phase FROM instance")}
        assert database.execute("SELECT count(*) FROM instance WHERE desired = 'up'").fetchone() == (20,)
    database.close()
    assert phases == {"open"}
    for writer in writers:
        assert writer.acknowledged > 0
        found = re.search(r"127\.0\.0\.1:9/(\d+)", stored[writer.name])
        assert found is not None
        assert int(found.group(1)) >= writer.acknowledged
    assert set(wa.devices()) >= set(devices.values())
    manager.wait_for("STOPPING")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_signal_to_stop_ends_the_host_with_success(make_host: MakeHost, number: signal.Signals) -> None:
    host = make_host().start()
    os.kill(host.pid, number)
    host.log.wait_for("stopped")
    assert host.stop() == 0


# -- SIGHUP ------------------------------------------------------------------------------------------------


class Ini:
    """The host's INI file, to be changed between two reads."""

    def __init__(self, host: HostProcess) -> None:
        self._host = host
        self._text = host.ini.read_text()

    def change(self, section: str, key: str, value: str) -> None:
        """Set a key over the one that is there."""
        kept = re.sub(rf"(?m)(?<=\[{re.escape(section)}\]\n)((?:[^\[]*\n)?){key} = .*\n", r"\1", self._text)
        header = f"[{section}]\n"
        if header in kept:
            self._text = kept.replace(header, f"{header}{key} = {value}\n", 1)
        else:
            self._text = f"{kept}\n{header}{key} = {value}\n"

    def reload(self) -> int:
        """Have the host read it, and wait until it has; a mark in its log from before."""
        mark = self._host.log.mark()
        self._host.ini.write_text(self._text)
        os.kill(self._host.pid, signal.SIGHUP)
        return mark


def test_sighup_takes_what_it_may_names_the_rest_and_reports_both_ends(
    make_host: MakeHost, manager: ServiceManager, wa: LoopbackService, number: str
) -> None:
    host = make_host().start()
    host.api.create("sales")
    pair(host, wa, "sales", number)
    ini = Ini(host)
    ini.change("recovery", "max_delay", "5m")
    ini.change("disconnect.503", "delay", "200s")
    ini.change("host", "log_level", "debug")
    ini.change("api", "threads", "9")
    heard = manager.mark()
    mark = ini.reload()
    restart = host.log.wait_for("configuration change needs a restart of the host", after=mark)
    assert "threads" in restart["change"]
    said = manager.wait_for("READY", after=heard)
    reloading = next(message for message in said if "RELOADING" in message)
    assert int(reloading["MONOTONIC_USEC"]) > 0
    live = [record["change"] for record in host.log.records_after(mark, event="configuration changed")]
    assert len(live) == 3

    host.api.call("GET", "/healthz")
    host.log.wait_for("request", after=mark, level="debug", path="/healthz")

    before = host.log.mark()
    with wa.refuse_connections("refused"):
        wa.drop_all()
        host.log.wait_for(
            "disconnected", after=before, instance="sales", where=lambda record: record["code"] == 503
        )
        delays = reconnect_delays(host)
    assert delays[-1] >= 160_000, "the delay of the running instance is the new one, with its jitter"


def test_sighup_reaches_deliveries_and_the_api(make_host: MakeHost, manager: ServiceManager) -> None:
    """Where a receiver is, how it is spoken to, and what the API says of itself."""
    host = make_host().start()
    host.api.create("before")
    with Receiver() as receiver:
        ini = Ini(host)
        ini.change("webhook", "url", receiver.url)
        ini.change("webhook", "by_events", "yes")
        ini.change("api", "server_url", "https://wa.example.org")
        heard = manager.mark()
        ini.reload()
        manager.wait_for("READY", after=heard)
        host.api.create("after")
        body = receiver.wait_for("instance.create")
        assert (body["instance"], body["server_url"]) == ("after", "https://wa.example.org")
        assert receiver.requests[0]["path"].endswith("/instance-create")
    document = host.api.call("GET", "/openapi/openapi.json")
    assert "https://wa.example.org" in [server["url"] for server in document["servers"]]
    assert not host.log.records(level="error")


def reconnect_delays(host: HostProcess) -> list[int]:
    """The delays of all reconnects so far, in milliseconds, as the host has reported them in its events."""
    with sqlite3.connect(f"file:{host.data_dir / 'zapvisor.db'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT data FROM event WHERE event = 'recovery.attempt' ORDER BY seq")
        found = [int(json.loads(data)["delayMs"]) for (data,) in rows]
    database.close()
    return found


def test_a_wrong_ini_changes_nothing(make_host: MakeHost, manager: ServiceManager) -> None:
    host = make_host().start()
    ini = Ini(host)
    ini.change("host", "log_level", "debug")
    ini.change("recovery", "max_attempts", "lots")
    heard = manager.mark()
    mark = ini.reload()
    wrong = host.log.wait_for("the configuration is wrong, nothing was changed", after=mark)
    assert "max_attempts" in wrong["problem"]
    manager.wait_for("READY", after=heard)
    host.api.call("GET", "/healthz")
    manager.wait_for("WATCHDOG", after=manager.mark(), times=2)
    assert not host.log.records_after(mark, level="debug")
    assert not host.log.records_after(mark, event="configuration changed")


# -- boot --------------------------------------------------------------------------------------------------


def test_a_boot_is_bounded_and_visible_and_the_api_answers_from_the_first_second(
    make_host: MakeHost, manager: ServiceManager, wa: LoopbackService, template: Template, numbers: Any
) -> None:
    at_once, count = 3, 12
    host = make_host({"host": {"boot_concurrency": str(at_once)}, "port": {"start_timeout": "4s"}})
    rows = [linked(name, number) for name, number in zip(names(count), numbers(count), strict=True)]
    devices = settle(host.data_dir, wa, template, rows)
    mark = wa.mark()
    with wa.refuse_connections("hang", at="websocket"):
        host.start()
        shown = host.api.rows()
        assert {row["name"] for row in shown} == set(devices)
        assert {row["connectionStatus"] for row in shown} == {"connecting"}
        manager.wait_for("STATUS", f"^0 of {count} instances open")
        boot = host.log.wait_for("boot")
        assert (boot["to_connect"], boot["at_once"]) == (count, at_once)
        for _ in range(at_once):
            mark = wa.wait_for("fault", after=mark, timeout=DEADLINE).number
        assert len(host.ports()) == at_once
    for name in devices:
        host.phase(name, "open", timeout=30)
    manager.wait_for("STATUS", f"^{count} of {count} instances open", timeout=30)
    assert any(
        record["event"].startswith(f"boot: all {count} instances have had their turn")
        for record in host.log.records(logger="zapvisor.actor")
    )


def test_what_was_open_comes_back_first_and_of_that_what_was_used_last(
    make_host: MakeHost, wa: LoopbackService, template: Template, numbers: Any
) -> None:
    host = make_host({"host": {"boot_concurrency": "1"}})
    a, b, c, d = numbers(4)
    rows = [
        linked("long-ago", a, last_open_at=1_000.0),
        linked("unfinished", b, phase="starting", last_open_at=9_000.0),
        linked("lately", c, last_open_at=3_000.0),
        linked("before", d, last_open_at=2_000.0),
        linked("not-wanted", "5511977000001", desired="down", phase="closed", last_open_at=8_000.0),
    ]
    settle(host.data_dir, wa, template, rows)
    host.start()
    host.phase("unfinished", "open")
    started = [record["instance"] for record in host.log.records(event="port")]
    assert started == ["lately", "before", "long-ago", "unfinished"]
    assert host.api.state("not-wanted") == "close"


# -- backup ------------------------------------------------------------------------------------------------


def back_up(data_dir: Path, destination: Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).parents[2] / "deploy" / "backup.py"
    command = [sys.executable, "-I", str(script), str(data_dir), str(destination)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_backup_of_a_running_host_is_a_host_that_goes_on_elsewhere(
    make_host: MakeHost, wa: LoopbackService, template: Template, numbers: Any, tmp_path: Path
) -> None:
    host = make_host()
    rows = [linked(name, number) for name, number in zip(names(3), numbers(3), strict=True)]
    devices = settle(host.data_dir, wa, template, rows)
    host.start()
    for name in devices:
        host.phase(name, "open")
    writer = Writer(host, names(1)[0])
    done = back_up(host.data_dir, tmp_path / "copies")
    assert done.returncode == 0, done.stderr
    assert host.stop() == 0
    writer.join()

    copy = Path(done.stdout.strip())
    modes = {path: path.stat().st_mode & 0o077 for path in [copy, *copy.rglob("*")]}
    assert set(modes.values()) == {0}
    shutil.rmtree(host.data_dir)
    shutil.copytree(copy, host.data_dir)
    mark = wa.mark()
    host.start()
    for name in devices:
        host.phase(name, "open")
    assert not wa.events("scanned", after=mark)
    assert set(wa.devices()) >= set(devices.values())


def test_a_backup_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    sessions = tmp_path / "data" / "sessions"
    sessions.mkdir(parents=True)
    sqlite3.connect(tmp_path / "data" / "zapvisor.db").close()
    (sessions / "x.db").write_bytes(b"this is no database" * 100)
    done = back_up(tmp_path / "data", tmp_path / "copies")
    assert done.returncode == 1
    assert "backup failed" in done.stderr
    assert list((tmp_path / "copies").iterdir()) == []
    assert back_up(tmp_path, tmp_path / "copies").returncode == 1

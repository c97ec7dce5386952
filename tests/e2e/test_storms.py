"""Storms: what happens to many connections at once, or to what all of them stand on.

After each of them the same holds: the host is the one that it was, every instance is open again, and no session is
lost. What is promised beyond that is in docs/operations.md, one row for each test here.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fleet import linked, settle
from tests.e2e.harness import HostProcess, Receiver, children
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

COUNT = 8
PATIENCE = 25.0
FIRST_NUMBER = 5511966000001


@dataclass
class Storm:
    """A host with open instances.

    Attributes:
        devices: the linked device of each instance.
        receiver: gets every event.
    """

    host: HostProcess
    wa: LoopbackService
    devices: Mapping[str, str]
    receiver: Receiver

    @property
    def names(self) -> list[str]:
        return list(self.devices)

    def pids(self) -> dict[str, int]:
        """The process of each instance's connection."""
        return {name: self.host.port_pid(name) for name in self.names}

    def wait_open(self, *, after: int, names: list[str] | None = None) -> None:
        """Wait until instances have become open after a mark in the log."""
        for name in self.names if names is None else names:
            self.host.phase(name, "open", after=after, timeout=PATIENCE)

    def wait_down(self, *, after: int, names: list[str] | None = None) -> None:
        for name in self.names if names is None else names:
            self.host.phase(name, "recovering", after=after)

    def errors(self, mark: int) -> list[str]:
        """What the supervision tree complained of after a mark."""
        found = self.host.log.records_after(mark, logger="zapvisor.otp", level="error")
        return [str(record["event"]).splitlines()[0] for record in found]


def free_port() -> int:
    """A port that stays the host's own when its API is restarted."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def running(
    service: LoopbackService, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Storm]:
    with Receiver() as receiver:
        settings = {
            "host": {"boot_concurrency": str(COUNT)},
            "api": {"listen": f"127.0.0.1:{free_port()}"},
            "recovery": {"stable_after": "1s", "max_delay": "1s"},
            "webhook": {"url": receiver.url, "initial_delay": "200ms", "max_delay": "1s"},
            "supervision": {"intensity": "20"},
        }
        host = HostProcess(tmp_path_factory.mktemp("storm"), service.environment(), settings)
        rows = [linked(f"number-{index}", str(FIRST_NUMBER + index)) for index in range(COUNT)]
        devices = settle(host.data_dir, service, template, rows)
        host.start()
        storm = Storm(host, service, devices, receiver)
        storm.wait_open(after=0)
        yield storm
        assert host.stop() == 0


@pytest.fixture
def storm(running: Storm, wa: LoopbackService) -> Iterator[Storm]:
    """The host, before and after: the same process, everything open, every session there."""
    pid = running.host.pid
    yield running
    deadline = time.monotonic() + PATIENCE
    while {row["connectionStatus"] for row in running.host.api.rows()} != {"open"}:
        assert time.monotonic() < deadline, running.host.log.tail()
        running.host.log.wait_for("phase", after=running.host.log.mark() - 1, timeout=PATIENCE)
    assert running.host.pid == pid
    assert set(wa.devices()) >= set(running.devices.values())
    assert all(row["phase"] == "open" for row in running.host.api.rows())
    assert not running.host.log.records(event="credentials wiped")
    assert not running.host.log.records(level="critical")


def test_all_links_dropped_at_once_heal_in_the_processes_that_they_are(storm: Storm) -> None:
    pids = storm.pids()
    for how in ("reset", "fin"):
        mark = storm.host.log.mark()
        storm.wa.drop_all(how)
        storm.wait_down(after=mark)
        storm.wait_open(after=mark)
        assert storm.errors(mark) == []
    assert storm.pids() == pids


@pytest.mark.parametrize("reason", [503, 500])
def test_logins_refused_for_a_while_cost_no_session(storm: Storm, reason: int) -> None:
    mark = storm.host.log.mark()
    with storm.wa.refuse_logins(reason) as refusal:
        storm.wa.drop_all()
        storm.wait_down(after=mark)
        while refusal.hits < 2 * COUNT:
            storm.wa.wait_for("failure", after=storm.wa.mark(), timeout=PATIENCE)
        assert {row["connectionStatus"] for row in storm.host.api.rows()} == {"connecting"}
    storm.wait_open(after=mark)


def test_a_service_that_is_gone_and_comes_back(storm: Storm) -> None:
    mark = storm.host.log.mark()
    storm.wa.stop()
    for name in storm.names:
        storm.host.log.wait_for(
            "disconnected", after=mark, instance=name, where=lambda record: record["code"] == 503
        )
    storm.wa.start()
    storm.wait_open(after=mark)


def test_names_that_do_not_resolve_cost_no_session(storm: Storm) -> None:
    """Here the name of a proxy, which is looked up in the same way."""
    names = storm.names[:3]
    mark = storm.host.log.mark()
    for name in names:
        set_proxy(storm.host, name, "gone.invalid")
        storm.host.api.restart(name)
    for name in names:
        seen = storm.host.log.wait_for("disconnected", after=mark, instance=name, timeout=PATIENCE)
        assert "lookup gone.invalid" in seen["detail"]["error"]
        assert seen["action"] == "reconnect"
    back = storm.host.log.mark()
    for name in names:
        set_proxy(storm.host, name, None)
    storm.wait_open(after=back, names=names)


def set_proxy(host: HostProcess, name: str, address: str | None) -> None:
    """Send an instance through a proxy, or, with None, the way that all others go."""
    body: dict[str, Any] = {"enabled": False, "host": "", "port": "", "protocol": "http"}
    if address is not None:
        body = {"enabled": True, "host": address, "port": "3128", "protocol": "http"}
    host.api.call("POST", f"/proxy/set/{name}", json=body, expect=201)


# -- the database ------------------------------------------------------------------------------------------


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Another program holds the lock that a writer needs."""
    other = sqlite3.connect(file, isolation_level=None, timeout=10)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


@contextmanager
def full(host: int) -> Iterator[None]:
    """No file of the host's, or of its ports', can become longer: what a full disk, or a quota, means to them."""

    def limit(soft: int) -> None:
        for pid in family(host):
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    limit(1)
    try:
        yield
    finally:
        limit(resource.RLIM_INFINITY)


def family(pid: int) -> list[int]:
    """A process and all below it. New ones have their limits from the process that forked them."""
    return [pid, *(descendant for child in children(pid) for descendant in family(child))]


def until(storm: Storm, holds: Callable[[], bool]) -> None:
    """Ask the API until something holds: while the database is away there is no line in the log to wait for."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, storm.host.log.tail()
        os.sched_yield()


def until_gone(storm: Storm) -> None:
    """Wait until the host has noticed that its database is away."""
    until(storm, lambda: not storm.host.api.client.get("/readyz").json()["checks"]["database"])


def opened(storm: Storm) -> list[str]:
    """The instances that the API calls open."""
    return [row["name"] for row in storm.host.api.rows() if row["connectionStatus"] == "open"]


@pytest.mark.parametrize("how", ["locked", "full"])
def test_a_database_that_cannot_be_written_ends_no_connection_and_loses_no_event(
    storm: Storm, how: str
) -> None:
    host = storm.host
    pids, forkservers = storm.pids(), children(host.pid)
    away = locked(host.data_dir / "zapvisor.db") if how == "locked" else full(host.pid)
    dropped, killed = storm.names[:4], storm.names[4]
    mark, seen = host.log.mark(), len(storm.receiver.requests)
    with away:
        for name in dropped:
            storm.wa.connection(storm.devices[name]).drop("reset")
        os.kill(pids[killed], signal.SIGKILL)
        until_gone(storm)
        assert host.api.client.get("/healthz").status_code == 200
        until(storm, lambda: opened(storm) == storm.names[5:])
        refused = host.api.client.post(
            "/instance/create", json={"instanceName": "late", "integration": "WHATSAPP-BAILEYS"}
        )
        assert refused.status_code == 503
        assert "The database cannot be written now" in refused.text
    storm.wait_open(after=mark, names=[*dropped, killed])
    assert [error for error in storm.errors(mark) if killed not in error] == []
    after = storm.pids()
    assert {name for name in storm.names if after[name] != pids[name]} == {killed}
    assert children(host.pid) == forkservers
    assert host.api.client.get("/readyz").status_code == 200
    for name in [*dropped, killed]:
        reported(storm.receiver, name, "connection.update", "connecting", after=seen)
        reported(storm.receiver, name, "connection.update", "open", after=seen)
    assert "late" not in {row["name"] for row in host.api.rows()}


def reported(receiver: Receiver, name: str, event: str, state: str, *, after: int) -> None:
    """Wait until the receiver has been told of a state of an instance after so many requests."""
    known = {id(request["body"]) for request in receiver.requests[:after]}
    receiver.wait_for(
        event,
        lambda body: (
            id(body) not in known and body["instance"] == name and body["data"].get("state") == state
        ),
        timeout=PATIENCE,
    )


def test_a_command_that_is_answered_during_the_outage_is_not_lost_by_it(storm: Storm) -> None:
    """The answer comes when the database has it."""
    name = storm.names[0]
    answers: list[int] = []
    api = storm.host.api_with_own_client()

    def command() -> None:
        body = {"webhook": {"enabled": False, "url": "http://127.0.0.1:9/kept"}}
        answers.append(api.client.post(f"/webhook/set/{name}", json=body).status_code)

    thread = threading.Thread(target=command, name="command", daemon=True)
    with locked(storm.host.data_dir / "zapvisor.db"):
        thread.start()
        until_gone(storm)
        assert answers == []
    thread.join(PATIENCE)
    assert answers == [201]
    found = storm.host.api.call("GET", f"/webhook/find/{name}")
    assert "kept" in str(found)


# -- processes ---------------------------------------------------------------------------------------------


def adjustment(pid: int | str) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_a_port_that_the_kernel_kills_for_want_of_memory_is_replaced_alone(storm: Storm) -> None:
    """The kernel is told to take a port rather than the host; what it does then is SIGKILL."""
    pids = storm.pids()
    victim = storm.names[0]
    assert adjustment(pids[victim]) > adjustment(storm.host.pid)
    assert adjustment(pids[victim]) > adjustment(children(storm.host.pid)[0])
    mark = storm.host.log.mark()
    os.kill(pids[victim], signal.SIGKILL)
    storm.wait_down(after=mark, names=[victim])
    storm.wait_open(after=mark, names=[victim])
    after = storm.pids()
    assert {name for name in storm.names if after[name] != pids[name]} == {victim}


def test_a_host_without_a_free_descriptor_waits_for_one(storm: Storm) -> None:
    """Its connections stay; one that ends meanwhile is brought back as after a lost link."""
    host, victim = storm.host, storm.names[0]
    pids = storm.pids()
    before = resource.prlimit(host.pid, resource.RLIMIT_NOFILE)
    mark = host.log.mark()
    resource.prlimit(host.pid, resource.RLIMIT_NOFILE, (10, before[1]))
    try:
        os.kill(pids[victim], signal.SIGKILL)
        until(storm, lambda: any(victim in error for error in storm.errors(mark)))
    finally:
        resource.prlimit(host.pid, resource.RLIMIT_NOFILE, before)
    storm.wait_open(after=mark, names=[victim])
    after = storm.pids()
    assert {name for name in storm.names if after[name] != pids[name]} == {victim}


def test_all_ports_killed_at_once_are_all_replaced(storm: Storm) -> None:
    pids = storm.pids()
    mark = storm.host.log.mark()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    storm.wait_down(after=mark)
    storm.wait_open(after=mark)
    assert not set(storm.pids().values()) & set(pids.values())


def test_a_dead_forkserver_takes_its_ports_along_and_all_come_back(storm: Storm) -> None:
    [forkserver] = children(storm.host.pid)
    mark = storm.host.log.mark()
    os.kill(forkserver, signal.SIGKILL)
    storm.wait_open(after=mark)
    assert children(storm.host.pid) != [forkserver]
    storm.host.api = storm.host.api_with_own_client()  # the API was restarted too


@pytest.mark.parametrize("path", ["store", "ports"])
def test_a_part_that_all_stand_on_is_restarted_with_them(storm: Storm, path: str) -> None:
    """By an operator, or by its own crash: the rule of the root is the same."""
    mark = storm.host.log.mark()
    api = storm.host.api_with_own_client()  # the API is restarted too, and closes what others hold open
    api.call("POST", "/supervisor/restart", json={"path": path})
    storm.wait_open(after=mark)
    storm.host.api = storm.host.api_with_own_client()

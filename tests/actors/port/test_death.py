"""Who dies with whom, by any signal, and what is left behind: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.port import CommandTimeout, ForkserverDied, PortExited, PortSpec, Spawn
from actors.port.events import Connected, QrCode
from actors.port.ports import FORK_SECONDS
from supervisor.otp import ActorDown, Crash, InitFailed, ManualClock
from tests.actors.port.conftest import Link
from tests.actors.port.harness import WAIT, Harbour, Watched, children, process_state, wait_until
from tests.loopback.service import LoopbackService

ROOT = Path(__file__).parents[3]
AFTER_HOST = 2.0
"""Seconds in which everything is gone once the host is."""


def pid_of(port: Watched) -> int:
    assert port.handle.pid is not None
    return port.handle.pid


def gone(*pids: int) -> bool:
    return all(process_state(pid) is None for pid in pids)


class TestPort:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
    def test_the_death_of_one_by_a_signal_is_told_and_no_other_feels_it(
        self, wa: LoopbackService, harbour: Harbour, link: Link, number: signal.Signals
    ) -> None:
        (first, first_jid), (second, second_jid) = link(), link()
        victim, other = harbour.spawn(first, jid=first_jid), harbour.spawn(second, jid=second_jid)
        for port in (victim, other):
            port.wait(Connected)
        connection = wa.connection(second_jid).number
        os.kill(pid_of(victim), number)
        exited = victim.wait(PortExited)
        assert (exited.signal, exited.requested) in {(number, False), (signal.SIGABRT, False)}
        assert other.ask("nonsense").error_kind == "unknown-command"
        assert wa.connection(second_jid).number == connection

    def test_a_stopped_one_is_silent_and_holds_up_nobody(self, harbour: Harbour, link: Link) -> None:
        database, jid = link()
        stopped = harbour.spawn(database, jid=jid, heartbeat=0.1)
        stopped.wait(Connected)
        stopped.heartbeat()
        os.kill(pid_of(stopped), signal.SIGSTOP)
        for _ in range(20):
            stopped.handle.command("profile", 30.0)
        database, jid = link()
        lively = harbour.spawn(database, jid=jid, heartbeat=0.1)
        lively.wait(Connected)
        for _ in range(5):
            lively.heartbeat()
        while True:
            try:
                stopped.heartbeat(0.3)
            except TimeoutError:
                break
        exited = stopped.end()
        assert (exited.signal, exited.requested) == (signal.SIGKILL, True)

    def test_deadlines_follow_the_systems_clock(self, wa: LoopbackService, tmp_path: Path) -> None:
        clock = ManualClock()
        harbour = Harbour(wa.environment(), clock=clock)
        try:
            port = harbour.spawn(tmp_path / "new.db")
            port.wait(QrCode)
            os.kill(pid_of(port), signal.SIGSTOP)
            request_id = port.handle.command("profile", 600.0)
            clock.advance(599.0)
            assert "CommandTimeout" not in port.names
            clock.advance(1.0)
            assert port.wait(CommandTimeout).request_id == request_id
        finally:
            harbour.close()

    def test_a_heartbeat_tells_of_the_process(self, harbour: Harbour, link: Link) -> None:
        database, jid = link()
        port = harbour.spawn(database, jid=jid, heartbeat=0.1)
        port.wait(Connected)
        beat = port.heartbeat()
        assert 10 * 2**20 < beat.rss_bytes < 200 * 2**20
        assert 3 <= beat.threads < 50
        assert 4 <= beat.fds < 50

    def test_it_dies_with_its_owner(self, harbour: Harbour, tmp_path: Path) -> None:
        port = harbour.spawn(tmp_path / "new.db")
        port.wait(QrCode)
        harbour.system.stop(port.owner)
        wait_until(lambda: gone(pid_of(port)), AFTER_HOST, "the port's end")

    def test_it_is_not_started_for_an_owner_that_is_gone(self, harbour: Harbour, tmp_path: Path) -> None:
        watched = harbour.owner()
        harbour.system.stop(watched.owner)
        handle = harbour.ports.call(Spawn(PortSpec("late", str(tmp_path / "new.db")), watched.owner, 1), WAIT)
        wait_until(lambda: not handle.alive, WAIT, "the port's end")
        wait_until(lambda: handle.pid is not None and gone(handle.pid), WAIT, "the process's end")

    def test_it_inherits_its_own_descriptors_alone(self, harbour: Harbour, link: Link) -> None:
        database, jid = link()
        port = harbour.spawn(database, jid=jid)
        port.wait(Connected)
        folder = Path(f"/proc/{pid_of(port)}/fd")
        held = {int(entry.name): str(entry.readlink()) for entry in folder.iterdir()}
        assert held[0] == "/dev/null"
        assert held[1] == held[2]
        assert held[1].startswith("pipe:")
        allowed = (
            "socket:",
            "anon_inode:[eventpoll]",
            "anon_inode:[eventfd]",
            str(database),
            "/sys/fs/cgroup/",
        )
        rest = [target for number, target in held.items() if number > 2]
        assert [target for target in rest if not target.startswith(allowed)] == []
        assert sum(target.startswith("socket:") for target in rest) <= 3


class TestForkserver:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_when_it_dies_the_actor_crashes_and_every_port_is_gone_and_told(
        self, own_harbour: Harbour, tmp_path: Path, number: signal.Signals
    ) -> None:
        ports = [own_harbour.spawn(tmp_path / f"{index}.db") for index in range(2)]
        for port in ports:
            port.wait(QrCode)
        forkserver = own_harbour.status.forkserver
        os.kill(pid_of(ports[0]), signal.SIGSTOP)
        os.kill(forkserver, number)
        for port in ports:
            assert "the forkserver is gone" in port.wait(PortExited).reason
        wait_until(lambda: gone(*map(pid_of, ports)), AFTER_HOST, "the ports' end")
        wait_until(lambda: not own_harbour.ports.alive, WAIT, "the crash")
        reason = own_harbour.ports.reason
        assert isinstance(reason, Crash)
        assert isinstance(reason.exception, ForkserverDied)
        with pytest.raises(ActorDown):
            own_harbour.ports.call(object(), WAIT)

    def test_when_the_actor_ends_nothing_is_left(self, own_harbour: Harbour, tmp_path: Path) -> None:
        port = own_harbour.spawn(tmp_path / "new.db")
        port.wait(QrCode)
        status = own_harbour.status
        assert status.pids == {port.handle.instance: pid_of(port)}
        os.kill(pid_of(port), signal.SIGSTOP)
        own_harbour.system.stop(own_harbour.ports)
        assert not port.wait(PortExited).requested
        wait_until(lambda: gone(pid_of(port), status.forkserver), AFTER_HOST, "the port's end")

    def test_one_that_does_not_fork_in_its_time_is_given_up(
        self, wa: LoopbackService, tmp_path: Path
    ) -> None:
        clock = ManualClock()
        harbour = Harbour(wa.environment(), clock=clock)
        try:
            port = harbour.spawn(tmp_path / "before.db")
            port.wait(QrCode)
            forkserver = harbour.status.forkserver
            os.kill(forkserver, signal.SIGSTOP)
            late = harbour.spawn(tmp_path / "late.db")
            clock.advance(FORK_SECONDS - 1)
            assert harbour.ports.alive
            clock.advance(1)
            assert port.wait(PortExited)
            assert late.wait(PortExited).exit_code is None
            wait_until(lambda: gone(forkserver, pid_of(port)), AFTER_HOST, "the end of all")
            assert "did not fork" in str(harbour.ports.reason)
        finally:
            harbour.close()

    def test_one_that_cannot_start_is_a_failed_init(self, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text("raise SystemExit(3)\n")
        before = set(children(os.getpid()))
        with pytest.raises(InitFailed, match="forkserver is gone"):
            Harbour({"PYTHONPATH": str(tmp_path)})
        assert set(children(os.getpid())) <= before


class TestHost:
    @pytest.fixture
    def host(self, wa: LoopbackService, link: Link) -> Iterator[subprocess.Popen[str]]:
        sessions = ["=".join(map(str, link())) for _ in range(3)]
        environment = wa.environment()
        environment["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
        with subprocess.Popen(
            [sys.executable, "-m", "tests.actors.port.host_driver", *sessions],
            env={**os.environ, **environment},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield process
            process.kill()

    @pytest.mark.parametrize("stopped", ["no process", "a port", "the forkserver"])
    def test_kill_9_of_the_host_leaves_no_process(self, host: subprocess.Popen[str], stopped: str) -> None:
        assert host.stdout is not None
        told = json.loads(host.stdout.readline())
        forkserver, ports = told["forkserver"], told["ports"]
        assert not gone(forkserver)
        if stopped == "a port":
            os.kill(ports[0], signal.SIGSTOP)
        elif stopped == "the forkserver":
            os.kill(forkserver, signal.SIGSTOP)
        host.kill()
        wait_until(lambda: gone(forkserver, *ports), AFTER_HOST, "the end of forkserver and ports")


class TestMany:
    def test_twenty_at_once_all_connect(self, wa: LoopbackService, harbour: Harbour, link: Link) -> None:
        sessions = [link() for _ in range(20)]
        ports = [harbour.spawn(database, jid=jid) for database, jid in sessions]
        assert {port.wait(Connected).jid for port in ports} == {jid for _, jid in sessions}
        assert len({pid_of(port) for port in ports}) == 20

    def test_starting_and_killing_again_and_again_leaks_nothing(
        self, own_harbour: Harbour, tmp_path: Path
    ) -> None:
        def once(wait: bool) -> None:
            port = own_harbour.spawn(tmp_path / "new.db")
            if wait:
                port.wait(QrCode)
            port.end()
            own_harbour.system.stop(port.owner)

        def descriptors(pid: int) -> int:
            return len(list(Path(f"/proc/{pid}/fd").iterdir()))

        once(wait=True)
        forkserver = own_harbour.status.forkserver
        before = descriptors(os.getpid()), descriptors(forkserver)
        for turn in range(40):
            once(wait=turn % 4 == 0)
        wait_until(lambda: children(forkserver) == [], WAIT, "the ports' end")
        wait_until(
            # What an earlier test left in this process may be closed meanwhile: fewer are no leak.
            lambda: descriptors(os.getpid()) <= before[0] and descriptors(forkserver) <= before[1],
            WAIT,
            f"no more descriptors than before ({before})",
        )
        zombies = [child for child in Path("/proc").glob("[0-9]*/stat") if _is_zombie_of(child, forkserver)]
        assert zombies == []


def _is_zombie_of(stat: Path, parent: int) -> bool:
    try:
        state, owner = stat.read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state == "Z" and int(owner) == parent

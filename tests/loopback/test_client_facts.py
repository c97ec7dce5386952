"""Properties of the client library that a host has to be built around, each pinned on the real client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Linked
from .harness import Client, session_rows
from .rules import How
from .service import LoopbackService

PRELUDE = """
import logging, os, sys, threading
import pylibmagic
handlers_before = len(logging.getLogger().handlers)
from neonize import NewClient
from neonize.events import ConnectedEv
from neonize.utils import build_jid
client = NewClient(sys.argv[1])
shown = threading.Event()
client.event.qr(lambda *_: shown.set())

def connect():
    threading.Thread(target=client.connect, daemon=True).start()
    assert shown.wait(10)
"""


def run_script(wa: LoopbackService, database: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a script on the library, with a client on ``database`` that is not connected yet."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code, str(database)],
        env={**os.environ, **wa.environment()},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class TestCrashes:
    """Calls that abort the whole process, beyond any ``except``."""

    @pytest.mark.parametrize(
        "code",
        [
            pytest.param(
                "NewClient(sys.argv[1], jid=build_jid('5511999999999')).connect()",
                id="a device that is not stored",
            ),
            pytest.param("client.get_me()", id="get_me before connect"),
            pytest.param("connect(); client.stop(); client.get_me()", id="get_me after stop"),
        ],
    )
    def test_a_call_out_of_place(self, wa: LoopbackService, tmp_path: Path, code: str) -> None:
        assert run_script(wa, tmp_path / "client.db", code).returncode == -signal.SIGABRT

    def test_stop_in_the_login_status_callback(self, wa: LoopbackService, tmp_path: Path) -> None:
        wa.script_pairing(lifetimes=[0.1], times=1)
        code = "client._NewClient__onLoginStatus = lambda *_: client.stop(); client.connect()"
        assert run_script(wa, tmp_path / "client.db", code).returncode == -signal.SIGABRT


class TestFlags:
    def test_flags_lie(self, wa: LoopbackService, opened: Linked) -> None:
        client = opened.client
        with wa.stopped():
            client.wait("Disconnected")
            client.command("flags")
            flags = client.wait("flags")
            assert (flags["connected"], flags["logged_in"]) == (True, True)
        client.wait("Connected", timeout=20)
        client.command("logout")
        client.wait("done")
        client.command("flags")
        flags = client.wait("flags")
        assert (flags["connected"], flags["logged_in"]) == (True, True)

    def test_is_connected_waits_for_a_hanging_dial(self, wa: LoopbackService, opened: Linked) -> None:
        wa.refuse_connections("hang", at="websocket", times=1)
        mark = wa.mark()
        wa.connection(opened.jid).drop()
        wa.wait_for("fault", after=mark)
        opened.client.wait("Disconnected")
        opened.client.command("is_connected")
        assert opened.client.quiet(0.5)
        wa.drop_all()
        opened.client.wait("is_connected")


class TestProcess:
    def test_the_import_configures_logging_and_the_library_writes_on_stdout(
        self, wa: LoopbackService, tmp_path: Path
    ) -> None:
        wa.script_pairing(lifetimes=[0.1], times=1)
        code = """
print(handlers_before, len(logging.getLogger().handlers))
done = threading.Event()
client._NewClient__onLoginStatus = lambda *_: done.set()
connect(); done.wait(10); os._exit(0)"""
        output = run_script(wa, tmp_path / "client.db", code)
        assert output.stdout.splitlines() == ["0 1", "Login event: timeout"]

    def test_a_handler_that_is_registered_after_connect_is_not_called(
        self, wa: LoopbackService, tmp_path: Path
    ) -> None:
        code = """
connect()
client.event(ConnectedEv)(lambda *_: print("called"))
print(client.event.list_func and "registered", flush=True)
sys.stdin.read()
os._exit(0)"""
        with subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code, str(tmp_path / "client.db")],
            env={**os.environ, **wa.environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "registered\n"
            session = wa.connections()[-1]
            assert session.state == "registering"
            out, _ = process.communicate(timeout=10)
        assert "called" not in out


class TestFirstDial:
    """The first dial fails: ``connect`` raises within milliseconds, and nothing is tried again."""

    FAULTS: tuple[tuple[How, str, str], ...] = (
        ("refused", "tcp", "connection refused"),
        ("reset", "tcp", "connection reset by peer"),
        ("closed", "connect", "unexpected EOF"),
        ("status", "connect", "Service Unavailable"),
        ("closed", "tls", "EOF"),
        ("reset", "websocket", "connection reset by peer"),
        ("status", "websocket", "expected handshake response status code 101 but got 503"),
    )

    def test_fails_at_once(self, wa: LoopbackService, start: Callable[..., Client]) -> None:
        client: Client | None = None
        for how, at, complaint in self.FAULTS:
            with wa.refuse_connections(how, at=at):
                if client is None:
                    client = start()
                    client.wait("started")
                else:
                    client.command("connect")
                began = time.monotonic()
                assert complaint in client.wait("connect.raised")["error"]
                assert time.monotonic() - began < 2
                assert client.names[-2:] in (["started", "connect.raised"], ["connect.raised"] * 2)


class TestLogout:
    def test_online(self, wa: LoopbackService, opened: Linked) -> None:
        opened.client.command("logout")
        assert opened.client.wait("done")["took"] < 1
        wa.wait_for("logout", jid=opened.jid)
        assert wa.devices(opened.number) == []
        assert session_rows(opened.database) == 0
        assert opened.client.quiet(0.3), "a logout of one's own makes no event"

    def test_offline(self, wa: LoopbackService, opened: Linked) -> None:
        with wa.stopped():
            opened.client.wait("Disconnected")
            opened.client.command("logout")
            raised = opened.client.wait("raised")
        assert raised["took"] < 1
        assert session_rows(opened.database) == 1
        assert wa.devices(opened.number) == [opened.jid]


def test_paired_again_after_a_logout(wa: LoopbackService, start: Callable[..., Client], number: str) -> None:
    phone = wa.phone(number)
    for index in (1, 2):
        client = start()
        assert phone.scan(client.wait("QR")["code"]).jid == f"{number}:{index}@s.whatsapp.net"
        client.wait("Connected")
        client.command("logout")
        client.wait("done")
        client.close()

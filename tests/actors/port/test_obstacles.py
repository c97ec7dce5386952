"""What keeps the real client from connecting: its session store, or the way to the server."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading
from io import BufferedRWPair
from pathlib import Path
from typing import Any, Self

import pytest

from actors.port import PortExited
from actors.port.events import Connected, DialFailed, QrCode, SessionStoreFailed
from tests.actors.port.conftest import Link
from tests.actors.port.harness import WAIT, Harbour
from tests.loopback.service import LoopbackService


class _Socks:
    """A SOCKS proxy that refuses whatever it is asked for.

    Attributes:
        asked: host and port of each request so far.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="socks", daemon=True)
        self.url = f"socks5://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._thread.join(WAIT)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rwb") as stream:
                    connection.settimeout(WAIT)
                    self._refuse(stream)

    def _refuse(self, stream: BufferedRWPair) -> None:
        """RFC 1928: no authentication, a request by IPv4 address or name, "not allowed by ruleset"."""
        stream.read(stream.read(2)[1])
        stream.write(b"\5\0")
        stream.flush()
        by_address = stream.read(4)[3] == 1
        host = socket.inet_ntoa(stream.read(4)) if by_address else stream.read(stream.read(1)[0]).decode()
        self.asked.append((host, int.from_bytes(stream.read(2), "big")))
        stream.write(b"\5\2\0\1" + bytes(6))
        stream.flush()


class TestSessionStore:
    def test_a_device_that_is_not_there_is_told_and_crashes_nothing(
        self, harbour: Harbour, link: Link
    ) -> None:
        database, jid = link()
        port = harbour.spawn(database, jid="1" + jid)
        assert port.wait(SessionStoreFailed).fault == "device-missing"
        assert port.wait(PortExited).exit_code == 0

    def test_a_broken_database_is_told(self, harbour: Harbour, tmp_path: Path) -> None:
        (tmp_path / "broken.db").write_bytes(b"nonsense" * 1000)
        port = harbour.spawn(tmp_path / "broken.db")
        assert port.wait(SessionStoreFailed).fault == "corrupt"

    def test_a_database_of_a_later_version_costs_no_session(self, harbour: Harbour, link: Link) -> None:
        database, jid = link()
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE whatsmeow_version SET version = 999, compat = 999")
        connection.close()
        port = harbour.spawn(database, jid=jid)
        failed = port.wait(SessionStoreFailed)
        assert failed.fault == "unavailable"
        assert "999" in failed.error

    def test_an_unusual_path_is_no_trouble(
        self, wa: LoopbackService, harbour: Harbour, link: Link, tmp_path: Path
    ) -> None:
        database, jid = link()
        odd = database.rename(tmp_path / "what? 100% #1 & ü.db")
        assert harbour.spawn(odd, jid=jid).wait(Connected).jid == jid

    def test_instances_share_a_postgresql_store(
        self, wa: LoopbackService, harbour: Harbour, postgres_url: str
    ) -> None:
        jids = []
        for number in ("5511970000001", "5511970000002"):
            port = harbour.spawn(postgres_url)
            assert wa.phone(number).scan(port.wait(QrCode).code).paired
            jids.append(port.wait(Connected).jid)
            port.end()
        assert [harbour.spawn(postgres_url, jid=jid).wait(Connected).jid for jid in jids] == jids
        port = harbour.spawn(postgres_url, jid="1" + jids[0])
        assert port.wait(SessionStoreFailed).fault == "device-missing"

    @pytest.mark.parametrize("jid", [None, "5511970000001:1@s.whatsapp.net"])
    def test_a_postgresql_store_that_is_down_says_nothing_about_the_session(
        self, harbour: Harbour, jid: str | None
    ) -> None:
        port = harbour.spawn("postgresql://u:hunter2@127.0.0.1:1/sessions", jid=jid)
        failed = port.wait(SessionStoreFailed)
        assert failed.fault == "unavailable"
        assert "hunter2" not in failed.error


class TestDial:
    @pytest.mark.parametrize(
        ("how", "at", "cause"),
        [
            ("refused", "tcp", "proxy"),
            ("status", "connect", "proxy"),
            ("closed", "tls", "reset"),
            ("reset", "tls", "reset"),
            ("reset", "websocket", "reset"),
            ("status", "websocket", "refused"),
        ],
    )
    def test_a_first_dial_that_fails_is_told_with_its_cause(
        self, *, wa: LoopbackService, harbour: Harbour, tmp_path: Path, how: Any, at: str, cause: str
    ) -> None:
        with wa.refuse_connections(how, at=at):
            port = harbour.spawn(tmp_path / "new.db")
            assert port.wait(DialFailed).cause == cause
        assert port.wait(PortExited).exit_code == 0

    @pytest.mark.parametrize("scheme", ["http", "socks5"])
    def test_the_specs_proxy_is_used_alone_and_its_password_told_nobody(
        self, harbour: Harbour, tmp_path: Path, scheme: str
    ) -> None:
        """The environment of these ports has another proxy, which works."""
        port = harbour.spawn(tmp_path / "new.db", proxy_url=f"{scheme}://me:hunter2@127.0.0.1:1")
        failed = port.wait(DialFailed)
        assert failed.cause == "proxy"
        assert "hunter2" not in failed.error
        assert "127.0.0.1:1:" in failed.error

    @pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
    def test_a_socks_proxy_is_not_asked_for_the_environments_proxy(
        self, wa: LoopbackService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """The library's Go half reads the environment that the forkserver was started with."""
        for variable in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.delenv(variable, raising=False)
        with _Socks() as socks:
            harbour = Harbour({**wa.environment(proxy=False), name: wa.proxy_url})
            try:
                port = harbour.spawn(tmp_path / "its own.db", proxy_url=socks.url)
                assert port.wait(DialFailed).cause == "proxy"
                harbour.spawn(tmp_path / "the environment's.db").wait(QrCode)
            finally:
                harbour.close()
        assert set(socks.asked) == {("web.whatsapp.com", 443)}

    def test_a_proxy_with_credentials_works(
        self, wa: LoopbackService, harbour: Harbour, tmp_path: Path
    ) -> None:
        port = harbour.spawn(tmp_path / "new.db", proxy_url=wa.proxy_url.replace("://", "://me:hunter2@"))
        port.wait(QrCode)
        assert any(connection.proxy_user == "me" for connection in wa.connections())

    def test_a_server_that_is_not_whatsapp_is_not_trusted(
        self, service: LoopbackService, tmp_path: Path
    ) -> None:
        harbour = Harbour(
            {**service.environment(), "SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": str(tmp_path)}
        )
        try:
            assert harbour.spawn(tmp_path / "new.db").wait(DialFailed).cause == "tls"
        finally:
            harbour.close()

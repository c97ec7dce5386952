"""docs/security.md: who may do what, limits, and the warning about listening without TLS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from actors.deletion import longest_delete
from api.routes.events import KEPT_FOR_HOST, MAX_CLIENTS, MAX_OF_ONE
from api.sessions import LIFETIME, MARK
from api.settings import ApiSettings
from api.wsgi import Limits
from supervisor.cli.manage import delete
from supervisor.cli.options import DURATION
from supervisor.config import HostSettings, Settings
from supervisor.web import api_settings, is_open_to_eavesdroppers
from tests.api.conftest import HOST_KEY, build
from tests.compat import access
from tests.compat.access import ANYBODY, DOCUMENT, OWN, TOKEN, Row
from tests.compat.conftest import MANAGER_ORIGIN, SETTINGS
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService

ROWS = access.documented()
SIGN_IN = "/dashboard/sign-in"
SALES, SUPPORT = "token-of-sales", "token-of-support"


@pytest.fixture(scope="module")
def everything() -> tuple[FlaskClient, access.WholeGateway]:
    app, gateway = access.application()
    return app.test_client(use_cookies=False), gateway


@pytest.fixture
def client(everything: tuple[FlaskClient, access.WholeGateway]) -> FlaskClient:
    """Two instances, of which a request may be about the first."""
    client, gateway = everything
    gateway.__dict__.update(access.WholeGateway().__dict__)
    gateway.add("sales")
    gateway.add("support")
    return client


def test_the_table_is_that_of_the_application() -> None:
    assert access.rows() == ROWS, "run: python -m tests.compat.access"


def is_let_through(client: FlaskClient, row: Row, key: str | None) -> bool:
    path = row.route.replace("{name}", "sales").replace("{file}", "app.js")
    headers = {"apikey": key} if key else {}
    response = client.open(path, method=row.method, headers=headers)
    response.close()
    if row.route == SIGN_IN and response.mimetype == "text/html":
        return True  # the form itself, which says that no key was typed
    asked_to_sign_in = response.status_code == 303 and SIGN_IN in response.headers["Location"]
    return not asked_to_sign_in and response.status_code not in (401, 403, 429)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.route}")
class TestEachRow:
    def test_without_a_key_or_with_a_wrong_one(self, client: FlaskClient, row: Row) -> None:
        for key in (None, "no-key-at-all"):
            assert is_let_through(client, row, key) == (row.who == ANYBODY)

    def test_with_the_instances_token(self, client: FlaskClient, row: Row) -> None:
        assert is_let_through(client, row, SALES) == (row.who in (ANYBODY, TOKEN, OWN))

    def test_with_another_instances_token(self, client: FlaskClient, row: Row) -> None:
        if row.who == TOKEN:
            assert not is_let_through(client, row, SUPPORT)
        elif row.who == OWN and "{name}" in row.route:
            path = row.route.replace("{name}", "sales")
            assert client.get(path, headers={"apikey": SUPPORT}).status_code == 404

    def test_with_the_hosts_key(self, client: FlaskClient, row: Row) -> None:
        assert is_let_through(client, row, HOST_KEY)


@pytest.mark.parametrize("path", ["/instance/fetchInstances", "/webhook/deliveries"])
def test_lists_show_a_token_its_own_instance_alone(client: FlaskClient, path: str) -> None:
    text = client.get(path, headers={"apikey": SALES}).get_data(as_text=True)
    assert "support" not in text


def test_a_preflight_never_permits_the_dashboards_header() -> None:
    settings = ApiSettings(api_key=HOST_KEY, cors_origins=frozenset({MANAGER_ORIGIN}), dashboard=True)
    headers = {
        "Origin": MANAGER_ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": MARK.lower(),
    }
    answer = build(settings).call("OPTIONS", "/instance/create", key=None, headers=headers)
    assert answer.status_code == 204
    assert MARK.lower() not in answer.headers["Access-Control-Allow-Headers"].lower()
    assert "*" not in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


class TestLimits:
    """The document's figures are the program's."""

    def limit(self, what: str) -> str:
        [found] = re.findall(rf"^\| {re.escape(what)}.*? \| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE)
        return str(found)

    def test_of_the_server(self) -> None:
        limits = Limits()
        assert self.limit("connections") == f"{limits.connections}"
        assert self.limit("time to send a request") == f"{limits.request_time:g} s"
        assert self.limit("time between requests") == f"{limits.idle_time:g} s"
        assert self.limit("request line and headers") == f"{limits.header_bytes // 1024} KiB"
        discarded = f"{limits.discard_bytes // 1024**2} MiB in {limits.discard_time:g} s"
        assert self.limit("what is read on of a refused request") == discarded
        assert self.limit("wait for a thread") == f"{limits.queue_time:g} s"
        assert self.limit("event streams") == f"{MAX_CLIENTS}"
        assert self.limit("of them with one token") == f"{MAX_OF_ONE}"
        assert self.limit("of them with any tokens") == f"{MAX_CLIENTS - KEPT_FOR_HOST}"

    def test_of_the_application(self) -> None:
        settings = ApiSettings(api_key=HOST_KEY)
        assert self.limit("wrong keys") == f"{settings.failed_attempts} in {settings.failed_window:g} s"
        assert self.limit("body") == f"{settings.max_body // 1024**2} MiB"
        assert self.limit("a command to an instance") == f"{settings.command_timeout:g} s"
        assert self.limit("a read of the database") == f"{settings.read_timeout:g} s"
        assert LIFETIME == 12 * 3600

    def test_of_a_delete(self, tmp_path: Path) -> None:
        """Whoever asks waits for as long as it may take: the API, the command line, and a proxy as it is described."""
        settings = Settings(host=HostSettings(data_dir=tmp_path))
        longest = longest_delete(settings)
        assert self.limit("a delete") == f"{longest:g} s"
        assert api_settings(settings, HOST_KEY, ("127.0.0.1", 8080)).delete_timeout == longest
        [patience] = [option.default for option in delete.params if option.name == "timeout"]
        assert DURATION.convert(patience, None, None) > longest
        [proxy] = re.findall(r"proxy_read_timeout (\d+)s;", DOCUMENT.read_text())
        assert int(proxy) > longest


@pytest.mark.parametrize(
    ("host", "url", "warned"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080", False),
        ("::1", "http://[::1]:8080", False),
        ("0.0.0.0", "http://0.0.0.0:8080", True),
        ("::", "http://[::]:8080", True),
        ("192.168.1.5", "http://wa.example.org", True),
        ("0.0.0.0", "https://wa.example.org", False),
    ],
)
def test_who_may_listen_in(host: str, url: str, warned: bool) -> None:
    assert is_open_to_eavesdroppers(host, url) is warned


class TestTheWarningAtTheStart:
    TEXT = "the API listens beyond this machine without TLS"

    def warnings(self, host: HostProcess) -> list[str]:
        records = host.log.records(level="warning")
        return [text for record in records if (text := str(record["event"])).startswith(self.TEXT)]

    def test_on_loopback_there_is_none(self, host: HostProcess) -> None:
        assert not self.warnings(host)

    def test_on_all_addresses_there_is_one(
        self, service: LoopbackService, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        settings = {**SETTINGS, "api": {"listen": "0.0.0.0:0"}}
        host = HostProcess(tmp_path_factory.mktemp("open"), service.environment(), settings).start()
        try:
            [_] = self.warnings(host)
        finally:
            host.stop()

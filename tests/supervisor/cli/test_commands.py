"""Client commands: what they ask, what they say, how they end."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler

import pytest

from tests.supervisor.cli.conftest import Zapvisor
from tests.supervisor.cli.fakehost import FakeHost, node

COMMANDS_WITH_A_NAME = ["create", "connect", "logout", "restart", "reset", "delete", "diagnose"]


# --- status and tree


def test_status_shows_every_instance(host: FakeHost, client: Zapvisor) -> None:
    host.add("support", "recovering", last_code=428)
    host.add("sales", "open", profile="Sales Team")
    result = client("status")
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["instance", "phase", "desired", "account", "last", "disconnection"]
    assert first.split() == ["sales", "open", "up", "Sales", "Team", "(5511999999999)"]
    assert second.split() == ["support", "recovering", "up", "428", "at", "2026-01-02T03:04:05.000Z"]
    assert (result.exit_code, result.stderr) == (0, "")


def test_status_of_no_instances_says_so(client: Zapvisor) -> None:
    assert "no instances" in client("status").stdout


def test_status_as_json_holds_no_instances_key(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "open")
    result = client("status", "--json")
    (row,) = json.loads(result.stdout)
    assert (row["name"], row["phase"]) == ("sales", "open")
    assert "token" not in result.stdout


def test_what_the_host_sends_steers_no_terminal(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "open", profile="[red]x[/red]\x1b[2J\nforged")
    (_, line) = client("status").stdout.splitlines()
    assert "[red]x[/red]\\x1b[2J\\nforged" in line


def test_tree_shows_every_actor_below_its_supervisor(host: FakeHost, client: Zapvisor) -> None:
    host.tree = node(
        "root",
        "supervisor",
        node("store", "worker"),
        node(
            "instances",
            "supervisor",
            node(
                "instances/sales",
                "supervisor",
                state="restarting",
                dueIn=4.25,
                restarts=3,
                uptime=None,
                mailbox=None,
            ),
        ),
        node("api", "worker", lastExit="shutdown", uptime=90061.0, mailbox=2, pid=4711),
    )
    lines = client("tree").stdout.splitlines()
    assert [line[:12].rstrip() for line in lines[1:]] == [
        "root",
        "├─ store",
        "├─ instances",
        "│  └─ sales",
        "└─ api",
    ]
    assert lines[4].split()[2:] == ["sales", "restarting", "4.2s", "3"]
    assert lines[5].split()[1:] == ["api", "running", "0", "25h", "01m", "2", "4711", "shutdown"]


def test_without_a_terminal_nothing_is_folded(
    host: FakeHost, client: Zapvisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another program reads has one line for each actor."""
    monkeypatch.delenv("COLUMNS", raising=False)
    why = "Crash(PortDied('killed by signal 9 (SIGKILL)'))"
    host.tree = node("root", "supervisor", node("a-name-that-is-rather-long", "worker", lastExit=why))
    assert [why in line for line in client("tree").stdout.splitlines()] == [False, False, True]


def test_tree_as_json_is_the_hosts_answer(host: FakeHost, client: Zapvisor) -> None:
    assert json.loads(client("tree", "--json").stdout) == host.tree


@pytest.mark.parametrize("command", ["status", "tree"])
def test_watching_asks_again_and_again(host: FakeHost, client: Zapvisor, command: str) -> None:
    result = client(command, "--watch", "--interval", "1ms", "--count", "3")
    assert result.exit_code == 0
    assert len(host.requests) == 3
    assert result.stdout.count("instance" if command == "status" else "actor") >= 3


def test_watching_as_json_is_one_document_a_line(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "open")
    lines = client("status", "--json", "--watch", "--interval", "1ms", "--count", "3").stdout.splitlines()
    assert [json.loads(line)[0]["name"] for line in lines] == ["sales"] * 3


def test_watching_survives_a_host_that_goes_away(host: FakeHost, client: Zapvisor) -> None:
    answers = iter([True, False, True])
    reply = b'{"path": "root", "id": "root", "children": []}'

    def sometimes(request: BaseHTTPRequestHandler) -> None:
        if next(answers):
            request.send_response(200)
            request.send_header("Content-Length", str(len(reply)))
            request.end_headers()
            request.wfile.write(reply)
        else:
            request.close_connection = True

    host.raw = sometimes
    result = client("tree", "--watch", "--interval", "1ms", "--count", "3")
    assert result.exit_code == 0
    assert "cannot be reached" in result.stdout


def test_the_first_answer_of_a_watch_must_come(host: FakeHost, client: Zapvisor) -> None:
    host.raw = lambda request: setattr(request, "close_connection", True)
    assert client("status", "--watch").exit_code == 3


# --- create, logout, restart, reset, delete, diagnose


def test_create_makes_an_instance_without_connecting_it(host: FakeHost, client: Zapvisor) -> None:
    result = client("create", "sales", "--number", "5511999999999")
    assert result.stdout == "sales created (id id-sales)\n"
    assert host.requests[0].body == {
        "instanceName": "sales",
        "integration": "WHATSAPP-BAILEYS",
        "qrcode": False,
        "number": "5511999999999",
    }


def test_only_json_tells_the_new_instances_key(client: Zapvisor) -> None:
    assert "token" not in client("create", "a").output
    assert json.loads(client("create", "b", "--json").stdout)["hash"] == "token-of-b"


def test_a_name_that_is_taken_is_refused_in_the_hosts_words(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales")
    result = client("create", "sales")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == 'Error: This name "sales" is already in use.\n'


@pytest.mark.parametrize(
    ("command", "request_line", "said"),
    [
        ("logout", "DELETE /instance/logout/sales", "Instance logged out"),
        ("restart", "POST /instance/restart/sales", "sales restarted: connecting"),
        ("reset", "POST /instance/reset/sales", "Instance reset"),
        ("delete", "DELETE /instance/delete/sales", "Instance deleted"),
    ],
)
def test_each_command_is_one_request(
    host: FakeHost, client: Zapvisor, command: str, request_line: str, said: str
) -> None:
    host.add("sales", "open")
    result = client(command, "sales")
    assert (result.exit_code, result.stdout) == (0, f"{said}\n")
    (request,) = host.requests
    assert f"{request.method} {request.path}" == request_line


@pytest.mark.parametrize("command", ["logout", "restart", "reset", "delete", "diagnose"])
def test_json_is_the_hosts_answer(host: FakeHost, client: Zapvisor, command: str) -> None:
    host.add("sales", "open")
    assert isinstance(json.loads(client(command, "sales", "--json").stdout), dict)


@pytest.mark.parametrize("command", ["connect", "logout", "restart", "reset", "delete", "diagnose"])
def test_an_unknown_instance_is_refused(client: Zapvisor, command: str) -> None:
    result = client(command, "nobody")
    assert result.exit_code == 1
    assert '"nobody" instance does not exist' in result.stderr


@pytest.mark.parametrize("command", COMMANDS_WITH_A_NAME)
@pytest.mark.parametrize("name", ["", "a/b", "../x", "-x-", "x" * 65, "a b", "ü"])
def test_a_name_that_is_none_is_wrong_usage(
    host: FakeHost, client: Zapvisor, command: str, name: str
) -> None:
    result = client(command, "--", name)
    assert result.exit_code == 2
    assert "1 to 64 letters" in result.stderr
    assert host.requests == []


def test_a_refused_logout_fails(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "closed")
    result = client("logout", "sales")
    assert result.exit_code == 1
    assert "is not connected" in result.stderr


def test_diagnose_shows_the_report_for_people(host: FakeHost, client: Zapvisor) -> None:
    host.add("sales", "open")
    host.report = {
        "instanceName": "sales",
        "network": {"canReachWhatsApp": True, "proxy": None},
        "recentEvents": [{"event": "disconnected", "statusCode": 428}],
        "recovery": {"steps": []},
    }
    lines = [line.split() for line in client("diagnose", "sales").stdout.splitlines()]
    assert lines == [
        ["instanceName", "sales"],
        ["network"],
        ["canReachWhatsApp", "yes"],
        ["proxy", "-"],
        ["recentEvents"],
        ["-", '{"event":', '"disconnected",', '"statusCode":', "428}"],
        ["recovery"],
        ["steps", "none"],
    ]


# --- what can go wrong on the way


def test_a_wrong_key_is_refused_and_not_shown(
    host: FakeHost, client: Zapvisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZAPVISOR_API_KEY", "not-the-right-key")
    result = client("status")
    assert result.exit_code == 1
    assert "ZAPVISOR_API_KEY" in result.stderr
    assert "not-the-right-key" not in result.output


def test_nobody_at_the_address_is_code_3(zapvisor: Zapvisor, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        monkeypatch.setenv("ZAPVISOR_URL", f"http://127.0.0.1:{reserved.getsockname()[1]}")
        monkeypatch.setenv("ZAPVISOR_API_KEY", "0123456789")
        for arguments in (["status"], ["tree"], *([command, "sales"] for command in COMMANDS_WITH_A_NAME)):
            result = zapvisor(*arguments)
            assert result.exit_code == 3, arguments
            assert "cannot be reached" in result.stderr


def test_a_host_that_does_not_answer_is_code_3(client: Zapvisor, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("ZAPVISOR_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        result = client("status", "--timeout", "50ms")
    assert result.exit_code == 3
    assert "did not answer within 0.05 s" in result.stderr


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, b"<html>"),
        (200, b"[1]"),
        (200, b'"x"'),
        (200, b"\xff"),
        (302, b""),
        (404, b"<html>"),
        (500, b"[]"),
        (502, b""),
    ],
)
def test_what_is_no_zapvisor_is_told(host: FakeHost, client: Zapvisor, status: int, content: bytes) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    host.raw = answer
    result = client("status")
    assert result.exit_code == 1
    assert (
        ("is it zapvisor?" in result.stderr)
        if status < 400
        else (f"the host answered {status}" in result.stderr)
    )


def test_an_answer_that_never_ends_is_cut_off(host: FakeHost, client: Zapvisor) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b" ")
        except OSError:
            return

    host.raw = drip
    result = client("status", "--timeout", "100ms")
    assert result.exit_code == 3


def test_proxies_are_for_others(host: FakeHost, client: Zapvisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert client("status").exit_code == 0


@pytest.mark.parametrize(
    "arguments", [["stauts"], ["status", "--jsn"], ["create"], ["status", "--timeout", "soon"]]
)
def test_wrong_usage_is_code_2(client: Zapvisor, arguments: list[str]) -> None:
    assert client(*arguments).exit_code == 2

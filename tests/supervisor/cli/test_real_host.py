"""The commands against a real host with a real client on the loopback service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService
from tests.supervisor.cli.drawings import decode, is_drawn

NUMBER = "5511977000001"
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackService]:
    with LoopbackService(tmp_path_factory.mktemp("wa")) as service:
        yield service


@pytest.fixture(scope="module")
def real_host(tmp_path_factory: pytest.TempPathFactory, wa: LoopbackService) -> Iterator[HostProcess]:
    host = HostProcess(tmp_path_factory.mktemp("host"), wa.environment()).start()
    yield host
    assert host.stop() == 0


@pytest.fixture
def environ(real_host: HostProcess) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ZAPVISOR_")}
    return {**clean, "ZAPVISOR_URL": real_host.url, "ZAPVISOR_API_KEY": KEY, "COLUMNS": "200"}


@pytest.fixture
def command(environ: dict[str, str]) -> Command:
    def run(*arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "supervisor", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == exit_code, done.stderr
        return done

    return run


def scan_what_is_drawn(name: str, environ: dict[str, str], wa: LoopbackService) -> str:
    """Runs `connect`, reads the code off its output as it appears, scans it; the rest of the output."""
    with subprocess.Popen(
        [sys.executable, "-m", "supervisor", "connect", name, "--timeout", "60s", "--poll", "100ms"],
        env={**environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        drawn: list[str] = []
        for line in process.stdout:
            if is_drawn(line.rstrip("\n")):
                drawn.append(line.rstrip("\n"))
            elif drawn:
                break
        scan = wa.phone(NUMBER).scan(decode("\n".join(drawn), ink_is_dark=False))
        assert scan.paired, scan
        rest = process.stdout.read()
        assert process.wait(60) == 0
    return rest


def test_the_life_of_an_instance_by_commands(
    command: Command, environ: dict[str, str], wa: LoopbackService, tmp_path: Path
) -> None:
    assert command("create", "sales").stdout.startswith("sales created (id ")
    assert "already in use" in command("create", "sales", exit_code=1).stderr
    assert f"sales: open as {NUMBER}" in scan_what_is_drawn("sales", environ, wa)

    (row,) = json.loads(command("status", "--json").stdout)
    assert (row["name"], row["phase"], row["ownerJid"].split("@")[0].split(":")[0]) == (
        "sales",
        "open",
        NUMBER,
    )
    assert "open" in command("status").stdout
    assert json.loads(command("tree", "--json").stdout)["path"] == "root"
    assert "connection" in command("tree").stdout

    assert command("connect", "sales").stdout == f"sales: open as {NUMBER}\n"
    assert command("restart", "sales").stdout.startswith("sales restarted: ")
    assert f"sales: open as {NUMBER}" in command("connect", "sales", "--poll", "100ms").stdout
    assert command("logout", "sales").stdout
    assert command("logout", "sales", exit_code=1).stderr
    assert command("delete", "sales").stdout
    assert json.loads(command("status", "--json").stdout) == []
    assert "does not exist" in command("connect", "sales", exit_code=1).stderr


def test_connect_as_json_is_read_by_a_program(
    command: Command, environ: dict[str, str], wa: LoopbackService
) -> None:
    command("create", "read")
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "supervisor",
            "connect",
            "read",
            "--json",
            "--timeout",
            "60s",
            "--poll",
            "100ms",
        ],
        env={**environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = map(json.loads, process.stdout)
        code = next(line["code"] for line in lines if "code" in line)
        assert wa.phone("5511977000002").scan(code).paired
        last = list(lines)[-1]
        assert process.wait(60) == 0
    assert (last["instanceName"], last["phase"]) == ("read", "open")
    assert last["ownerJid"].startswith("5511977000002")


def test_what_looks_and_mends_against_a_running_host(command: Command, environ: dict[str, str]) -> None:
    command("create", "mended", "--number", "5511977000003")
    assert "mended" in command("diagnose", "mended").stdout
    report = json.loads(command("diagnose", "mended", "--json").stdout)
    assert (report["instanceName"], report["currentState"]["phase"]) == ("mended", "closed")
    assert command("reset", "mended", "--yes").stdout
    for view in ("status", "tree"):
        watched = ("--watch", "--count", "2", "--interval", "50ms")
        assert command(view, *watched).stdout.count("mended") >= 2
        first, second = map(json.loads, command(view, *watched, "--json").stdout.splitlines())
        assert "mended" in str(first)
        assert "mended" in str(second)
    assert "_ZAPVISOR_COMPLETE" in command("completion", "bash").stdout
    asked = {"_ZAPVISOR_COMPLETE": "bash_complete", "COMP_WORDS": "zapvisor diagnose me", "COMP_CWORD": "2"}
    found = subprocess.run(
        [sys.executable, "-m", "supervisor"],
        env={**environ, **asked},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout.splitlines() == ["plain,mended"], found.stderr
    command("delete", "mended", "--yes")

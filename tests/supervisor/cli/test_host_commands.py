"""`run` and `check`, the version, and completion; where it matters as processes of their own."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor import __version__, logs
from supervisor.config import DataDirError, DataDirUnavailable, Settings
from supervisor.otp import Crash, FailedToStart, InitFailed, Shutdown
from tests.supervisor.cli.conftest import Zapvisor
from tests.supervisor.cli.fakehost import FakeHost

BROKEN = "[api]\nlisten = nowhere\napikey = very-secret\n[hots]\n"


def process(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "supervisor", *arguments, **environ)


def python(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ZAPVISOR_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_of_a_valid_file(zapvisor: Zapvisor, tmp_path: Path) -> None:
    file = tmp_path / "supervisor.ini"
    file.write_text("[recovery]\nmax_attempts = 3\n")
    result = zapvisor("check", "-c", str(file))
    assert (result.exit_code, result.stdout) == (0, f"{file}: valid\n")
    assert zapvisor("check").exit_code == 0


def test_check_lists_every_mistake_and_exits_with_2(tmp_path: Path) -> None:
    file = tmp_path / "supervisor.ini"
    file.write_text(BROKEN)
    result = process("check", "-c", str(file), ZAPVISOR_PORT_HEARTBEAT="never")
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    assert f"Error: {file}:2: [api] listen = nowhere: no port; allowed: host:port" in result.stderr
    assert f"Error: {file}:3: [api] apikey: no such key; did you mean 'api_key'?" in lines
    assert "very-secret" not in result.stderr


@pytest.mark.parametrize(
    "needs",
    [
        ("[store] url", "postgresql://u:very-secret@h/d", "psycopg"),
        ("[sessions] url", "postgresql://u:very-secret@h/d", "psycopg"),
        ("[cache] url", "rediss://u:very-secret@h/0", "redis"),
    ],
)
def test_a_driver_that_is_not_installed_is_a_wrong_configuration(
    zapvisor: Zapvisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: tuple[str, str, str]
) -> None:
    option, url, driver = needs
    section, key = option.removeprefix("[").split("] ")
    file = tmp_path / "supervisor.ini"
    file.write_text(f"[host]\ndata_dir = {tmp_path}/data\n[{section}]\n{key} = {url}\n")
    monkeypatch.setattr("supervisor.cli.host.find_spec", lambda name: None)
    for command in ("check", "run"):
        result = zapvisor(command, "-c", str(file))
        assert result.exit_code == 2
        assert f"{option}: needs the package {driver}, which is not installed" in result.stderr
        assert "very-secret" not in result.stderr
    as_json = zapvisor("check", "--json", "-c", str(file))
    [problem] = json.loads(as_json.stdout)["problems"]
    assert (as_json.exit_code, problem["section"], problem["option"]) == (2, section, key)
    assert not (tmp_path / "data").exists()


def test_check_as_json_names_the_parts_of_every_mistake(zapvisor: Zapvisor, tmp_path: Path) -> None:
    file = tmp_path / "supervisor.ini"
    file.write_text(BROKEN)
    result = zapvisor("check", "--json", "-c", str(file))
    found = json.loads(result.stdout)
    assert (result.exit_code, found["valid"]) == (2, False)
    assert {("api", "listen", "nowhere", "no port")} <= {
        (problem["section"], problem["option"], problem["value"], problem["reason"])
        for problem in found["problems"]
    }
    assert "very-secret" not in result.stdout
    assert json.loads(zapvisor("check", "--json").stdout) == {"valid": True, "problems": []}


def test_run_refuses_a_broken_configuration(zapvisor: Zapvisor, tmp_path: Path) -> None:
    file = tmp_path / "supervisor.ini"
    file.write_text(BROKEN)
    result = zapvisor("run", "-c", str(file))
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 3


@pytest.fixture
def host_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Settings], int]], None]:
    """Puts a function in the place of the host itself, and keeps the process's logging as it is."""
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(logs, "register_secret", lambda _: None)

    def install(run: Callable[[Settings], int]) -> None:
        module: Any = types.ModuleType("supervisor.host")
        module.run = run
        monkeypatch.setitem(sys.modules, "supervisor.host", module)
        import supervisor

        monkeypatch.setattr(supervisor, "host", module, raising=False)

    return install


@pytest.mark.parametrize("code", [0, 1])
def test_run_gives_the_settings_to_the_host_and_ends_as_it_does(
    zapvisor: Zapvisor, tmp_path: Path, host_module: Callable[[Callable[[Settings], int]], None], code: int
) -> None:
    given: list[Settings] = []

    def run(settings: Settings) -> int:
        given.append(settings)
        return code

    host_module(run)
    file = tmp_path / "supervisor.ini"
    file.write_text("[recovery]\nmax_attempts = 3\n")
    assert zapvisor("run", "-c", str(file)).exit_code == code
    (settings,) = given
    assert (settings.recovery.max_attempts, settings.source) == (3, file)


def test_a_data_directory_that_cannot_be_used_is_wrong_configuration(
    zapvisor: Zapvisor, host_module: Callable[[Callable[[Settings], int]], None]
) -> None:
    def run(settings: Settings) -> int:
        raise DataDirError("/data: others can read it")

    host_module(run)
    result = zapvisor("run")
    assert result.exit_code == 2
    assert "[host] data_dir: /data: others can read it" in result.stderr


def test_a_data_directory_that_cannot_be_used_now_is_tried_again(
    zapvisor: Zapvisor, host_module: Callable[[Callable[[Settings], int]], None]
) -> None:
    """Under systemd an exit code of 2 would leave all instances down until somebody logs in."""

    def run(settings: Settings) -> int:
        raise DataDirUnavailable("/data: Read-only file system")

    host_module(run)
    result = zapvisor("run")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: the host could not start: [host] data_dir: /data: Read-only file system\n",
    )


def test_a_host_that_can_write_nothing_ends_as_one_that_is_tried_again(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full file system; nothing more is there at the next start."""
    data_dir = tmp_path / "data"
    program = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
        "sys.argv = ['zapvisor', 'run']\n"
        "runpy.run_module('supervisor', run_name='__main__')"
    )
    result = python("-c", program, ZAPVISOR_HOST_DATA_DIR=str(data_dir))
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert last == f"Error: the host could not start: [host] data_dir: {data_dir / 'api_key'}: File too large"
    assert list(data_dir.iterdir()) == []


def test_an_address_that_is_taken_is_told_with_its_option(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = python(
            "-m",
            "supervisor",
            "run",
            ZAPVISOR_HOST_DATA_DIR=str(tmp_path / "data"),
            ZAPVISOR_API_LISTEN=address,
        )
    assert result.returncode == 1
    said = f"[api] listen: cannot listen on {address}: Address already in use"
    assert said in result.stderr.splitlines()[-1]


def test_a_file_that_cannot_be_read_now_is_not_called_wrong(
    zapvisor: Zapvisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "supervisor.ini"

    def fail(*_: object) -> object:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        for command in ("run", "check", "status"):
            result = zapvisor(command, "-c", str(file))
            said = f"Error: {file}: cannot be read: Stale file handle\n"
            assert (result.exit_code, result.stderr) == (1, said)
        as_json = zapvisor("check", "--json", "-c", str(file))
        assert (as_json.exit_code, json.loads(as_json.stdout)["valid"]) == (1, False)
    assert zapvisor("check", "-c", str(file)).exit_code == 2, "it is not there"


def test_check_looks_at_no_data_directory(zapvisor: Zapvisor, tmp_path: Path) -> None:
    """So a full disk does not keep an INI from being checked."""
    file = tmp_path / "supervisor.ini"
    file.write_text(f"[host]\ndata_dir = {tmp_path / 'data'}\n")
    result = zapvisor("check", "-c", str(file))
    assert (result.exit_code, result.stdout) == (0, f"{file}: valid\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["supervisor.ini"]


def test_a_part_that_cannot_start_is_named_with_its_reason(
    zapvisor: Zapvisor, host_module: Callable[[Callable[[Settings], int]], None]
) -> None:
    def run(settings: Settings) -> int:
        reason = Crash(OSError("cannot open zapvisor.db: Is a directory"))
        raise InitFailed(
            "root", Shutdown(FailedToStart("instances", Shutdown(FailedToStart("store", reason))))
        )

    host_module(run)
    result = zapvisor("run")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: the host could not start: store: OSError: cannot open zapvisor.db: Is a directory\n"
    )


def test_the_version(zapvisor: Zapvisor) -> None:
    assert zapvisor("--version").stdout == f"zapvisor {__version__}\n"


def test_help_knows_every_command(zapvisor: Zapvisor) -> None:
    text = zapvisor("--help").stdout
    for command in (
        "run",
        "check",
        "status",
        "tree",
        "create",
        "connect",
        "logout",
        "restart",
        "reset",
        "delete",
        "diagnose",
    ):
        assert f"\n  {command} " in text
        assert zapvisor(command, "--help").exit_code == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(zapvisor: Zapvisor, shell: str) -> None:
    assert "_ZAPVISOR_COMPLETE" in zapvisor("completion", shell).stdout


def test_names_of_instances_are_completed(host: FakeHost) -> None:
    for name in ("sales", "support", "billing"):
        host.add(name)
    arguments = {"_ZAPVISOR_COMPLETE": "bash_complete", "COMP_WORDS": "zapvisor logout s", "COMP_CWORD": "2"}
    result = process(**arguments, **host.environ())
    assert result.stdout.split() == ["plain,sales", "plain,support"]
    unreachable = process(**arguments, ZAPVISOR_URL="http://127.0.0.1:1", ZAPVISOR_API_KEY="0123456789")
    assert (unreachable.returncode, unreachable.stdout.strip(), unreachable.stderr) == (0, "", "")


def test_logging_is_left_as_it_was_by_client_commands(zapvisor: Zapvisor) -> None:
    before = list(logging.getLogger().handlers)
    zapvisor("check")
    assert logging.getLogger().handlers == before

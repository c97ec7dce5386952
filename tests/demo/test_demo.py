"""The demo as a user starts it: as a command, with and without a terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import children

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.demo"]
WITHIN = 60.0

STEPS = (
    "a WhatsApp service and a host are started",
    "sales is created, its QR code is scanned, it is open",
    "support is created, its QR code is scanned, it is open",
    "billing is created, its QR code is scanned, it is open",
    "the process of sales's connection is killed, and replaced",
    "the link of support is dropped, and heals",
    "billing is logged out, and connected again",
    "all three are open",
    "the host is stopped",
)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the demo makes its temporary directory; the environment is one that would mislead it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ZAPVISOR_API_LISTEN", "not an address")
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=WITHIN, check=False
    )


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The demo in a terminal of its own: its process, and the other side of the terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, text: str) -> str:
    """What the terminal shows, up to a text or to its end."""
    shown = ""
    while text not in shown:
        try:
            shown += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # nobody writes any more
            raise AssertionError(f"never said {text!r}:\n{shown}") from None
    return shown


def descendants(pid: int) -> list[int]:
    found = children(pid)
    return found + [deeper for child in found for deeper in descendants(child)]


def gone(pid: int) -> bool:
    from actors.connection import ended

    return ended(pid, WITHIN)


def test_once_sees_every_step_and_leaves_nothing_behind(scratch: Path) -> None:
    told = run("--once")
    assert told.returncode == 0, told.stdout + told.stderr
    places = [told.stdout.index(f"▸ {step}\n") for step in STEPS]
    assert places == sorted(places)
    assert told.stdout.count("✓ done in") == len(STEPS)
    assert "the API was at http://127.0.0.1:" in told.stdout
    assert "\x1b" not in told.stdout, "without a terminal there is nothing to colour"
    assert list(scratch.iterdir()) == []


def test_a_step_that_is_not_seen_in_time_is_named(scratch: Path) -> None:
    told = run("--once", "--patience", "0.001")
    assert told.returncode == 1
    assert f"FAILED: {STEPS[0]}" in told.stdout
    assert "Traceback" not in told.stdout + told.stderr
    assert list(scratch.iterdir()) == []


def test_a_patience_that_is_none_is_refused() -> None:
    told = run("--patience", "0")
    assert told.returncode == 2
    assert "--patience: 0 is not above 0" in told.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_up_until_it_is_interrupted(scratch: Path, number: signal.Signals) -> None:
    with started() as (process, terminal):
        shown = read_until(terminal, "Ctrl-C ends the demo")
        for promised in ("API        http://127.0.0.1:", "API key", "zapvisor tree"):
            assert promised in shown
        processes = descendants(process.pid)
        assert len(processes) >= 5, "a host, its forkserver and three ports"
        os.killpg(process.pid, number)  # as the terminal does: to the host as well
        read_until(terminal, "everything is ended and removed")
        assert process.wait(WITHIN) == 0
    assert all(gone(pid) for pid in processes)
    assert list(scratch.iterdir()) == []


def test_an_interrupt_between_two_steps_ends_everything(scratch: Path) -> None:
    with started("--once") as (process, terminal):
        read_until(terminal, STEPS[2])
        processes = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        read_until(terminal, "everything is ended and removed")
        assert process.wait(WITHIN) == 130
    assert all(gone(pid) for pid in processes)
    assert list(scratch.iterdir()) == []

"""The ways to bring the client library into a port, and what happens when the fast one does not fit."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from actors.port import Preload
from actors.port.events import Connected
from tests.actors.port.conftest import Link
from tests.actors.port.harness import WAIT, Harbour, wait_until
from tests.loopback.service import LoopbackService

ROOT = Path(__file__).parents[3]
COLLECTION = re.compile(r"\bgc 1 @.* (\d+) MB goal,.* (\d+) P\b")
"""Go's line about its first collection: at how many MiB (4 at GOGC=100), and with how many processors."""


def run(code: str) -> str:
    """Run code in an interpreter of its own, since the library is loaded once in each."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("preload", [Preload.THIRD_PARTY, Preload.NONE])
def test_a_port_works_with_less_preloaded(wa: LoopbackService, link: Link, preload: Preload) -> None:
    harbour = Harbour(wa.environment(), preload)
    try:
        for _ in range(2):
            database, jid = link()
            assert harbour.spawn(database, jid=jid).wait(Connected).jid == jid
    finally:
        harbour.close()


@pytest.mark.parametrize(
    ("surprise", "why"),
    [
        ("library.PINNED = '0.0.1'", "version 0.5.2 is installed, 0.0.1 is known"),
        ("library._WITHOUT_GO = 'ANOTHER_SWITCH'", "has loaded the Go library in spite of ANOTHER_SWITCH"),
        ("library._LOG_WORKER = 'elsewhere'", "an import starts the thread"),
    ],
)
def test_what_does_not_fit_falls_back_with_a_warning(surprise: str, why: str) -> None:
    told = run(
        f"from actors.port import library; {surprise}; loaded = library.preload(library.Preload.FULL); "
        "print(loaded.level, loaded.warning)"
    )
    assert not told.startswith("full")
    assert why in told


def test_the_warning_reaches_the_hosts_log_and_ports_still_work(
    wa: LoopbackService, link: Link, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A sitecustomize plays another version of the library."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\n"
        "real = metadata.version\n"
        "metadata.version = lambda name: '9.9.9' if name == 'neonize' else real(name)\n"
    )
    environment = wa.environment()
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"  # the service's own runs the next one too
    with caplog.at_level(logging.WARNING, "zapvisor.actor"):
        harbour = Harbour(environment)
        try:
            database, jid = link()
            assert harbour.spawn(database, jid=jid).wait(Connected).jid == jid
        finally:
            harbour.close()
    assert "neonize cannot be preloaded, ports start slower: version 9.9.9 is installed" in caplog.text


def test_the_forkserver_side_holds_one_thread_and_no_go() -> None:
    told = run(
        "import threading; from actors.port import library, linux\n"
        "loaded = library.preload(library.Preload.FULL)\n"
        "maps = open('/proc/self/maps').read()\n"
        "print(loaded.level, loaded.warning, linux.count_threads(), 'neonize-linux' in maps)"
    )
    assert told == "full None 1 False"


def test_the_go_half_runs_with_our_settings(
    wa: LoopbackService, link: Link, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its runtime reads the environment that the forkserver was started with, not one that was changed later."""
    for name in ("GOGC", "GOMAXPROCS"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.INFO)
    harbour = Harbour({**wa.environment(), "GODEBUG": "gctrace=1"})
    try:
        database, jid = link()
        harbour.spawn(database, jid=jid).wait(Connected)
        wait_until(lambda: COLLECTION.search(caplog.text), WAIT, "a line of Go's garbage collector")
    finally:
        harbour.close()
    collected = COLLECTION.search(caplog.text)
    assert collected is not None
    assert collected.groups() == ("2", "1")


def test_the_device_shows_with_the_specs_name() -> None:
    told = run(
        "from actors.port import library\n"
        "library.preload(library.Preload.FULL)\n"
        "from actors.port.child import Client\n"
        "from actors.port.spec import PortSpec\n"
        "spec = PortSpec('sales', '/x', device_name='Loja', platform='EDGE')\n"
        "client = Client(spec, print, print)\n"
        "props = client._library.device_props\n"
        "print(props.os, props.PlatformType.Name(props.platformType))"
    )
    assert told == "Loja EDGE"


def test_the_hosts_half_imports_no_client_library() -> None:
    told = run("import sys, actors.port.ports; print([name for name in sys.modules if 'neonize' in name])")
    assert told == "[]"

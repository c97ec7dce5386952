"""A writer that is killed at any moment loses nothing that it acknowledged, and leaves nothing half done."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from actors.store import Reader, Tx, instances, open_backend

KILLS = 4


def run_and_kill(url: str, data_dir: Path, run: int, after: int) -> list[str]:
    """Let a writer acknowledge so many writes, kill it with SIGKILL, and return what it had acknowledged."""
    errors = data_dir / "errors"
    with errors.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.actors.store.writer_process", url, str(data_dir), str(run)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout
    acknowledged = [line.strip() for line, _ in zip(process.stdout, range(after), strict=False)]
    process.send_signal(signal.SIGKILL)
    acknowledged += process.stdout.read().split()
    assert process.wait(30) == -signal.SIGKILL, errors.read_text()
    return acknowledged


def names(tx: Tx) -> set[str]:
    return {instance.name for instance in instances.all_instances(tx)}


def test_every_acknowledged_write_is_there_after_a_kill(store_url: str, tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for run in range(KILLS):
        acknowledged += run_and_kill(store_url, tmp_path, run, random.randint(1, 150))
    reader = Reader(open_backend(store_url, tmp_path))
    stored = reader.query(names)
    reader.close()
    assert set(acknowledged) <= stored
    twins = {name for name in stored if name.endswith("-twin")}
    assert {name.removesuffix("-twin") for name in twins} == stored - twins, "each unit whole or not at all"

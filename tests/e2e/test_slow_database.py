"""A database that answers slowly holds up what asks it, and nothing else."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.e2e.conftest import StartHost
from tests.e2e.harness import Api

psycopg = pytest.importorskip("psycopg")

CLIENTS = 12


def test_a_locked_table_does_not_keep_anybody_from_the_state(
    start_host: StartHost, postgres_url: str
) -> None:
    host = start_host({"store": {"url": postgres_url}})
    token = host.api.create("sales")["hash"]
    answers: list[Any] = []
    answered = threading.Event()
    apis = [host.api_with(token) for _ in range(CLIENTS)]

    def read(api: Api) -> None:
        answers.append(api.client.get("/instance/history/sales", timeout=60))
        answered.set()

    readers = [threading.Thread(target=read, args=(api,), daemon=True) for api in apis]
    with psycopg.connect(postgres_url) as locking:
        locking.execute("LOCK TABLE history IN ACCESS EXCLUSIVE MODE")
        for reader in readers:
            reader.start()
        until = time.monotonic() + 60
        while not waiting_for(postgres_url):
            assert time.monotonic() < until
        for path in ("/healthz", "/instance/connectionState/sales", "/instance/fetchInstances"):
            began = time.monotonic()
            assert host.api.client.get(path, timeout=60).status_code == 200
            assert time.monotonic() - began < 4
        assert answered.wait(60)
        assert answers[0].status_code == 503
        assert answers[0].headers["Retry-After"]
        assert "The database cannot be read now" in answers[0].text
    for reader in readers:
        reader.join(60)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert len(answers) == CLIENTS


def waiting_for(url: str) -> int:
    """How many queries wait for a lock."""
    with psycopg.connect(url) as watching:
        return watching.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).rowcount

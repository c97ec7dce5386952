"""Sessions in a shared PostgreSQL and a cache in Redis: what ends one instance's touches no other's."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests.e2e.conftest import StartHost, pair
from tests.loopback.service import LoopbackService
from tests.redis_server import redis_server


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as url:
        yield url


def devices(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {str(row[0]) for row in connection.execute("SELECT jid FROM whatsmeow_device").fetchall()}


def test_a_logout_deletes_one_devices_rows_and_one_instances_keys(
    start_host: StartHost,
    wa: LoopbackService,
    postgres_url: str,
    redis_url: str,
    numbers: Callable[[int], list[str]],
) -> None:
    """Invariant 7."""
    host = start_host({"sessions": {"url": postgres_url}, "cache": {"url": redis_url}})
    first, second = numbers(2)
    jids = {}
    for name, number in (("sales", first), ("support", second)):
        host.api.create(name)
        jids[name] = pair(host, wa, name, number)
    assert devices(postgres_url) == set(jids.values())
    cache = redis.Redis.from_url(redis_url)
    ids = {name: host.api.row(name)["id"] for name in jids}
    for instance in ids.values():
        cache.set(f"instance:{instance}:a", "1")
        cache.set(f"auth:{instance}:b", "1")
    host.api.logout("sales")
    host.log.wait_for("credentials wiped", instance="sales")
    assert devices(postgres_url) == {jids["support"]}
    left = {key.decode() for key in cache.scan_iter()}
    assert left == {f"instance:{ids['support']}:a", f"auth:{ids['support']}:b"}
    assert host.api.state("support") == "open"
    jids["sales"] = pair(host, wa, "sales", first)
    host.kill()
    host.start()
    for name in jids:
        host.phase(name, "open")
    assert devices(postgres_url) == set(jids.values())
    host.api.delete("support")
    assert devices(postgres_url) == {jids["sales"]}


def test_a_port_killed_right_after_the_pairing_is_replaced_by_one_of_the_same_device(
    start_host: StartHost, wa: LoopbackService, postgres_url: str, number: str
) -> None:
    """Its supervisor restarts it at once, by what it was told before there was a device."""
    host = start_host({"sessions": {"url": postgres_url}})
    host.api.create("sales")
    jid = pair(host, wa, "sales", number)
    mark = host.log.mark()
    os.kill(host.port_pid("sales"), signal.SIGKILL)
    host.phase("sales", "recovering", after=mark)
    host.phase("sales", "open", after=mark)
    assert not host.log.records_after(mark, event="phase", phase="awaiting_scan")
    assert jid in devices(postgres_url)


def test_what_a_dead_host_had_begun_to_delete_is_deleted_at_the_next_start(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    host = start_host()
    host.api.create("sales")
    jid = pair(host, wa, "sales", number)
    instance = host.api.row("sales")["id"]
    host.kill()
    host.execute(
        "INSERT INTO cleanup (instance_id, what, created_at) VALUES (?, ?, 0)",
        instance,
        json.dumps({"delete": "sales", "credentials": jid}),
    )
    host.start()
    host.log.wait_for("a clean-up is finished", instance_id=instance)
    assert host.api.rows() == []
    assert list((host.data_dir / "sessions").glob(f"{instance}*")) == []
    assert host.rows("cleanup") == host.rows("instance") == 0


def test_a_clean_up_of_a_former_session_spares_the_one_that_was_linked_since(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    """Invariant 6: what could not be struck out, or not be cleared from a cache, is no order for ever."""
    host = start_host()
    host.api.create("sales")
    pair(host, wa, "sales", number)
    host.kill()
    host.execute(
        "INSERT INTO cleanup (instance_id, what, created_at) SELECT id, ?, 0 FROM instance",
        '{"credentials": "5511999990001:1@s.whatsapp.net"}',
    )
    host.start()
    host.phase("sales", "open")
    assert host.rows("cleanup") == 0


def test_a_locked_session_store_keeps_nobody_but_who_needs_it(
    start_host: StartHost, wa: LoopbackService, postgres_url: str, number: str
) -> None:
    """Invariants 7, 10 and 15: what is deleted is gone, its credentials when the store lets them go."""
    host = start_host({"sessions": {"url": postgres_url}})
    host.api.create("sales")
    jid = pair(host, wa, "sales", number)
    host.kill()
    host.execute(
        "INSERT INTO cleanup (instance_id, what, created_at) SELECT id, ?, 0 FROM instance",
        json.dumps({"delete": "sales", "credentials": jid}),
    )
    with psycopg.connect(postgres_url) as locking:
        locking.execute("LOCK TABLE whatsmeow_device IN ACCESS EXCLUSIVE MODE")
        host.start()
        host.log.wait_for("boot", instances=0)
        began = time.monotonic()
        host.api.create("support")
        host.api.delete("support")
        assert time.monotonic() - began < 4
        assert host.api.rows() == []
        assert host.rows("cleanup") == 1
        host.log.wait_for("a clean-up is put off")
    host.log.wait_for("a clean-up is finished")
    assert devices(postgres_url) == set()
    assert host.rows("cleanup") == 0

"""What a process is spared of its libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

from supervisor.lean import absent

PROBE = """
import sys
from supervisor.cli.host import import_host
from supervisor.config import load

import_host(load(None, {environment!r}))
heavy = ("rich", "pygments", "psycopg", "cryptography")
print(*(name for name in heavy if name in sys.modules))
import psycopg, rich, httpx, peewee
print(peewee.psycopg is psycopg)
"""


def told(**environment: str) -> list[str]:
    """What a host of those settings has loaded of what is heavy, and whether its database can be PostgreSQL."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(environment=environment)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.splitlines()


def test_a_host_with_sqlite_loads_no_driver_and_nothing_that_only_terminals_need() -> None:
    assert told() == ["", "False"]


def test_a_host_with_postgresql_has_its_driver() -> None:
    assert told(ZAPVISOR_STORE_URL="postgresql://user@host/database") == ["psycopg", "True"]


def test_what_was_absent_can_be_imported_afterwards() -> None:
    name = "this"
    assert name not in sys.modules
    with absent(name), pytest.raises(ImportError):
        __import__(name)
    assert name not in sys.modules


def test_what_is_loaded_already_stays() -> None:
    with absent("json"):
        import json

        assert json is sys.modules["json"]
    assert sys.modules["json"] is json

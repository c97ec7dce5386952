"""A real PostgreSQL for tests: the one that ZAPVISOR_TEST_POSTGRES names, or a cluster of the tests' own.

Without either the tests that need one are skipped with the reason, or fail with it when
ZAPVISOR_REQUIRE_POSTGRES=1.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]

START_SECONDS = 60


class NoPostgres(Exception):
    """There is no PostgreSQL to test with; the text says why."""


@dataclass
class Cluster:
    """A PostgreSQL server in which databases can be made.

    Attributes:
        url: of its maintenance database.
    """

    url: str

    def create_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"zapvisor_test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"/{name}"))

    def drop_database(self, url: str) -> None:
        """Remove a database with everybody who is connected to it."""
        name = urlsplit(url).path.strip("/")
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """The server to test with.

    Raises:
        NoPostgres: there is none.
    """
    if psycopg is None:
        raise NoPostgres("psycopg is not installed (pip install 'zapvisor[postgres]')")
    if url := os.environ.get("ZAPVISOR_TEST_POSTGRES"):
        yield Cluster(url)
        return
    with _own_cluster() as url:
        yield Cluster(url)


def skip_or_fail(reason: NoPostgres) -> None:
    """Skip the test, or fail it when PostgreSQL is required."""
    if os.environ.get("ZAPVISOR_REQUIRE_POSTGRES") == "1":
        pytest.fail(f"PostgreSQL is required: {reason}")
    pytest.skip(f"no PostgreSQL: {reason}")


@contextlib.contextmanager
def _own_cluster() -> Iterator[str]:
    programs = _programs()
    user = _unprivileged_user()
    place = Path(tempfile.mkdtemp(prefix="zapvisor-pg-"))
    if user:
        os.chown(place, user.pw_uid, user.pw_gid)
    data = place / "data"
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}

    def run(program: str, *arguments: str) -> None:
        with (place / "log").open("ab") as log:
            done = subprocess.run(
                [programs / program, *arguments],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=place,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
                timeout=START_SECONDS + 10,
                check=False,
            )
        if done.returncode:
            tail = (place / "log").read_text(errors="replace")[-500:]
            raise NoPostgres(f"{program} failed ({done.returncode}): {tail}")

    try:
        run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses='' -k {place} -c fsync=off -c max_connections=100"
        run("pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-D", str(data), "-o", options)
        try:
            yield f"postgresql://postgres@/postgres?host={place}"
        finally:
            run("pg_ctl", "stop", "-m", "immediate", "-D", str(data))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).parent)
    if not found:
        raise NoPostgres(
            "no initdb on PATH or under /usr/lib/postgresql, and ZAPVISOR_TEST_POSTGRES is not set"
        )
    return found[-1]


def _unprivileged_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: then as another user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoPostgres("running as root, and there is no user postgres or nobody to run it as")

"""Options of the whole suite, where it writes, and a PostgreSQL for all who need one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.postgres import Cluster, NoPostgres, cluster, skip_or_fail

MEMORY = "/dev/shm"
ROOM = 4 << 30
"""Bytes that have to be free there."""


def _write_to_memory() -> None:
    """Put temporary files where nothing waits for a disk, if this machine has such a place and no other was named.

    A pairing alone waits for the disk some dozen times, which takes seconds beside others that do the same.
    """
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK):
        return
    if os.statvfs(MEMORY).f_flag & os.ST_NOEXEC or shutil.disk_usage(MEMORY).free < ROOM:
        return
    os.environ["TMPDIR"], tempfile.tempdir = MEMORY, None


_write_to_memory()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="fail if any test was skipped: for machines that have everything",
    )


@pytest.fixture(autouse=True)
def environment_is_left_as_it_was() -> Iterator[None]:
    """What one test changes, the next ones of its worker would run with."""
    before = _environment()
    yield
    assert _environment() == before


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and session.config.getoption("--no-skips"):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and reporter.stats.get("skipped"):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            reporter.write_line("--no-skips: tests were skipped", red=True)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(cluster())
        except NoPostgres as reason:
            skip_or_fail(reason)
        yield found


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> Iterator[str]:
    """A new, empty PostgreSQL database."""
    url = postgres_cluster.create_database()
    try:
        yield url
    finally:
        postgres_cluster.drop_database(url)

"""A real Redis of the tests' own.

Without the `redis-server` program the tests that need one are skipped with that reason, or fail with it when
ZAPVISOR_REQUIRE_REDIS=1.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

START_SECONDS = 20.0


@contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """A server on a free port of this machine; its URL."""
    program = shutil.which("redis-server")
    if program is None:
        reason = "there is no redis-server on this machine"
        if os.environ.get("ZAPVISOR_REQUIRE_REDIS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(
        [program, *arguments, "--dir", str(directory)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if b"Ready to accept connections" in line:
                break
        else:
            pytest.fail("redis-server ended before it was ready")
        url = f"redis://127.0.0.1:{port}/0"
        redis.Redis.from_url(url).ping()
        yield url
    finally:
        process.terminate()
        process.wait(START_SECONDS)

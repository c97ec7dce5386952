"""A service in another process: reached through its control port, or started with ``python -m
tests.loopback``.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from .api import TIMEOUT, LoopbackApi
from .control import ERRORS

ROOT = Path(__file__).parents[2]
START_WITHIN = 20.0
GRACE = 10.0

_KINDS: dict[str, type[Exception]] = {kind.__name__: kind for kind, _ in ERRORS}


class LoopbackClient(LoopbackApi):
    """Scripts the service whose control port answers at ``control_url``."""

    def __init__(self, control_url: str) -> None:
        parts = urlsplit(control_url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"control_url={control_url!r} is not http://HOST:PORT")
        self._address = (parts.hostname, parts.port)

    def call(self, name: str, /, **arguments: Any) -> Any:
        limit = 2 * float(arguments.get("timeout", TIMEOUT)) + GRACE
        connection = http.client.HTTPConnection(*self._address, timeout=limit)
        try:
            connection.request("POST", f"/{name}", json.dumps(arguments))
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status == 200:
            return answer["result"]
        kind = _KINDS.get(answer["error"], ValueError if response.status == 400 else RuntimeError)
        raise kind(answer["message"])


class LoopbackProcess(LoopbackClient):
    """A service in a process of its own; a context manager that starts and ends it.

    ``arguments`` are those of ``python -m tests.loopback``. ``facts`` is what it printed: ``proxy_url``,
    ``ca_file``, ``root_key``, ``control_url``, ``pid`` and ``environment``.
    """

    def __init__(self, workdir: Path | str, *arguments: str) -> None:
        self._command: Sequence[str] = (
            sys.executable,
            "-m",
            "tests.loopback",
            "--workdir",
            str(workdir),
            *arguments,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.facts: Mapping[str, Any] = {}

    def __enter__(self) -> Self:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
        environment = {**os.environ, "PYTHONPATH": path}
        self._process = subprocess.Popen(
            self._command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            self.facts = json.loads(self._first_line())
        except BaseException:
            self.kill()
            raise
        super().__init__(self.facts["control_url"])
        return self

    def _first_line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, line = self._process.stdout.fileno(), b""
        deadline = time.monotonic() + START_WITHIN
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(descriptor, 65536) if ready else b""
            if not chunk:
                raise RuntimeError(
                    f"the loopback service did not start within {START_WITHIN} s: {self._command}"
                )
            line += chunk
        return line

    def environment(self) -> dict[str, str]:
        """The variables to add to a client's environment."""
        return dict(self.facts["environment"])

    @property
    def proxy_url(self) -> str:
        return str(self.facts["proxy_url"])

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the process with a signal and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(GRACE)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def __exit__(self, *_exc: object) -> None:
        self.kill(signal.SIGTERM)

"""What the demo plays on: a WhatsApp service of its own, a real host process, and phones."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.e2e.conftest import picture
from tests.e2e.harness import Api, HostProcess
from tests.loopback.api import Phone, Scan
from tests.loopback.service import LoopbackService

FIRST_NUMBER = 5511988000001

POLICIES = {
    "port": {"heartbeat": "10s", "command_timeout": "10s", "start_timeout": "30s"},
    # A busy machine may take a while to heal a link, and it is to be seen healing.
    "disconnect.428": {"delay": "10s"},
}
"""The defaults, instead of the tests' short times; but for one that is longer."""


class Stage:
    """Everything that has to be ended again; a context manager that does so.

    Nothing of the environment it is started in changes what it does: no proxy is asked on the way to this
    machine, and no variable configures the host.

    Attributes:
        key: the API key, made for this run.
    """

    def __init__(self) -> None:
        self.key = secrets.token_urlsafe(18)
        self._undo = ExitStack()
        self._numbers: dict[str, str] = {}

    def __enter__(self) -> Self:
        for name in [name for name in os.environ if name.startswith("ZAPVISOR_")]:
            del os.environ[name]
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
        scratch = self._undo.enter_context(tempfile.TemporaryDirectory(prefix="zapvisor-demo-"))
        self.directory = Path(scratch)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._undo.close()

    def open_service(self) -> None:
        """Start the WhatsApp service in this process."""
        self.wa = self._undo.enter_context(LoopbackService(self.directory / "whatsapp"))

    def open_host(self, patience: float) -> None:
        """Start the host and wait until its API answers."""
        settings = {"api": {"api_key": self.key}, **POLICIES}
        self.host = HostProcess(self.directory / "host", self.wa.environment(), settings)
        self._undo.callback(self.host.stop)
        self.host.start(patience)
        self.api: Api = self.host.api_with(self.key)

    def close_host(self) -> int:
        """Stop the host in order; its exit code."""
        return self.host.stop()

    def phone(self, name: str) -> Phone:
        """The handset whose number the instance is to be linked to."""
        number = self._numbers.setdefault(name, str(FIRST_NUMBER + len(self._numbers)))
        return self.wa.phone(number)

    def scan(self, name: str) -> Scan:
        """Hold the phone over the QR picture that the API serves."""
        return self.phone(name).scan(picture(self.api, name))

"""Commands run in this process, against a small server that answers as the host does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

from supervisor.cli import cli
from tests.supervisor.cli.fakehost import FakeHost, serve


class Zapvisor(Protocol):
    def __call__(self, *arguments: str, stdin: str | None = None) -> Result: ...


@pytest.fixture
def host() -> Iterator[FakeHost]:
    with serve() as fake:
        yield fake


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ZAPVISOR_") or name.lower() in ("http_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def zapvisor(clean_environment: None) -> Zapvisor:
    """The command line with an environment that names no host."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, catch_exceptions=False)

    return run


@pytest.fixture
def client(host: FakeHost, zapvisor: Zapvisor, monkeypatch: pytest.MonkeyPatch) -> Zapvisor:
    """The command line with the fake host's address and key in its environment."""
    for name, value in host.environ().items():
        monkeypatch.setenv(name, value)
    return zapvisor

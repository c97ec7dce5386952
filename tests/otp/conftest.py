"""Fixtures of the supervision library's tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from supervisor.otp import System
from tests.otp.helpers import Stubborn, World, wait_until


@pytest.fixture
def world() -> Iterator[World]:
    """A system on a manual clock; no thread may be left after it."""
    logging.getLogger("zapvisor.otp").setLevel(logging.CRITICAL)
    world = World()
    yield world
    Stubborn.let_go.reply()
    world.system.shutdown()
    wait_until(lambda: world.system.threads() == 0)


@pytest.fixture
def system() -> Iterator[System]:
    """A system on the machine's clock."""
    logging.getLogger("zapvisor.otp").setLevel(logging.CRITICAL)
    system = System()
    yield system
    system.shutdown()

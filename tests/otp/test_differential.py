"""The same scenarios on Erlang/OTP's supervisor and on ours give the same traces."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.otp.differential import recorded
from tests.otp.differential.compare import check, compare, for_scenarios, our_trace
from tests.otp.differential.oracle import Oracle, why_missing

REQUIRED = os.environ.get("ZAPVISOR_REQUIRE_ERLANG") == "1"
"""Set in the CI: then there has to be an Erlang, and more is tried."""

COUNT = int(os.environ.get("ZAPVISOR_OTP_SCENARIOS", "2000" if REQUIRED else "200"))
"""How many new scenarios are made."""


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """OTP's own supervisor."""
    missing = why_missing()
    if missing is not None:
        if REQUIRED:
            pytest.fail(f"{missing}, and ZAPVISOR_REQUIRE_ERLANG=1 requires it")
        pytest.skip(missing)
    oracle = Oracle(tmp_path_factory.mktemp("oracle"))
    yield oracle
    oracle.close()


def test_what_erlang_was_recorded_to_do() -> None:
    records = recorded.read()
    assert len(records) >= 400
    for scenario, trace in records:
        compare(scenario, our_trace(*scenario), trace)


@pytest.mark.timeout(600)
def test_what_erlang_does(oracle: Oracle) -> None:
    seed = int(os.environ.get("ZAPVISOR_OTP_SEED") or secrets.randbelow(2**32))
    print(f"ZAPVISOR_OTP_SEED={seed}")
    for_scenarios(COUNT, seed, lambda scenario: check(oracle, scenario))


def test_a_missing_erlang_is_told_exactly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_missing() == "Erlang is not installed: no erl and no erlc on PATH"

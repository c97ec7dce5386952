"""What follows a disconnection: each cell of the table of codes, each rung, the waits and the limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import recovery
from actors.disconnect import NAMES, Disconnection
from actors.recovery import Permanent, Reconnect, Step, backoff, decide, rung
from supervisor.config import InstanceSettings, RecoverySettings

NETWORK = (428, 408, 440, 515, 503)
LADDER = ("reconnect", "clear-cache", "reset-session", "restart-instance")

RECONNECT: dict[int, float] = {428: 2.0, 408: 5.0, 440: 3.0, 515: 1.0, 503: 10.0}
"""Code to base delay."""
LOGOUT: dict[int, bool] = {401: True, 403: True, 500: True, 402: False, 405: False, 406: False, 411: False}
"""Code to whether the credentials go."""
UNLISTED = (0, 400, 404, 409, 418, 429, 501, 502, 504, 599, 999)
UNLISTED_DELAY = 5.0


def policy(**changes: Any) -> RecoverySettings:
    return RecoverySettings(**{"jitter": 0.0, **changes})


def verdict(code: int, attempts: int = 0, cause: str = "", **options: Any) -> recovery.Verdict:
    """What the shipped configuration, without jitter, decides."""
    rule = InstanceSettings().disconnect_rule(code)
    settings = policy(**options.pop("policy", {}))
    return decide(Disconnection(code, cause), rule, settings, attempts, **options)


class TestTable:
    """Each row of the table of codes, as it is shipped."""

    @pytest.mark.parametrize(("code", "delay"), RECONNECT.items())
    def test_codes_that_reconnect_and_their_base_delay(self, code: int, delay: float) -> None:
        assert verdict(code) == Reconnect(1, delay, Step.RECONNECT)

    @pytest.mark.parametrize("code", UNLISTED)
    def test_any_other_code_reconnects_after_five_seconds(self, code: int) -> None:
        assert verdict(code) == Reconnect(1, UNLISTED_DELAY, Step.RECONNECT)

    @pytest.mark.parametrize(("code", "deletes"), LOGOUT.items())
    def test_codes_that_close_the_instance_and_what_becomes_of_the_credentials(
        self, code: int, deletes: bool
    ) -> None:
        """Invariant 7: 401, 403 and 500 delete them, and no other."""
        assert verdict(code) == Permanent(deletes, False, f"{code} {NAMES[code]}")

    @pytest.mark.parametrize("code", [*RECONNECT, *UNLISTED])
    def test_a_code_that_reconnects_may_never_delete_the_credentials(self, code: int) -> None:
        """Invariant 6."""
        assert not InstanceSettings().disconnect_rule(code).cleanup

    def test_every_named_code_has_a_row(self) -> None:
        assert set(InstanceSettings().disconnect) == set(NAMES) == set(RECONNECT) | set(LOGOUT)

    @given(code=st.integers(0, 999), attempts=st.integers(0, 2000), same=st.integers(1, 99))
    def test_only_three_codes_ever_delete_credentials(self, code: int, attempts: int, same: int) -> None:
        """Invariants 6 and 7, for any history."""
        found = verdict(code, attempts, same_code=same, replaced=same)
        deletes = isinstance(found, Permanent) and found.clean
        assert deletes == (code in (401, 403, 500))
        assert not (isinstance(found, Reconnect) and found.step is Step.RESET_SESSION)

    @pytest.mark.parametrize("code", LOGOUT)
    def test_a_code_that_closes_does_so_whatever_the_budget(self, code: int) -> None:
        found = verdict(code, attempts=999, same_code=999, policy={"max_attempts": 0})
        assert isinstance(found, Permanent)
        assert not found.exhausted


class TestConfiguredRows:
    def test_an_action_of_the_configuration_replaces_the_shipped_one(self) -> None:
        settings = InstanceSettings()
        rule = settings.disconnect_rule(428).model_copy(update={"action": "logout", "cleanup": True})
        assert decide(Disconnection(428, "closed"), rule, policy(), 0) == Permanent(
            True, False, "428 connectionClosed"
        )

    def test_a_delay_of_the_configuration_replaces_the_shipped_one(self) -> None:
        rule = (
            InstanceSettings().disconnect_rule(401).model_copy(update={"action": "reconnect", "delay": 7.0})
        )
        assert decide(Disconnection(401, "logout"), rule, policy(), 0) == Reconnect(1, 7.0, Step.RECONNECT)


class TestLadder:
    @pytest.mark.parametrize(
        ("attempt", "step"),
        [
            (1, Step.RECONNECT),
            (2, Step.CLEAR_CACHE),
            (3, Step.RESET_SESSION),
            (4, Step.RESTART_INSTANCE),
            (5, Step.RESTART_INSTANCE),
            (999, Step.RESTART_INSTANCE),
        ],
    )
    def test_each_attempt_has_its_rung_and_the_last_serves_all_further_ones(
        self, attempt: int, step: Step
    ) -> None:
        assert rung(LADDER, attempt, may_reset=True) == (step, None)

    def test_the_shipped_ladder_is_this_one(self) -> None:
        assert RecoverySettings().ladder == LADDER

    def test_a_code_that_may_not_delete_credentials_skips_the_reset_and_says_so(self) -> None:
        """Invariant 6."""
        assert rung(LADDER, 3, may_reset=False) == (Step.RECONNECT, Step.RESET_SESSION)
        found = verdict(428, attempts=2)
        assert isinstance(found, Reconnect)
        assert (found.step, found.skipped) == (Step.RECONNECT, Step.RESET_SESSION)

    def test_a_code_whose_row_says_so_may_have_its_session_reset(self) -> None:
        rule = InstanceSettings().disconnect_rule(428).model_copy(update={"cleanup": True})
        found = decide(Disconnection(428, "closed"), rule, policy(), 2)
        assert isinstance(found, Reconnect)
        assert (found.step, found.skipped) == (Step.RESET_SESSION, None)

    @pytest.mark.parametrize("attempt", [1, 5])
    def test_an_empty_ladder_reconnects(self, attempt: int) -> None:
        assert rung((), attempt, may_reset=True) == (Step.RECONNECT, None)

    @given(
        ladder=st.lists(st.sampled_from(LADDER), min_size=1, max_size=9),
        attempt=st.integers(1, 50),
        may_reset=st.booleans(),
    )
    def test_any_ladder(self, ladder: list[str], attempt: int, may_reset: bool) -> None:
        step, skipped = rung(ladder, attempt, may_reset=may_reset)
        configured = Step(ladder[min(attempt, len(ladder)) - 1])
        if configured is Step.RESET_SESSION and not may_reset:
            assert (step, skipped) == (Step.RECONNECT, Step.RESET_SESSION)
        else:
            assert (step, skipped) == (configured, None)


class TestBackoff:
    @pytest.mark.parametrize(
        ("base", "waits"),
        [
            (2.0, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]),
            (10.0, [10, 20, 40, 80, 160, 300, 300]),
            (0.0, [0, 0, 0]),
            (400.0, [300, 300]),
        ],
    )
    def test_the_waits_double_up_to_the_cap(self, base: float, waits: list[float]) -> None:
        assert [backoff(base, policy(), n + 1) for n in range(len(waits))] == waits

    def test_the_shipped_figures(self) -> None:
        shipped = RecoverySettings()
        assert (shipped.multiplier, shipped.max_delay, shipped.jitter) == (2.0, 300.0, 0.2)
        assert (shipped.max_attempts, shipped.stable_after) == (5, 60.0)
        assert (shipped.same_code_limit, shipped.history_window) == (5, 86400.0)
        assert (shipped.inactivity_timeout, shipped.inactivity_check) == (300.0, 60.0)

    @given(
        base=st.floats(0, 3600),
        multiplier=st.floats(1, 10),
        cap=st.floats(0, 86400),
        jitter=st.floats(0, 1),
        attempt=st.integers(1, 2000),
    )
    def test_a_wait_is_within_the_jitter_of_the_capped_power(
        self, base: float, multiplier: float, cap: float, jitter: float, attempt: int
    ) -> None:
        settings = policy(multiplier=multiplier, max_delay=cap, jitter=jitter)
        try:
            exact = min(cap, base * multiplier ** (attempt - 1))
        except OverflowError:
            exact = cap
        wait = backoff(base, settings, attempt)
        assert exact * (1 - jitter) * (1 - 1e-9) <= wait <= exact * (1 + jitter) * (1 + 1e-9)

    def test_the_jitter_lengthens_and_shortens(self) -> None:
        waits = [backoff(100.0, policy(jitter=0.2), 1) for _ in range(300)]
        assert 80 <= min(waits) < 85
        assert 115 < max(waits) <= 120

    @given(jitter=st.floats(0.05, 1))
    def test_the_jitter_spreads(self, jitter: float) -> None:
        settings = policy(jitter=jitter)
        assert len({backoff(300.0, settings, 20) for _ in range(20)}) > 1, "all hosts back in one second"

    @given(
        base=st.floats(0.01, 3600), multiplier=st.floats(1, 10), cap=st.floats(0, 86400), n=st.integers(1, 99)
    )
    def test_without_jitter_a_later_attempt_never_waits_less(
        self, base: float, multiplier: float, cap: float, n: int
    ) -> None:
        settings = policy(multiplier=multiplier, max_delay=cap)
        assert backoff(base, settings, n) <= backoff(base, settings, n + 1)


class TestLimits:
    @pytest.mark.parametrize("allowed", [1, 5, 7])
    def test_the_attempts_end(self, allowed: int) -> None:
        options = {"max_attempts": allowed, "same_code_limit": 1000}
        last = verdict(428, attempts=allowed - 1, policy=options)
        assert isinstance(last, Reconnect)
        assert last.attempt == allowed
        assert verdict(428, attempts=allowed, policy=options) == Permanent(
            False, True, f"{allowed} attempts failed, last with 428"
        )

    def test_no_attempts_means_none(self) -> None:
        """`max_attempts = 0` is the first disconnection's end, not an endless retry."""
        assert verdict(503, policy={"max_attempts": 0}) == Permanent(
            False, True, "0 attempts failed, last with 503"
        )

    def test_the_same_code_five_times_ends_the_attempts(self) -> None:
        assert isinstance(verdict(408, same_code=4), Reconnect)
        assert verdict(408, same_code=5) == Permanent(False, True, "5 times 408 without a stable connection")

    def test_replaced_five_times_in_thirty_seconds_ends_them_too(self) -> None:
        assert (recovery.REPLACED_LIMIT, recovery.REPLACED_WINDOW) == (5, 30.0)
        assert isinstance(verdict(440, replaced=4), Reconnect)
        found = verdict(440, replaced=5)
        assert isinstance(found, Permanent)
        assert (found.clean, found.exhausted) == (False, True)
        assert "another host uses it" in found.why

    @pytest.mark.parametrize("code", [428, 408, 515, 503, 400])
    def test_replacements_of_the_past_say_nothing_of_another_code(self, code: int) -> None:
        assert isinstance(verdict(code, replaced=5), Reconnect)

    @given(code=st.integers(0, 999), attempts=st.integers(0, 1100), limit=st.integers(0, 1000))
    def test_there_is_no_attempt_beyond_the_limit(self, code: int, attempts: int, limit: int) -> None:
        found = verdict(code, attempts, policy={"max_attempts": limit, "same_code_limit": 1000})
        if isinstance(found, Reconnect):
            assert found.attempt == attempts + 1 <= limit

    @given(code=st.sampled_from([*NAMES, 400, 409, 501]), attempts=st.integers(0, 9), same=st.integers(1, 9))
    def test_history_and_logs_have_a_word_for_each(self, code: int, attempts: int, same: int) -> None:
        found = verdict(code, attempts, same_code=same)
        if isinstance(found, Reconnect):
            assert found.action == "reconnect"
        else:
            assert found.action == ("abort" if found.exhausted else "logout")

"""What is done about a disconnection: a pure decision over the code's rule and the recovery policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random

from actors.disconnect import REPLACED, Disconnection


class Step(StrEnum):
    """The rungs of the ladder: what runs before the connection is tried again."""

    RECONNECT = "reconnect"
    CLEAR_CACHE = "clear-cache"
    RESET_SESSION = "reset-session"
    RESTART_INSTANCE = "restart-instance"


class Rule(Protocol):
    """What the configuration says about one code."""

    @property
    def action(self) -> str: ...
    @property
    def delay(self) -> float: ...
    @property
    def cleanup(self) -> bool: ...


class Policy(Protocol):
    """The part of `[recovery]` that this decision needs; durations in seconds."""

    @property
    def max_attempts(self) -> int: ...
    @property
    def multiplier(self) -> float: ...
    @property
    def max_delay(self) -> float: ...
    @property
    def jitter(self) -> float: ...
    @property
    def ladder(self) -> Sequence[str]: ...
    @property
    def same_code_limit(self) -> int: ...
    @property
    def history_window(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Try again.

    Attributes:
        attempt: its number since the connection was last stable, from 1.
        after: seconds to wait first.
        step: the rung that runs before it.
        skipped: a rung that this code may not use, in whose place `step` runs.
    """

    attempt: int
    after: float
    step: Step
    skipped: Step | None = None

    @property
    def action(self) -> str:
        """How history and logs call it."""
        return "reconnect"


@dataclass(frozen=True, slots=True)
class Permanent:
    """Give up.

    Attributes:
        clean: the credentials are worthless or unwanted and go.
        exhausted: it is the budget that ended it, not the code; trying again later may help.
        why: one sentence for people.
    """

    clean: bool
    exhausted: bool
    why: str

    @property
    def action(self) -> str:
        """How history and logs call it."""
        return "abort" if self.exhausted else "logout"


Verdict = Reconnect | Permanent

REPLACED_LIMIT = 5
REPLACED_WINDOW = 30.0
"""Five `replaced` in 30 s: another host owns the session, and fighting it would cost both."""


def decide(
    disconnection: Disconnection,
    rule: Rule,
    policy: Policy,
    attempts: int,
    *,
    same_code: int = 1,
    replaced: int = 0,
) -> Verdict:
    """Decide what follows a disconnection.

    Args:
        disconnection: why the connection ended.
        rule: the configured row of its code.
        policy: the instance's recovery settings.
        attempts: how many attempts were made since the connection was last stable.
        same_code: disconnections with this code within the history window and since the connection was last
            stable, this one included.
        replaced: how many times the session was replaced within `REPLACED_WINDOW`, this one included.
    """
    if rule.action == "logout":
        return Permanent(rule.cleanup, False, f"{disconnection.code} {disconnection.name}")
    if disconnection.code == REPLACED and replaced >= REPLACED_LIMIT:
        return Permanent(
            False, True, f"replaced {replaced} times in {REPLACED_WINDOW:g} s: another host uses it"
        )
    if same_code >= policy.same_code_limit:
        return Permanent(False, True, f"{same_code} times {disconnection.code} without a stable connection")
    attempt = attempts + 1
    if attempt > policy.max_attempts:
        return Permanent(False, True, f"{attempts} attempts failed, last with {disconnection.code}")
    step, skipped = rung(policy.ladder, attempt, may_reset=rule.cleanup)
    return Reconnect(attempt, backoff(rule.delay, policy, attempt), step, skipped)


def rung(ladder: Sequence[str], attempt: int, *, may_reset: bool) -> tuple[Step, Step | None]:
    """The step of an attempt, and the one it replaces: a network failure never costs a session."""
    step = Step(ladder[min(attempt, len(ladder)) - 1]) if ladder else Step.RECONNECT
    if step is Step.RESET_SESSION and not may_reset:
        return Step.RECONNECT, step
    return step, None


def backoff(base: float, policy: Policy, attempt: int) -> float:
    """Seconds before an attempt: `base * multiplier^(attempt-1)`, at most `max_delay`, spread by the jitter.

    The spread comes after the cap: were it cut off, all instances of a host would come back in the same second.
    """
    wait = wait_exponential(multiplier=base, exp_base=policy.multiplier, max=policy.max_delay)
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = attempt
    return wait(state) * wait_random(1 - policy.jitter, 1 + policy.jitter)(state)

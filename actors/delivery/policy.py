"""How long to wait before another attempt."""

from __future__ import annotations

import random
from typing import Any

import tenacity

from supervisor.config import WebhookSettings


class JitteredExponential(tenacity.wait.wait_base):
    """`initial * 2^(n-1)` seconds before attempt n+1, at most `maximum`, a share of it more or less by chance.

    The shape is that of Evolution API's webhook retries: never less than `initial`, which it jitters only
    upwards.

    Args:
        jitter: the share, 0 to 1.
    """

    def __init__(self, initial: float, maximum: float, jitter: float) -> None:
        self._base = tenacity.wait_exponential(multiplier=initial, max=maximum)
        self._initial, self._jitter = initial, jitter

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        delay = self._base(retry_state)
        return max(self._initial, delay * (1 + self._jitter * random.uniform(-1, 1)))  # noqa: S311


def retry_delay(settings: WebhookSettings, attempt: int) -> float:
    """Seconds to wait after attempt `attempt` (from 1) has failed."""
    nothing: Any = None
    state = tenacity.RetryCallState(retry_object=nothing, fn=None, args=(), kwargs={})
    state.attempt_number = attempt
    return JitteredExponential(settings.initial_delay, settings.max_delay, settings.jitter)(state)


def longest_delay(settings: WebhookSettings, attempts: int) -> float:
    """The longest that `retry_delay` says after up to so many attempts."""
    steady = settings.model_copy(update={"jitter": 0.0})
    return retry_delay(steady, max(attempts, 1)) * (1 + settings.jitter)

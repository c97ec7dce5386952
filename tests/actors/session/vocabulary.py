"""What can happen to an instance, for random search, and how long to search."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import Phase as HypothesisPhase
from hypothesis import strategies as st

from actors.disconnect import Disconnection
from actors.messages import (
    Configure,
    Connect,
    ForceReconnection,
    Logout,
    Reset,
    Restart,
    SetPresence,
)
from supervisor.config import QrcodeSettings, RecoverySettings, Settings
from supervisor.config.codes import DEFAULT_RULES
from supervisor.config.frozen import FrozenDict
from supervisor.config.models import STEPS as STEPS_OF_RECOVERY

NETWORK = (
    Disconnection(428, "closed", heals=True),
    Disconnection(408, "slow"),
    Disconnection(408, "keepalive", heals=True),
    Disconnection(503, "refused"),
    Disconnection(440, "replaced"),
    Disconnection(515, "pairing"),
    Disconnection(400, "refused"),
)
CLOSING = (
    Disconnection(401, "logout"),
    Disconnection(403, "logout"),
    Disconnection(500, "store"),
    Disconnection(405, "outdated"),
    Disconnection(406, "logout"),
    Disconnection(411, "pairing"),
)
BAN_SECONDS = 2000
BAN = Disconnection(402, "ban", {"ban": 101, "expireSeconds": BAN_SECONDS})
BATCH_OVER = Disconnection(408, "qr")
ENDS = st.one_of(st.sampled_from(NETWORK), st.sampled_from(CLOSING), st.sampled_from((BAN, BATCH_OVER)))
DELETING = (401, 403, 500)
COMMANDS = st.one_of(
    st.sampled_from((Connect(), Connect(wait=5.0), Connect(number="5511999990001", wait=5.0))),
    st.sampled_from((Logout(), Reset(), ForceReconnection(), ForceReconnection(clean_session=True))),
    st.sampled_from((Restart(), SetPresence("available"), Configure(settings={"rejectCall": True}))),
)
UNBANNING = (ForceReconnection, Reset, Logout)


def some_settings() -> st.SearchStrategy[Settings]:
    def build(recovery: dict[str, Any], qr_limit: int, resettable: bool) -> Settings:
        rules = dict(DEFAULT_RULES)
        if resettable:
            rules[428] = rules[428].model_copy(update={"cleanup": True})
        return Settings(
            recovery=RecoverySettings(jitter=0.0, cooldown=900.0, **recovery),
            qrcode=QrcodeSettings(limit=qr_limit),
            disconnect=FrozenDict(rules),
        )

    ladders = (STEPS_OF_RECOVERY, ("restart-instance", "reconnect"), ("clear-cache",))
    recovery = {
        "max_attempts": st.sampled_from((0, 1, 5, 50)),
        "same_code_limit": st.sampled_from((3, 5, 1000)),
        "on_limit": st.sampled_from(("abort", "cooldown")),
        "ladder": st.sampled_from(ladders),
    }
    return st.builds(build, st.fixed_dictionaries(recovery), st.sampled_from((1, 4)), st.booleans())


def budget(steps: int, steps_an_example: int, *, deep: bool = False) -> settings:
    """So many examples that the steps are used up, if none ends early.

    Args:
        deep: others in each run, and a failure is made small.
    """
    return settings(
        max_examples=max(1, steps // steps_an_example),
        stateful_step_count=steps_an_example,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        derandomize=not deep,
        report_multiple_bugs=False,
        phases=[phase for phase in HypothesisPhase if deep or phase is not HypothesisPhase.shrink],
    )

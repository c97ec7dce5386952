"""What to do about each disconnection code: the table of defaults, as data.

The numbers are HTTP-like status codes as the WhatsApp multi-device protocol and the Baileys library use them,
and the names are Baileys' `DisconnectReason` names where it has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from supervisor.config.frozen import FrozenDict
from supervisor.config.kinds import Choice, Seconds, Switch, Text

Action = Literal["reconnect", "logout"]


class DisconnectRule(BaseModel):
    """What to do about one disconnection code.

    Attributes:
        code: the code that the rule is for.
        action: `reconnect` (temporary: try again after a delay) or `logout` (permanent: close the instance).
        delay: seconds before the first attempt, and the base of the delays after it; unused by `logout`.
        cleanup: whether the session's credentials are deleted (by `logout`), or may be (by the step
            `reset-session`).
        reason: what happened, in words for people.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    code: int
    action: Annotated[Action, Choice(("reconnect", "logout"))] = "reconnect"
    delay: Annotated[float, Seconds(0, 3600)] = 5.0
    cleanup: Annotated[bool, Switch()] = False
    reason: Annotated[str, Text()] = "connection lost"

    @property
    def name(self) -> str:
        """The code's fixed name, as in `connectionClosed`; `unknown` for a code without one."""
        return NAMES.get(self.code, "unknown")

    @property
    def permanent(self) -> bool:
        """The instance is closed rather than connected again."""
        return self.action == "logout"


NAMES: Mapping[int, str] = FrozenDict(
    {
        401: "loggedOut",
        402: "temporaryBan",
        403: "forbidden",
        405: "clientOutdated",
        406: "notAcceptable",
        408: "timedOut",
        411: "multideviceMismatch",
        428: "connectionClosed",
        440: "connectionReplaced",
        500: "badSession",
        503: "unavailable",
        515: "restartRequired",
    }
)

_ROWS: tuple[tuple[int, Action, float, bool, str], ...] = (
    # code, action, delay, cleanup, reason
    (401, "logout", 5, True, "logged out by the phone or by WhatsApp"),
    (402, "logout", 5, False, "temporarily banned by WhatsApp"),
    (403, "logout", 5, True, "forbidden: the main device is gone or the account was blocked"),
    (405, "logout", 5, False, "this client version is too old for WhatsApp"),
    (406, "logout", 5, False, "WhatsApp did not accept the login"),
    (408, "reconnect", 5, False, "no answer in time"),
    (411, "logout", 5, False, "the phone does not use multi-device"),
    (428, "reconnect", 2, False, "the connection was closed"),
    (440, "reconnect", 3, False, "the session was opened by another client"),
    (500, "logout", 5, True, "the stored session is damaged or gone"),
    (503, "reconnect", 10, False, "WhatsApp could not be reached"),
    (515, "reconnect", 1, False, "WhatsApp asked for a new connection"),
)

DEFAULT_CODE = 0
"""The code in the rule that stands for every code without a row of its own."""

DEFAULT_RULE = DisconnectRule(code=DEFAULT_CODE)
DEFAULT_RULES: FrozenDict[int, DisconnectRule] = FrozenDict(
    {
        code: DisconnectRule(code=code, action=action, delay=delay, cleanup=cleanup, reason=reason)
        for code, action, delay, cleanup, reason in _ROWS
    }
)

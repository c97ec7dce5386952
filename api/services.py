"""What the handlers of a group are given, and what several groups do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from api.auth import Guard, principal
from api.errors import ApiError
from api.gateway import Clock, Command, Done, Gateway, InstanceView, UnknownInstance
from api.schemas.common import NAME_PATTERN
from api.settings import ApiSettings

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with."""

    gateway: Gateway
    settings: ApiSettings
    guard: Guard
    clock: Clock

    def instance(self, name: str) -> InstanceView:
        """The instance of a path.

        Raises:
            UnknownInstance: there is none, which is 404.
            ApiError: there can be none of that name, likewise.
        """
        view = self.gateway.view(name)
        if view is None:
            raise UnknownInstance(name) if re.fullmatch(NAME_PATTERN, name) else _impossible(name)
        return view

    def confined_to(self, name: str | None) -> str | None:
        """The id of the one instance that the sender's key opens; None for the host's key, which opens all.

        A name may have belonged to another instance before, and what was that one's is not for this token.

        Args:
            name: what `own_instance` gave.
        """
        return None if principal().instances is None else self.instance(name or "").id

    def command(self, name: str, message: Command, extra: float = 0.0) -> Done:
        """Send a command to an instance and wait for its reply.

        Args:
            name: the instance.
            message: the command.
            extra: seconds that the command itself may take before it answers.
        """
        self.instance(name)
        return self.gateway.command(name, message, self.settings.command_timeout + extra)


def _impossible(name: str) -> ApiError:
    shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
    return ApiError(404, str(UnknownInstance(shown)), f"A name must match {NAME_PATTERN}")


def own_instance(asked: str | None) -> str | None:
    """The instance that a listing may show: the one asked for, or the only one that the key's owner has.

    Raises:
        ApiError: 404 for an instance out of the owner's sight; 400 when it must say which.
    """
    sees = principal()
    if sees.instances is None:
        return asked
    if asked is not None:
        if not sees.may_see(asked):
            raise ApiError(404, str(UnknownInstance(asked)))
        return asked
    if len(sees.instances) > 1:
        raise ApiError(400, '"instance" is required: several instances have this token')
    return next(iter(sees.instances))

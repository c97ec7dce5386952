"""Ports: one operating-system process for each WhatsApp connection, used once.

`Ports` is the actor that starts them; `Spawn` asks it to; the owner hears of a port by the messages of
`actors.port.messages`, with the events of `actors.port.events`. Attributes are imported on first use, because
the port's own process imports from this package too and needs none of the host's half.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actors.port.handle import PortGone, PortHandle
    from actors.port.library import Preload
    from actors.port.messages import CommandResult, CommandTimeout, PortEvent, PortExited, PortStarted
    from actors.port.ports import ForkserverDied, GetStatus, PortRefused, Ports, PortsStatus, Spawn
    from actors.port.spec import PortSpec

_HOMES = {
    "PortGone": "handle",
    "PortHandle": "handle",
    "Preload": "library",
    "CommandResult": "messages",
    "CommandTimeout": "messages",
    "PortEvent": "messages",
    "PortExited": "messages",
    "PortStarted": "messages",
    "ForkserverDied": "ports",
    "GetStatus": "ports",
    "PortRefused": "ports",
    "Ports": "ports",
    "PortsStatus": "ports",
    "Spawn": "ports",
    "PortSpec": "spec",
}

__all__ = [
    "CommandResult",
    "CommandTimeout",
    "ForkserverDied",
    "GetStatus",
    "PortEvent",
    "PortExited",
    "PortGone",
    "PortHandle",
    "PortRefused",
    "PortSpec",
    "PortStarted",
    "Ports",
    "PortsStatus",
    "Preload",
    "Spawn",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)

"""Events: what happened to an instance, appended with the state that it reports, and told to who listens."""

from __future__ import annotations

from actors.events.bus import PATH, Events, Listen, Subscribe
from actors.events.emit import emit, global_target, own_target, targets
from actors.events.models import MODELS, EventData
from actors.store.notices import Committed

__all__ = [
    "MODELS",
    "PATH",
    "Committed",
    "EventData",
    "Events",
    "Listen",
    "Subscribe",
    "emit",
    "global_target",
    "own_target",
    "targets",
]

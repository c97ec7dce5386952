"""What every notifier needs of the host, in one value that is handed down the tree."""

from __future__ import annotations

from dataclasses import dataclass

from actors.chatwoot.texts import Picture
from actors.services import Services
from actors.store import Reader


@dataclass(frozen=True, slots=True)
class Reporting:
    """The parts of the host that reports to Chatwoot use.

    Attributes:
        services: names, settings as they are now, published snapshots.
        reader: reads events and places.
        picture: draws QR codes.
    """

    services: Services
    reader: Reader
    picture: Picture

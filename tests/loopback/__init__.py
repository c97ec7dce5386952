"""A WhatsApp service on the loopback interface that real, unmodified clients accept. See README.md beside
this file.
"""

from .api import Connection, LoopbackApi, Phone, Rule, Scan
from .client import LoopbackClient, LoopbackProcess
from .journal import Event
from .service import LoopbackService

__all__ = [
    "Connection",
    "Event",
    "LoopbackApi",
    "LoopbackClient",
    "LoopbackProcess",
    "LoopbackService",
    "Phone",
    "Rule",
    "Scan",
]

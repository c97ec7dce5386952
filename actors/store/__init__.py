"""The database: one writer with group commit, bounded readers, SQLite by default and PostgreSQL by URL.

Writing goes through the `Store` actor as units of work (`Write`, or the function `write`); reading through a
`Reader`, from any thread. What the rows mean is in the modules `instances`, `history`, `cleanups` and
`outbox`, whose functions take the unit's `Tx`.
"""

from __future__ import annotations

from actors.store.actor import PATH, Committed, Store, Write, write
from actors.store.backend import Backend, open_backend
from actors.store.condition import Condition, Trouble
from actors.store.errors import (
    BadStoreUrl,
    Duplicate,
    SchemaTooNew,
    StoreError,
    StoreInDoubt,
    StoreInUse,
    StoreTimeout,
    StoreUnavailable,
    UnknownRow,
)
from actors.store.group import Done, Outcome
from actors.store.reader import Reader
from actors.store.rows import Cleanup, EventRow, HistoryEntry, Instance, new_id
from actors.store.tx import Tx

__all__ = [
    "PATH",
    "Backend",
    "BadStoreUrl",
    "Cleanup",
    "Committed",
    "Condition",
    "Done",
    "Duplicate",
    "EventRow",
    "HistoryEntry",
    "Instance",
    "Outcome",
    "Reader",
    "SchemaTooNew",
    "Store",
    "StoreError",
    "StoreInDoubt",
    "StoreInUse",
    "StoreTimeout",
    "StoreUnavailable",
    "Trouble",
    "Tx",
    "UnknownRow",
    "Write",
    "new_id",
    "open_backend",
    "write",
]

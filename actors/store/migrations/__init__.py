"""The schema, as the list of steps that led to it.

A step is never changed once released; a change of the schema is a new step at the end.
"""

from __future__ import annotations

from actors.store.migrations import m0001_initial, m0002_chatwoot
from actors.store.migrations.runner import Migration, migrate, schema_version

MIGRATIONS: tuple[Migration, ...] = (
    Migration(1, "initial", m0001_initial.statements),
    Migration(2, "chatwoot", m0002_chatwoot.statements),
)

__all__ = ["MIGRATIONS", "Migration", "migrate", "schema_version"]

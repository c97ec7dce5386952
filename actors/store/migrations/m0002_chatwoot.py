"""How far each instance's Chatwoot account has been told."""

from __future__ import annotations

from actors.store.migrations.m0001_initial import TYPES

CHATWOOT = """
CREATE TABLE chatwoot (
  instance_id TEXT PRIMARY KEY REFERENCES instance (id) ON DELETE CASCADE,
  seq {bigint} NOT NULL,
  conversation {bigint}
)
"""


def statements(dialect: str) -> list[str]:
    """The statements of this step for `sqlite` or `postgresql`."""
    return [CHATWOOT.format(**TYPES[dialect])]

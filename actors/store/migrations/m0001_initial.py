"""Instances, their history, the outbox and unfinished clean-ups."""

from __future__ import annotations

TYPES = {
    # AUTOINCREMENT: without it SQLite gives the number of a deleted last row out again, and a reader that has
    # passed that number would never see the new row.
    "sqlite": {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "real": "REAL", "bigint": "INTEGER"},
    "postgresql": {"serial": "BIGSERIAL PRIMARY KEY", "real": "DOUBLE PRECISION", "bigint": "BIGINT"},
}

INSTANCE = """
CREATE TABLE instance (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  token TEXT NOT NULL UNIQUE,
  number TEXT,
  owner_jid TEXT,
  device_jid TEXT,
  profile_name TEXT,
  profile_pic_url TEXT,
  integration TEXT NOT NULL,
  client_name TEXT NOT NULL,
  desired TEXT NOT NULL CHECK (desired IN ('up', 'down')),
  phase TEXT NOT NULL,
  logged_in BOOLEAN NOT NULL,
  failed_reason TEXT,
  disconnection_code INTEGER,
  disconnection_object TEXT,
  disconnection_at {real},
  recovery_attempts INTEGER NOT NULL,
  qr_count INTEGER NOT NULL,
  settings TEXT NOT NULL,
  webhook TEXT NOT NULL,
  proxy TEXT NOT NULL,
  chatwoot TEXT NOT NULL,
  last_open_at {real},
  created_at {real} NOT NULL,
  updated_at {real} NOT NULL
)
"""

HISTORY = """
CREATE TABLE history (
  id {serial},
  instance_id TEXT NOT NULL REFERENCES instance (id) ON DELETE CASCADE,
  at {real} NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('disconnection', 'recovery')),
  code INTEGER,
  name TEXT,
  cause TEXT,
  action TEXT,
  duration_s {real},
  previous_phase TEXT,
  incarnation INTEGER,
  attempt INTEGER,
  strategy TEXT,
  result TEXT,
  detail TEXT NOT NULL
)
"""

# instance_id refers to no row on purpose: the last events of a deleted instance are still to be delivered.
EVENT = """
CREATE TABLE event (
  seq {serial},
  id TEXT NOT NULL UNIQUE,
  instance_id TEXT,
  instance_name TEXT NOT NULL,
  event TEXT NOT NULL,
  data TEXT,
  secret TEXT,
  secret_until {real},
  sender TEXT,
  apikey TEXT,
  created_at {real} NOT NULL
)
"""

DELIVERY = """
CREATE TABLE delivery (
  id {serial},
  event_seq {bigint} NOT NULL REFERENCES event (seq) ON DELETE CASCADE,
  instance_id TEXT,
  destination TEXT NOT NULL,
  scope TEXT NOT NULL,
  target TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('pending', 'delivered', 'failed')),
  attempts INTEGER NOT NULL,
  next_at {real},
  last_error TEXT,
  created_at {real} NOT NULL,
  delivered_at {real}
)
"""

CLEANUP = """
CREATE TABLE cleanup (
  id {serial},
  instance_id TEXT NOT NULL,
  what TEXT NOT NULL,
  created_at {real} NOT NULL
)
"""

INDEXES = (
    "CREATE INDEX history_page ON history (instance_id, id)",
    "CREATE INDEX history_code ON history (instance_id, code, at)",
    "CREATE INDEX history_at ON history (at)",
    "CREATE INDEX event_instance ON event (instance_id, seq)",
    "CREATE INDEX event_created ON event (created_at)",
    "CREATE INDEX event_secret ON event (secret_until) WHERE secret IS NOT NULL",
    "CREATE INDEX delivery_event ON delivery (event_seq)",
    "CREATE INDEX delivery_instance ON delivery (instance_id, id)",
    "CREATE INDEX delivery_status ON delivery (status, id)",
    "CREATE INDEX delivery_lane ON delivery (destination, id) WHERE status = 'pending'",
    "CREATE INDEX delivery_stream ON delivery (destination, instance_id, id) WHERE status = 'pending'",
    "CREATE INDEX cleanup_instance ON cleanup (instance_id)",
)


def statements(dialect: str) -> list[str]:
    """The statements of this step for `sqlite` or `postgresql`."""
    tables = (INSTANCE, HISTORY, EVENT, DELIVERY, CLEANUP)
    return [table.format(**TYPES[dialect]) for table in tables] + list(INDEXES)

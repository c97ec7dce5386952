"""The tables as peewee models, for building queries.

The models are bound to no database: a query runs on the connection of the `Tx` it is given to, so that any
number of stores can live in one process. Columns, keys and indexes are created by the migrations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from peewee import BigAutoField, BooleanField, CharField, DoubleField, IntegerField, Model, TextField


def delete_from(model: Any) -> Any:
    """A query that deletes rows of a table."""
    return model.delete()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} cannot be stored as JSON")


_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=_plain).encode


class JsonField(TextField):
    """A JSON value as text, the same in SQLite and PostgreSQL. Half a character (a lone surrogate) becomes `?`."""

    def db_value(self, value: Any) -> str | None:
        if value is None:
            return None
        text = _encode(value)
        return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")

    def python_value(self, value: Any) -> Any:
        return None if value is None else json.loads(value)


class InstanceTable(Model):
    """One row an instance."""

    id = CharField(primary_key=True)
    name = CharField(unique=True)
    token = CharField(unique=True)
    number = TextField(null=True)
    owner_jid = TextField(null=True)
    device_jid = TextField(null=True)
    profile_name = TextField(null=True)
    profile_pic_url = TextField(null=True)
    integration = TextField()
    client_name = TextField()
    desired = TextField()
    phase = TextField()
    logged_in = BooleanField()
    failed_reason = TextField(null=True)
    disconnection_code = IntegerField(null=True)
    disconnection_object = JsonField(null=True)
    disconnection_at = DoubleField(null=True)
    recovery_attempts = IntegerField()
    qr_count = IntegerField()
    settings = JsonField()
    webhook = JsonField()
    proxy = JsonField()
    chatwoot = JsonField()
    last_open_at = DoubleField(null=True)
    created_at = DoubleField()
    updated_at = DoubleField()

    class Meta:
        table_name = "instance"


class HistoryTable(Model):
    """One row a disconnection or a recovery."""

    id = BigAutoField()
    instance_id = CharField()
    at = DoubleField()
    kind = TextField()
    code = IntegerField(null=True)
    name = TextField(null=True)
    cause = TextField(null=True)
    action = TextField(null=True)
    duration_s = DoubleField(null=True)
    previous_phase = TextField(null=True)
    incarnation = IntegerField(null=True)
    attempt = IntegerField(null=True)
    strategy = TextField(null=True)
    result = TextField(null=True)
    detail = JsonField()

    class Meta:
        table_name = "history"


class EventTable(Model):
    """One row an event; `secret` holds what must not outlive its use, and is emptied."""

    seq = BigAutoField()
    id = CharField(unique=True)
    instance_id = CharField(null=True)
    instance_name = TextField()
    event = TextField()
    data = JsonField(null=True)
    secret = JsonField(null=True)
    secret_until = DoubleField(null=True)
    sender = TextField(null=True)
    apikey = TextField(null=True)
    created_at = DoubleField()

    class Meta:
        table_name = "event"


class DeliveryTable(Model):
    """One row an event and destination; the ids of one destination are the order of sending."""

    id = BigAutoField()
    event_seq = IntegerField()
    instance_id = CharField(null=True)
    destination = TextField()
    scope = TextField()
    target = JsonField()
    status = TextField()
    attempts = IntegerField()
    next_at = DoubleField(null=True)
    last_error = TextField(null=True)
    created_at = DoubleField()
    delivered_at = DoubleField(null=True)

    class Meta:
        table_name = "delivery"


class CleanupTable(Model):
    """One row a clean-up that must be finished, if need be at the next start."""

    id = BigAutoField()
    instance_id = CharField()
    what = JsonField()
    created_at = DoubleField()

    class Meta:
        table_name = "cleanup"


class MetaTable(Model):
    """Facts about the database itself."""

    key = CharField(primary_key=True)
    value = TextField()

    class Meta:
        table_name = "meta"

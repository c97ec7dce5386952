"""Many linked instances in a data directory, before a host is started on it: without pairing each."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from actors.store import Instance, Tx, instances, new_id, open_backend
from actors.store.migrations import MIGRATIONS, migrate
from tests.loopback.api import LoopbackApi
from tests.loopback.harness import Template

Rows = Iterable[Instance]


def linked(name: str, number: str, **columns: Any) -> Instance:
    """An instance as a host leaves it that was stopped while the instance was open."""
    defaults: dict[str, Any] = {
        "desired": "up",
        "phase": "open",
        "logged_in": True,
        "last_open_at": time.time(),
    }
    owner = f"{number}@s.whatsapp.net"
    return Instance(name=name, token=new_id(), number=number, owner_jid=owner, **(defaults | columns))


def settle(
    data_dir: Path, wa: LoopbackApi, template: Template, rows: Rows, url: str = "sqlite:///zapvisor.db"
) -> dict[str, str]:
    """Write the database and the credentials of linked instances; the device of each by its name."""
    sessions = data_dir / "sessions"
    for directory in (data_dir, sessions):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = open_backend(url, data_dir).writer()
    database.connect()
    migrate(database, MIGRATIONS)
    devices = {}
    with database.atomic():
        tx = Tx(database, time.time())
        for row in rows:
            assert row.number is not None
            file = sessions / f"{row.id}.db"
            devices[row.name] = template.make(wa, row.number, file)
            file.chmod(0o600)
            instances.insert(tx, row)
            instances.update(tx, row.id, device_jid=devices[row.name])
    database.close()
    if url.startswith("sqlite"):
        (data_dir / "zapvisor.db").chmod(0o600)
    return devices

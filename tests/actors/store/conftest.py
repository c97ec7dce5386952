from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest

from actors.store import Backend, open_backend
from actors.store.migrations import MIGRATIONS, migrate


@pytest.fixture
def backend(store_url: str, tmp_path: Path) -> Backend:
    return open_backend(store_url, tmp_path)


@pytest.fixture
def writer(backend: Backend) -> Iterator[peewee.Database]:
    """A migrated database with an open connection."""
    held = backend.prepare()
    database = backend.writer()
    database.connect()
    migrate(database, MIGRATIONS)
    yield database
    database.close()
    if held:
        held.release()

"""What the store refuses and how it fails. None of these texts holds a password or a stored value."""

from __future__ import annotations


class StoreError(Exception):
    """Anything that this package raises."""


class BadStoreUrl(StoreError):
    """The URL names no database that the store can use."""


class StoreInUse(StoreError):
    """Another host has the database open: two writers would undo each other's work."""


class SchemaTooNew(StoreError):
    """The database was migrated by a newer release than this one."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"the database has schema version {found}, this release knows up to {known}: "
            "run the newer release, or restore the backup from before the upgrade"
        )
        self.found = found
        self.known = known


class StoreUnavailable(StoreError):
    """The store is down, restarting or overloaded, or the database is damaged. The unit changed nothing."""


class StoreTimeout(StoreUnavailable):
    """The answer did not come within the caller's deadline."""


class StoreInDoubt(StoreUnavailable):
    """The store ended after it had asked for a COMMIT and before it knew the answer: stored or not, as a whole."""


class UnknownRow(StoreError):
    """No row has that key."""

    def __init__(self, table: str, key: object) -> None:
        super().__init__(f"no {table} {key}")
        self.table = table
        self.key = key


class Duplicate(StoreError):
    """A value that must be unique is taken.

    Attributes:
        field: the column, as `name` or `token`.
    """

    def __init__(self, table: str, field: str) -> None:
        super().__init__(f"another {table} has this {field}")
        self.table = table
        self.field = field

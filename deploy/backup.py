#!/usr/bin/env python3
"""Copies the data directory of a host that may be running: its database, its sessions and its secrets.

    python3 backup.py /var/lib/zapvisor /var/backups/zapvisor

makes /var/backups/zapvisor/<UTC time>, readable by its owner alone, and prints its name. Databases are copied with
SQLite's online backup, so each is consistent in itself however busy it is; a copy that is not whole is no copy: the
directory gets its name last. Needs Python's standard library only. Restoring is described in docs/operations.md.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

SECRETS = ("api_key", "session_secret")
LOCK_SECONDS = 60.0


class BackupFailed(Exception):
    """A copy could not be made or is damaged."""


def back_up(data_dir: Path, destination: Path) -> Path:
    """Copy everything that a host needs to go on elsewhere.

    Args:
        data_dir: `[host] data_dir`.
        destination: where the copies are kept; made if it is not there.

    Returns:
        The new copy.

    Raises:
        BackupFailed, OSError, sqlite3.Error: nothing was left behind under the copy's name.
    """
    databases = [file for file in (data_dir / "zapvisor.db",) if file.is_file()]  # not there with PostgreSQL
    if not databases and not (data_dir / "sessions").is_dir():
        raise BackupFailed(f"{data_dir}: neither zapvisor.db nor sessions in it")
    destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    unfinished, finished = destination / f".{name}-{os.getpid()}", destination / name
    unfinished.mkdir(mode=0o700)
    try:
        for database in databases:
            copy_database(database, unfinished / database.name)
        (unfinished / "sessions").mkdir(mode=0o700)
        for session in sorted((data_dir / "sessions").glob("*.db")):
            copy_database(session, unfinished / "sessions" / session.name)
        for secret in SECRETS:
            if (data_dir / secret).exists():
                shutil.copy2(data_dir / secret, unfinished / secret)
        unfinished.rename(finished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return finished


def copy_database(source: Path, copy: Path) -> None:
    """Copy one SQLite database that others may be writing, and check the copy."""
    with (
        closing(
            sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=LOCK_SECONDS)
        ) as old,
        closing(sqlite3.connect(copy)) as new,
    ):
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE")  # one file, and nothing beside it
        [(found,)] = new.execute("PRAGMA quick_check(1)")
    if found != "ok":
        raise BackupFailed(f"{source}: the copy is damaged: {found}")


def main(arguments: list[str]) -> int:
    """Run as a program."""
    if len(arguments) != 2:
        print("usage: backup.py DATA_DIR DESTINATION", file=sys.stderr)  # noqa: T201
        return 2
    os.umask(0o077)
    try:
        made = back_up(Path(arguments[0]), Path(arguments[1]))
    except (BackupFailed, OSError, sqlite3.Error) as error:
        print(f"backup failed: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print(made)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

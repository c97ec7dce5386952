"""Credentials in files: what is deleted is set aside first, so that a late deletion hits nothing newer."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from actors import credentials
from actors.credentials import CredentialsUnavailable, FileCredentials
from supervisor.otp import Fenced


@pytest.fixture
def store(tmp_path: Path) -> FileCredentials:
    return FileCredentials(tmp_path / "sessions")


def files_of(store: FileCredentials, text: str) -> list[Path]:
    """An instance's file, with all that SQLite may have beside it."""
    files = [Path(f"{store.url('i')}{suffix}") for suffix in store.SUFFIXES]
    for file in files:
        file.write_text(text)
    return files


def names(store: FileCredentials) -> list[str]:
    return sorted(file.name for file in Path(store.url("i")).parent.iterdir())


def test_a_removal_that_hangs_removes_nothing_of_a_device_that_was_linked_meanwhile(
    store: FileCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = files_of(store, "former")
    unlink = Path.unlink
    linked: list[Path] = []

    def late(self: Path, missing_ok: bool = False) -> None:
        if not linked:
            linked.extend(files_of(store, "new"))
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", late)
    store.delete("i")
    assert [file.read_text() for file in files] == ["new"] * 4
    assert len(names(store)) == 4


def test_an_actor_that_was_killed_meanwhile_sets_nothing_more_aside(
    store: FileCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, *beside = files_of(store, "former")
    looked: list[None] = []

    def killed() -> None:
        looked.append(None)
        if len(looked) > 1:
            raise Fenced("janitor")

    monkeypatch.setattr(credentials, "check_not_fenced", killed)
    with pytest.raises(Fenced):
        store.delete("i")
    assert not file.exists()
    assert all(each.exists() for each in beside)


def test_what_could_not_be_removed_is_removed_with_the_next_try(
    store: FileCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_of(store, "former")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", fails)
        with pytest.raises(CredentialsUnavailable, match="Input/output error"):
            store.delete("i")
    assert not store.exist("i")
    assert names(store)
    store.delete("i")
    assert names(store) == []


def test_a_sweep_removes_what_is_left_aside_and_nothing_else(
    store: FileCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_of(store, "former")
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", fails)
        with pytest.raises(CredentialsUnavailable):
            store.delete("i")
        with pytest.raises(CredentialsUnavailable):
            store.sweep()
    files = files_of(store, "new")
    store.sweep()
    assert names(store) == sorted(file.name for file in files)


def fails(*_: object, **__: object) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))

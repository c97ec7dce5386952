"""The data directory and the key in it are their owner's alone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supervisor.config import (
    DataDirError,
    DataDirUnavailable,
    Settings,
    loads,
    prepare_data_dir,
    read_api_key,
    resolve_api_key,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return loads("", base=tmp_path)


@pytest.fixture(autouse=True)
def generous_umask() -> object:
    old = os.umask(0)
    yield
    os.umask(old)


def test_a_new_directory_is_closed_to_others_whatever_the_umask(tmp_path: Path) -> None:
    prepare_data_dir(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    "content", [[], ["lost+found"], ["api_key"], ["zapvisor.db", "notes.txt"], ["sessions"]]
)
def test_an_open_directory_that_is_empty_or_ours_is_closed(tmp_path: Path, content: list[str]) -> None:
    tmp_path.chmod(0o755)
    for name in content:
        (tmp_path / name).touch()
    prepare_data_dir(tmp_path)
    assert mode(tmp_path) == 0o700


def test_an_open_directory_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "homework.txt").touch()
    with pytest.raises(DataDirError, match="chmod 700"):
        prepare_data_dir(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_closed_directory_with_other_things_is_fine(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "homework.txt").touch()
    prepare_data_dir(tmp_path)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    for path in (tmp_path / "data", tmp_path / "data" / "below"):
        with pytest.raises(DataDirError, match=r"(?i)not a directory"):
            prepare_data_dir(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_another_users_directory_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(DataDirError, match="uid 12345"):
        prepare_data_dir(tmp_path)


def test_the_first_start_makes_a_key_and_later_ones_read_it(settings: Settings) -> None:
    first, second = resolve_api_key(settings, {}), resolve_api_key(settings, {})
    file = settings.host.data_dir / "api_key"
    assert first.created
    assert not second.created
    assert first.value == second.value == read_api_key(settings.host.data_dir)
    assert len(first.value) >= 32
    assert (mode(settings.host.data_dir), mode(file)) == (0o700, 0o600)
    assert first.origin == str(file)
    assert first.value not in repr(first)
    assert [entry.name for entry in settings.host.data_dir.iterdir()] == ["api_key"]


def test_hosts_that_start_together_agree_on_one_key(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: resolve_api_key(settings, {}), range(16)))
    assert len({key.value for key in keys}) == 1
    assert sum(key.created for key in keys) == 1
    assert [entry.name for entry in settings.host.data_dir.iterdir()] == ["api_key"]


def test_a_configured_key_comes_first_and_touches_no_file(tmp_path: Path) -> None:
    settings = loads("[api]\napi_key = configured-key\n", base=tmp_path)
    key = resolve_api_key(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (key.value, key.origin) == ("configured-key", "[api] api_key")
    assert not settings.host.data_dir.exists()


def test_systemds_credential_comes_before_the_data_directory(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "api_key").write_text("from-systemd\n")
    key = resolve_api_key(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert key.value == "from-systemd"
    assert not settings.host.data_dir.exists()


def test_credentials_without_a_key_do_not_count(settings: Settings, tmp_path: Path) -> None:
    assert resolve_api_key(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).created


def test_a_key_file_that_others_can_read_is_closed(settings: Settings) -> None:
    key = resolve_api_key(settings, {})
    file = settings.host.data_dir / "api_key"
    file.chmod(0o644)
    assert resolve_api_key(settings, {}).value == key.value
    assert mode(file) == 0o600


@pytest.mark.parametrize("content", [b"", b"short\n", b"two words here\n", b"\xff" * 20, b"x" * 2000])
def test_a_broken_key_file_is_refused_without_showing_it(settings: Settings, content: bytes) -> None:
    prepare_data_dir(settings.host.data_dir)
    file = settings.host.data_dir / "api_key"
    file.write_bytes(content)
    with pytest.raises(DataDirError, match="not a key") as caught:
        resolve_api_key(settings, {})
    assert "two words" not in str(caught.value)
    assert file.read_bytes() == content


def test_there_may_be_no_key_to_read(tmp_path: Path) -> None:
    assert read_api_key(tmp_path / "nowhere") is None


# -- what may pass, and what only a person can change ------------------------------------------------------

PASSING = (
    "EROFS",
    "ENOSPC",
    "EDQUOT",
    "EIO",
    "ESTALE",
    "EMFILE",
    "ENFILE",
    "ENOMEM",
    "ENOTCONN",
    "ETIMEDOUT",
)
LASTING = ("EACCES", "EPERM", "ENOTDIR", "ENOENT", "ELOOP", "ENAMETOOLONG")


def failing(name: str) -> Callable[..., object]:
    number = getattr(errno, name)

    def fail(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("name", [*PASSING, *LASTING])
@pytest.mark.parametrize("call", ["mkdir", "touch"])
def test_a_directory_that_cannot_be_used_now_is_not_called_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, name: str
) -> None:
    monkeypatch.setattr(Path, call, failing(name))
    with pytest.raises(DataDirError) as caught:
        prepare_data_dir(tmp_path)
    assert isinstance(caught.value, DataDirUnavailable) == (name in PASSING)
    assert str(caught.value) == f"{tmp_path}: {os.strerror(getattr(errno, name))}"


@pytest.mark.parametrize("name", [*PASSING, *LASTING])
def test_a_key_that_cannot_be_written_now_is_not_called_wrong_and_is_written_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = settings.host.data_dir / "api_key"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(name))
        with pytest.raises(DataDirError) as caught:
            resolve_api_key(settings, {})
    assert isinstance(caught.value, DataDirUnavailable) == (name in PASSING)
    assert str(caught.value) == f"{file}: {os.strerror(getattr(errno, name))}"
    assert list(settings.host.data_dir.iterdir()) == [], "neither a key nor half of one"
    assert resolve_api_key(settings, {}).created


@pytest.mark.parametrize("name", ["EIO", "EMFILE", "EACCES"])
@pytest.mark.parametrize("call", ["stat", "open"])
def test_a_key_that_cannot_be_read_now_is_not_called_wrong(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, call: str, name: str
) -> None:
    resolve_api_key(settings, {})
    folder = settings.host.data_dir
    monkeypatch.setattr(Path, call, failing(name))
    monkeypatch.setattr(Path, "exists", lambda path: bool(path.stat()))  # as of Python 3.12 it asks elsewhere
    for ask in (
        lambda: read_api_key(folder),
        lambda: resolve_api_key(settings, {"CREDENTIALS_DIRECTORY": str(folder)}),
    ):
        with pytest.raises(DataDirError) as caught:
            ask()
        assert isinstance(caught.value, DataDirUnavailable) == (name != "EACCES")
        assert str(caught.value) == f"{folder / 'api_key'}: {os.strerror(getattr(errno, name))}"

"""The secret with which the dashboard's sessions are signed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from supervisor.config import DataDirError, session_secret


def test_it_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = session_secret(data_dir)
    file = data_dir / "session_secret"
    assert len(first) >= 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert session_secret(data_dir) == first


def test_each_data_directory_has_its_own(tmp_path: Path) -> None:
    assert session_secret(tmp_path / "a") != session_secret(tmp_path / "b")


def test_a_file_that_holds_something_else_is_an_error_with_its_name(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    session_secret(data_dir)
    (data_dir / "session_secret").write_text("short")
    with pytest.raises(DataDirError, match="session_secret"):
        session_secret(data_dir)


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    session_secret(data_dir)
    file = data_dir / "session_secret"
    file.chmod(0o644)
    session_secret(data_dir)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

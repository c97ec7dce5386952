"""How a client finds the host and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.cli import target
from supervisor.cli.failures import Misconfigured, Refused
from supervisor.cli.target import Target, find_target
from supervisor.config import DataDirUnavailable
from tests.supervisor.cli.conftest import Zapvisor
from tests.supervisor.cli.fakehost import KEY, FakeHost


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    file = tmp_path / "supervisor.ini"
    file.write_text("[api]\nlisten = 127.0.0.1:8181\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "api_key").write_text("key-in-the-data-dir\n")
    return file


def test_the_ini_gives_address_and_data_directory(ini: Path) -> None:
    assert find_target(str(ini), {}) == Target("http://127.0.0.1:8181", "key-in-the-data-dir")


def test_a_key_in_the_environment_comes_before_the_files(ini: Path) -> None:
    assert (
        find_target(str(ini), {"ZAPVISOR_API_KEY": "key-in-the-environment"}).api_key
        == "key-in-the-environment"
    )


def test_a_key_that_cannot_be_read_now_is_not_called_wrong(
    ini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(data_dir: Path) -> str:
        raise DataDirUnavailable(f"{data_dir}: Input/output error")

    monkeypatch.setattr(target, "read_api_key", read)
    with pytest.raises(Refused, match="Input/output error"):
        find_target(str(ini), {})


def test_a_file_named_on_the_command_line_comes_before_the_url(ini: Path) -> None:
    assert find_target(str(ini), {"ZAPVISOR_URL": "http://elsewhere:1"}).url == "http://127.0.0.1:8181"


def test_the_url_comes_before_the_defaults() -> None:
    environ = {"ZAPVISOR_URL": "https://wa.example.org/", "ZAPVISOR_API_KEY": "some-key"}
    assert find_target(None, environ) == Target("https://wa.example.org", "some-key")


def test_without_anything_the_defaults_hold(
    tmp_path: Path, ini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_target(None, {}) == Target("http://127.0.0.1:8080", "key-in-the-data-dir")


def test_the_local_key_is_not_sent_elsewhere(
    tmp_path: Path, ini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured, match="ZAPVISOR_API_KEY: not set"):
        find_target(None, {"ZAPVISOR_URL": "https://wa.example.org"})


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:80", "http://[::1]:80"),
        ("[fd00::1]:80", "http://[fd00::1]:80"),
    ],
)
def test_a_host_that_listens_everywhere_is_asked_here(ini: Path, listen: str, url: str) -> None:
    assert find_target(str(ini), {"ZAPVISOR_API_LISTEN": listen}).url == url


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"ZAPVISOR_API_LISTEN": "127.0.0.1:0"}, "port 0"),
        ({"ZAPVISOR_API_LISTEN": "nowhere"}, r"\[api\] listen"),
        ({"ZAPVISOR_URL": "wa.example.org"}, "not an address"),
        ({"ZAPVISOR_URL": "ftp://wa.example.org"}, "not an address"),
        ({"ZAPVISOR_URL": "http://user:s3cr3t@wa.example.org"}, "not an address"),
        ({"ZAPVISOR_URL": "http://[::1"}, "not an address"),
        ({"ZAPVISOR_URL": "http://h/?x=1"}, "not an address"),
        ({"ZAPVISOR_URL": "http://h", "ZAPVISOR_API_KEY": "s3cr3t\nkey"}, "not a key"),
        ({}, "no key"),
    ],
)
def test_what_is_wrong_or_missing_is_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Misconfigured, match=words) as caught:
        find_target(None, environ)
    assert caught.value.exit_code == 2
    assert "s3cr3t" not in caught.value.message


def test_a_broken_key_file_is_code_2(ini: Path) -> None:
    (ini.parent / "data" / "api_key").write_text("two words")
    with pytest.raises(Misconfigured, match="not a key"):
        find_target(str(ini), {})


def test_a_target_does_not_show_its_key() -> None:
    assert "some-key" not in repr(Target("http://h", "some-key"))


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:1", True),
        ("http://127.0.0.9", True),
        ("http://[::1]:1", True),
        ("http://10.0.0.1", False),
    ],
)
def test_which_hosts_are_on_this_machine(url: str, local: bool) -> None:
    assert Target(url, "k").local is local


def test_commands_take_the_file(host: FakeHost, zapvisor: Zapvisor, tmp_path: Path) -> None:
    file = tmp_path / "supervisor.ini"
    file.write_text(f"[api]\nlisten = {host.url.removeprefix('http://')}\napi_key = {KEY}\n")
    assert zapvisor("status", "-c", str(file)).exit_code == 0
    assert zapvisor("status", "-c", str(tmp_path / "missing.ini")).exit_code == 2

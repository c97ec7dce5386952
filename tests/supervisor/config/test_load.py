"""From text and environment to settings, or to everything that is wrong."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from supervisor.config import ConfigError, Problem, RecoverySettings, Settings, WebhookSettings, load, loads
from supervisor.config.environment import variables
from supervisor.config.models import SECTIONS


def problems_of(text: str) -> tuple[Problem, ...]:
    try:
        loads(text)
    except ConfigError as error:
        return error.problems
    return ()


def wrong(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, environ or {})
    return [str(problem) for problem in caught.value.problems]


def test_without_a_file_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings == Settings()
    assert settings.host.data_dir == tmp_path / "data"
    assert str(settings.api.listen) == "127.0.0.1:8080"
    assert settings.api.public_url == "http://127.0.0.1:8080"
    assert settings.source is None
    assert settings.port.heartbeat == 10.0
    assert settings.recovery.ladder == ("reconnect", "clear-cache", "reset-session", "restart-instance")


def test_retries_of_webhooks_default_to_evolutions(tmp_path: Path) -> None:
    webhook = loads("").webhook
    assert (
        webhook.timeout,
        webhook.max_attempts,
        webhook.initial_delay,
        webhook.max_delay,
        webhook.jitter,
    ) == (
        60.0,
        10,
        5.0,
        300.0,
        0.2,
    )


def test_a_relative_data_dir_starts_at_the_files_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "supervisor.ini"
    file.write_text("[host]\ndata_dir = ../var\n")
    monkeypatch.chdir("/")
    settings = load(file, {})
    assert settings.host.data_dir == tmp_path / "var"
    assert settings.source == file
    file.write_text("")
    assert load(file, {}).host.data_dir == folder / "data"


def test_settings_cannot_be_changed() -> None:
    settings = loads("[webhook]\nheaders = A: 1\n")
    with pytest.raises(ValidationError):
        settings.recovery.max_attempts = 1
    with pytest.raises(TypeError):
        settings.webhook.headers["B"] = SecretStr("2")  # type: ignore[index]
    with pytest.raises(TypeError):
        settings.disconnect[428] = None  # type: ignore[index]


def test_settings_can_be_built_by_programs_with_the_same_checks() -> None:
    assert RecoverySettings(max_delay=1.5).max_delay == 1.5
    assert WebhookSettings.model_validate({"headers": {"A": "1"}}).headers["A"].get_secret_value() == "1"
    for fields in ({"max_delay": -1}, {"max_attempts": True}, {"ladder": ["jump"]}, {"unknown": 1}):
        with pytest.raises(ValidationError):
            RecoverySettings.model_validate(fields)


def test_settings_can_be_copied_and_sent_to_another_process() -> None:
    settings = loads("[instance:sales]\nlimit = 3\n")
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings) == hash(settings.model_copy(deep=True))


BAD = {
    "host": {"data_dir": "", "log_level": "loud", "log_format": "xml", "boot_concurrency": "0"},
    "api": {
        "listen": "nowhere",
        "api_key": "short",
        "threads": "many",
        "server_url": "ftp://h",
        "dashboard": "perhaps",
        "cors_origins": "https://h/path",
    },
    "store": {"url": "mysql://h/d", "history_retention": "0"},
    "sessions": {"url": "sqlite:///x.db"},
    "cache": {"url": "memcached://h", "ttl": "-1"},
    "supervision": {"intensity": "-1", "period": "0", "shutdown": "0"},
    "recovery": {
        "max_attempts": "-1",
        "multiplier": "0.5",
        "max_delay": "25h",
        "jitter": "2",
        "stable_after": "soon",
        "ladder": "",
        "history_window": "0",
        "same_code_limit": "0",
        "on_limit": "panic",
        "cooldown": "0",
        "inactivity_timeout": "0",
        "inactivity_check": "0",
        "reachability_check": "-1s",
    },
    "qrcode": {"limit": "0", "color": "#ffffff"},
    "port": {"heartbeat": "0", "missed_heartbeats": "0", "command_timeout": "0", "start_timeout": "0"},
    "webhook": {
        "url": "//h",
        "events": "MESSAGES_UPSERT",
        "by_events": "2",
        "base64": "",
        "headers": "x",
        "secret": "s",
        "timeout": "0",
        "max_attempts": "0",
        "initial_delay": "x",
        "max_delay": "x",
        "jitter": "x",
        "allow_private": "x",
    },
    "chatwoot": {"enabled": "x"},
    "disconnect.428": {"action": "wait", "delay": "-1", "cleanup": "x", "reason": ""},
}


def test_the_table_of_bad_values_has_every_key() -> None:
    keys = {section: set(model.model_fields) for section, model in SECTIONS.items()}
    assert {section: set(values) for section, values in BAD.items() if section in keys} == keys


@pytest.mark.parametrize(
    ("section", "option", "value"), [(s, o, v) for s, options in BAD.items() for o, v in options.items()]
)
def test_each_bad_value_is_told_with_section_key_and_what_is_allowed(
    section: str, option: str, value: str
) -> None:
    (problem,) = wrong(f"[{section}]\n{option} = {value}\n")
    assert problem.startswith(f"supervisor.ini:2: [{section}] {option} = ")
    assert "; allowed: " in problem


def test_all_bad_values_are_told_at_once() -> None:
    text = "".join(
        f"[{section}]\n" + "".join(f"{option} = {value}\n" for option, value in options.items())
        for section, options in BAD.items()
    )
    assert len(wrong(text)) == sum(map(len, BAD.values()))


def test_an_unknown_key_is_told_with_the_nearest_one_and_without_its_value() -> None:
    assert wrong("[api]\napikey = very-secret\n") == [
        "supervisor.ini:2: [api] apikey: no such key; did you mean 'api_key'?"
    ]


def test_a_key_in_the_wrong_section_is_told_where_it_belongs() -> None:
    assert wrong("[api]\nheartbeat = 3\n") == [
        "supervisor.ini:2: [api] heartbeat: no such key; it belongs to [port]"
    ]


def test_a_key_like_no_other_is_told_with_all_of_the_section() -> None:
    assert wrong("[cache]\nzzz = 3\n") == ["supervisor.ini:2: [cache] zzz: no such key; allowed: url, ttl"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("recvery", "did you mean 'recovery'?"),
        ("Host", "did you mean 'host'?"),
        ("DEFAULT", "allowed: host, api"),
        ("disconnect.99", "[disconnect.100] to [disconnect.999]"),
        ("disconnect", "[disconnect.100] to [disconnect.999]"),
        ("instance:", "1 to 64 letters"),
        ("instance:../x", "1 to 64 letters"),
    ],
)
def test_an_unknown_section_is_told_with_the_nearest_one(name: str, words: str) -> None:
    (problem,) = wrong(f"\n[{name}]\n")
    assert problem.startswith(f"supervisor.ini:2: [{name}]: ")
    assert words in problem


def test_delays_of_webhooks_must_be_in_order() -> None:
    (problem,) = wrong("[webhook]\nmax_delay = 1s\n")
    assert "[webhook] max_delay = 1s: shorter than initial_delay" in problem


def test_bad_files_are_told_by_name(tmp_path: Path) -> None:
    missing, binary, huge = tmp_path / "missing.ini", tmp_path / "binary.ini", tmp_path / "huge.ini"
    binary.write_bytes(b"[host]\n\xff")
    huge.write_bytes(b"#" * (1024 * 1024 + 1))
    for file, words in (
        (missing, "No such file"),
        (binary, "not UTF-8 at byte 7"),
        (huge, "larger"),
        (tmp_path, "cannot"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            load(file, {})
        assert str(caught.value).startswith(f"{file}: ")


# --- the environment


def test_every_key_has_a_variable() -> None:
    assert {(section, option) for _, section, option in variables()} == {
        (section, option) for section, model in SECTIONS.items() for option in model.model_fields
    }
    assert len({variable for variable, _, _ in variables()}) == len(list(variables()))


def test_the_environment_comes_before_the_file() -> None:
    settings = loads(
        "[recovery]\nmax_attempts = 3\njitter = 0\n",
        {
            "ZAPVISOR_RECOVERY_MAX_ATTEMPTS": "7",
            "ZAPVISOR_DISCONNECT_428_DELAY": "250ms",
            "ZAPVISOR_DISCONNECT_DEFAULT_ACTION": "logout",
            "HOME": "/root",
        },
    )
    assert (settings.recovery.max_attempts, settings.recovery.jitter) == (7, 0)
    assert settings.disconnect_rule(428).delay == 0.25
    assert settings.disconnect_rule(777).permanent


def test_the_clients_key_is_the_hosts_key_too() -> None:
    key = loads("", {"ZAPVISOR_API_KEY": "0123456789", "ZAPVISOR_URL": "http://h"}).api.api_key
    assert key is not None
    assert key.get_secret_value() == "0123456789"
    (problem,) = wrong("", {"ZAPVISOR_API_KEY": "0123456789", "ZAPVISOR_API_API_KEY": "another-one"})
    assert "two variables disagree" in problem
    assert "0123456789" not in problem


def test_bad_values_in_the_environment_are_told_by_variable() -> None:
    (problem,) = wrong("", {"ZAPVISOR_PORT_HEARTBEAT": "never"})
    assert problem.startswith(
        "environment variable ZAPVISOR_PORT_HEARTBEAT: [port] heartbeat = never: not a duration"
    )


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("ZAPVISOR_RECOVERY_MAX_ATEMPTS", "did you mean 'ZAPVISOR_RECOVERY_MAX_ATTEMPTS'?"),
        ("ZAPVISOR_DISCONNECT_428_DELY", "did you mean 'ZAPVISOR_DISCONNECT_428_DELAY'?"),
        ("ZAPVISOR_INSTANCE_SALES_LIMIT", "cannot be set from the environment"),
        ("ZAPVISOR_", "no such setting"),
    ],
)
def test_unknown_variables_are_told_without_their_value(variable: str, words: str) -> None:
    (problem,) = wrong("", {variable: "very-secret"})
    assert problem.startswith(f"environment variable {variable}: ")
    assert words in problem
    assert "very-secret" not in problem


def test_variables_that_kubernetes_makes_for_a_service_are_no_settings() -> None:
    loads(
        "",
        {
            "ZAPVISOR_SERVICE_HOST": "10.0.0.1",
            "ZAPVISOR_SERVICE_PORT_HTTP": "80",
            "ZAPVISOR_PORT": "tcp://10.0.0.1:80",
            "ZAPVISOR_PORT_80_TCP_ADDR": "10.0.0.1",
        },
    )


# --- secrets

SECRET = "pa55w0rd-t0k3n"


@pytest.mark.parametrize(
    ("section", "option", "template"),
    [
        ("api", "api_key", "{} with blanks"),
        ("api", "apy_key", "{}"),
        ("webhook", "secret", "{}\x07"),
        ("webhook", "headers", "Authorization Bearer {}"),
        ("webhook", "headers", "Host: {}"),
        ("webhook", "url", "htp://h/{}"),
        ("webhook", "url", "https//u:{}@h"),
        ("store", "url", "postgresql://u:{}@h:port/d"),
        ("store", "url", "postgresql://u:{}@"),
        ("store", "url", "sqlite://u:{}@/x"),
        ("sessions", "url", "mysql://u:{}@h/d?password={}"),
        ("cache", "url", "redis://:{}@h /0"),
    ],
)
def test_no_error_holds_a_secret(section: str, option: str, template: str) -> None:
    assert not [
        text
        for text in wrong(f"[{section}]\n{option} = {template.format(SECRET, SECRET)}\n")
        if SECRET in text
    ]


def test_no_repr_holds_a_secret_and_logs_can_ask_for_all_of_them() -> None:
    settings = loads(
        f"[api]\napi_key = {SECRET}-1\n[store]\nurl = postgresql://u:{SECRET}-2@h/d\n"
        f"[webhook]\nsecret = {SECRET}-3\nheaders = A: {SECRET}-4\nurl = https://u:{SECRET}-5@h/hook\n"
        f"[instance:sales]\nwebhook.secret = {SECRET}-6\n"
    )
    assert SECRET not in repr(settings) + str(settings)
    assert settings.secrets() == {f"{SECRET}-{number}" for number in range(1, 7)}


@given(st.text(max_size=200))
def test_any_text_loads_or_is_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(loads(text), Settings)


@given(
    st.dictionaries(
        st.sampled_from(
            [f"{section}.{option}" for section, model in SECTIONS.items() for option in model.model_fields]
        ),
        st.text(st.characters(blacklist_characters="\r\n"), max_size=30),
        max_size=5,
    )
)
def test_any_values_load_or_are_refused_each_by_its_key(values: dict[str, str]) -> None:
    text = ""
    for place, value in values.items():
        section, _, option = place.partition(".")
        text += f"[{section}]\n{option} = {value}\n" if f"[{section}]" not in text else ""
    assert {f"{problem.section}.{problem.option}" for problem in problems_of(text)} <= set(values)

"""One instance's own settings."""

from __future__ import annotations

import pytest

from supervisor.config import ConfigError, loads


def test_an_instance_without_a_section_has_the_settings_of_all() -> None:
    settings = loads("[recovery]\nmax_attempts = 3\n")
    own = settings.instance("sales")
    assert own.recovery == settings.recovery
    assert own.webhook == settings.webhook


def test_overrides_hold_for_that_instance_alone_and_keep_the_rest() -> None:
    settings = loads(
        "[recovery]\nmax_delay = 1m\n[instance:sales]\nrecovery.max_attempts = 9\nlimit = 60\n"
        "disconnect.440.action = logout\ndisconnect.default.delay = 1s\n"
    )
    own, other = settings.instance("sales"), settings.instance("support")
    assert (own.recovery.max_attempts, own.recovery.max_delay, own.qrcode.limit) == (9, 60, 60)
    assert (other.recovery.max_attempts, other.recovery.max_delay, other.qrcode.limit) == (5, 60, 30)
    assert own.disconnect_rule(440).permanent
    assert own.disconnect_rule(777).delay == 1
    assert not other.disconnect_rule(440).permanent
    assert other.disconnect_rule(777).delay == 5


def test_names_of_instances_are_case_sensitive() -> None:
    settings = loads("[instance:Sales]\nlimit = 1\n[instance:sales]\nlimit = 2\n")
    assert [settings.instance(name).qrcode.limit for name in ("Sales", "sales", "SALES")] == [1, 2, 30]


def test_the_environment_stands_below_an_instances_own_value() -> None:
    settings = loads("[instance:sales]\nport.heartbeat = 1s\n", {"ZAPVISOR_PORT_HEARTBEAT": "2s"})
    assert settings.instance("sales").port.heartbeat == 1
    assert settings.instance("other").port.heartbeat == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("max_delay = 1s", "write recovery.max_delay or webhook.max_delay"),
        ("recovery.max_atempts = 1", "did you mean 'recovery.max_attempts'?"),
        ("api.listen = 127.0.0.1:1", "no such key"),
        ("listen = 127.0.0.1:1", "no such key"),
        ("limit = 0", "[instance:sales] qrcode.limit = 0: too small"),
        ("disconnect.428.delay = x", "[instance:sales] disconnect.428.delay = x: not a duration"),
        ("disconnect.428.dely = 1", "no such key"),
        ("webhook.max_delay = 1s", "[instance:sales] webhook.max_delay = 1s: shorter than initial_delay"),
        ("limit = 1\nqrcode.limit = 2", "qrcode.limit is set twice"),
        ("webhook.secret = s3cr3t", "[instance:sales] webhook.secret = ***: too short"),
    ],
)
def test_overrides_that_are_refused(line: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(f"[instance:sales]\n{line}\n")
    (problem,) = caught.value.problems
    assert words in str(problem)
    assert str(problem).startswith("supervisor.ini:")


def test_a_mistake_in_the_shared_section_is_told_once() -> None:
    with pytest.raises(ConfigError) as caught:
        loads(
            "[webhook]\nurl = x\nmax_delay = 1s\n[instance:a]\nlimit = 1\n[instance:b]\nwebhook.timeout = 1s\n"
        )
    assert {(problem.section, problem.option) for problem in caught.value.problems} == {
        ("webhook", "url"),
        ("webhook", "max_delay"),
    }

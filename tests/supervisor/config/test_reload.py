"""What may change in a running host."""

from __future__ import annotations

import pytest

from supervisor.config import apply_live, compare, loads
from supervisor.config.models import SECTIONS
from supervisor.config.reload import LIVE


def test_every_key_is_either_live_or_not() -> None:
    assert set(LIVE) == set(SECTIONS)
    assert all(keys <= set(SECTIONS[section].model_fields) for section, keys in LIVE.items())


def test_the_same_settings_have_no_changes() -> None:
    changes = compare(loads("[recovery]\njitter = 20%\n"), loads(""))
    assert (changes.live, changes.restart) == ((), ())


def test_changes_are_told_by_key_and_by_what_they_need() -> None:
    changes = compare(
        loads(""),
        loads(
            "[recovery]\nmax_delay = 1m\n[api]\nlisten = [::1]:9\n[disconnect.428]\ndelay = 1\n"
            "[instance:sales]\nlimit = 3\n[host]\nlog_level = debug\n"
        ),
    )
    assert list(map(str, changes.live)) == [
        "[host] log_level: info -> debug",
        "[recovery] max_delay: 5m -> 1m",
        "[disconnect.428] delay: 2s -> 1s",
        "[instance:sales] qrcode.limit: 30 -> 3",
    ]
    assert list(map(str, changes.restart)) == ["[api] listen: 127.0.0.1:8080 -> [::1]:9"]


def test_an_instance_tells_only_what_it_does_not_inherit() -> None:
    before = "[instance:sales]\nlimit = 3\n"
    changes = compare(loads(before), loads(f"[recovery]\nmax_delay = 1m\n{before}"))
    assert [(change.section, change.option) for change in changes.live] == [("recovery", "max_delay")]


def test_secrets_change_without_being_told() -> None:
    old = loads("[webhook]\nsecret = first-secret\nurl = https://u:first@h/a\n")
    new = loads("[webhook]\nsecret = other-secret\nurl = https://u:other@h/a\n")
    told = "\n".join(map(str, compare(old, new).live))
    assert "[webhook] secret: *** -> *** (another one)" in told
    assert "[webhook] url: " in told
    assert "first" not in told
    assert "other-" not in told


@pytest.mark.parametrize(
    ("text", "live"),
    [
        ("[recovery]\nmax_attempts = 1\n", True),
        ("[disconnect.777]\naction = logout\n", True),
        ("[instance:sales]\nlimit = 1\n", True),
        ("[webhook]\nurl = https://h/x\n", True),
        ("[store]\nurl = postgresql://h/d\n", False),
        ("[supervision]\nintensity = 1\n", False),
        ("[host]\ndata_dir = /elsewhere\n", False),
    ],
)
def test_only_what_may_be_applied_is_applied(text: str, live: bool) -> None:
    old, new = loads(""), loads(text)
    applied = apply_live(old, new)
    assert (applied == new) is live
    assert (applied == old) is not live
    left = compare(applied, new)
    assert left.live == ()
    assert bool(left.restart) is not live


def test_what_is_applied_reaches_instances_with_a_section_too() -> None:
    section = "[instance:sales]\nlimit = 3\n"
    applied = apply_live(loads(section), loads(f"[recovery]\nmax_attempts = 1\n{section}"))
    assert applied.instance("sales").recovery.max_attempts == 1

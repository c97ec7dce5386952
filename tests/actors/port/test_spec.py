"""A port's spec: what is wrong is refused by name, what is secret is not shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.port import PortSpec
from actors.port.spec import split_jid

GOOD = {"instance": "sales", "session_url": "/data/sales.db"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("instance", ""),
        ("instance", "a\nb"),
        ("instance", "x" * 101),
        ("session_url", "relative.db"),
        ("session_url", "mysql://x/y"),
        ("session_url", "/a\0b"),
        ("jid", "not a jid"),
        ("jid", "55:x@s.whatsapp.net"),
        ("proxy_url", "ftp://host"),
        ("proxy_url", "http://"),
        ("proxy_url", "http://h:99999"),
        ("proxy_url", "http://user:top secret@h:1"),
        ("device_name", ""),
        ("platform", "TOASTER"),
        ("heartbeat", 0.0),
        ("heartbeat", float("nan")),
        ("log_level", "LOUD"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: ") as caught:
        PortSpec(**{**GOOD, field: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:p%40ss@db/s", "postgres://u@db/s"])
def test_a_postgresql_url_is_a_shared_store(url: str) -> None:
    assert PortSpec("sales", url).is_postgres


def test_passwords_are_known_and_not_shown() -> None:
    spec = PortSpec("sales", "postgresql://u:db%40pass@db/s", proxy_url="socks5://u:prox%79pass@h:1")
    assert set(spec.secrets()) == {"db%40pass", "db@pass", "prox%79pass", "proxypass"}
    assert "pass" not in repr(spec)


@given(st.from_regex(r"[0-9]{5,15}(\.[0-9]{1,3})?(:[0-9]{1,3})?@(s\.whatsapp\.net|lid)", fullmatch=True))
def test_a_device_jid_is_taken_apart_without_loss(jid: str) -> None:
    user, agent, device, server = split_jid(jid)
    assert jid.startswith(user)
    assert jid.endswith(f"@{server}")
    assert jid.partition("@")[0].partition(":")[2] in (
        "",
        str(device).zfill(len(jid.partition("@")[0].partition(":")[2])),
    )
    assert agent >= 0


def test_it_travels_as_json() -> None:
    spec = PortSpec("sales", "/data/sales.db", jid="5511:2@s.whatsapp.net", heartbeat=2.5)
    assert PortSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec

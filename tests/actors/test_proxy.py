"""Which proxy the environment names for a host: what the client library, which is written in Go, takes."""

from __future__ import annotations

import pytest

from actors.proxy import environment_proxy

HOST = "web.whatsapp.com"
PROXY = "http://user:secret@proxy.example:3128"


def found(**environ: str) -> str | None:
    return environment_proxy(HOST, environ)


def test_there_may_be_none() -> None:
    assert found() is None
    assert found(HTTPS_PROXY="") is None
    assert found(HTTP_PROXY=PROXY, ALL_PROXY=PROXY) is None, "those are not for TLS"


def test_both_spellings_count_and_capitals_come_first() -> None:
    assert found(https_proxy=PROXY) == PROXY
    assert found(HTTPS_PROXY=PROXY, https_proxy="http://other:1") == PROXY


def test_a_proxy_may_be_named_without_a_scheme() -> None:
    assert found(HTTPS_PROXY="proxy.example:3128") == "http://proxy.example:3128"


@pytest.mark.parametrize(
    "exempt",
    ["*", HOST, "whatsapp.com", ".whatsapp.com", "*.whatsapp.com", "localhost, WHATSAPP.com", f"{HOST}:443"],
)
def test_a_host_can_be_exempt(exempt: str) -> None:
    assert found(HTTPS_PROXY=PROXY, NO_PROXY=exempt) is None
    assert found(HTTPS_PROXY=PROXY, no_proxy=exempt) is None


@pytest.mark.parametrize(
    "exempt", ["", ",", "app.com", f".{HOST}", "localhost,127.0.0.1", "whatsapp.com:80", "10.0.0.0/8"]
)
def test_others_are_not(exempt: str) -> None:
    assert found(HTTPS_PROXY=PROXY, NO_PROXY=exempt) == PROXY


def test_capitals_come_first_among_exemptions_as_well() -> None:
    """Python's libraries would read the other one: a host may have both."""
    assert found(HTTPS_PROXY=PROXY, NO_PROXY="localhost", no_proxy="*") == PROXY

"""Secrets do not get through, and what is no secret does."""

from __future__ import annotations

import math
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.addresses import shown_url
from supervisor.redaction import MASK, TEXT_LIMIT, Redactor, one_line

QR = (
    "2@AbCdEfGhIjKlMnOpQrStUvWxYz/0123456789,aGVsbG8gd29ybGQhISEhISEhISE=,d29ybGQhISEhISEhISE=,c2VjcmV0IQ==,1"
)
PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40)


@given(PRINTABLE, st.text(max_size=50), st.text(max_size=50))
def test_a_registered_value_never_gets_through(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.register(secret)
    text = f"{before} {secret} {quote(secret, safe='')} {after}"
    shown = redactor.text(text)
    assert secret not in shown.replace(MASK, "")
    assert str(redactor.field("x", {secret: [secret, {"y": f"a{secret}b"}]})).count(secret) == 0


def test_of_two_secrets_the_longer_is_masked_whole() -> None:
    redactor = Redactor()
    redactor.register("secret")
    redactor.register("secret-and-more")
    assert redactor.text("a secret-and-more b secret") == f"a {MASK} b {MASK}"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/", "https://host/"),
        ("https://user:hush@host:8443/p", "https://host:8443/p"),
        ("https://host/p?key=hush", "https://host/p?…"),
        ("https://u@host/p?key=hush#hush", "https://host/p?…"),
        ("https://host/#hush", "https://host/?…"),
        ("vazio", "vazio"),
        ("http://[hush", "…"),
        ("http://bob:hu/sh@127.0.0.1:1", "…"),
        ("http://bob:hu#sh@127.0.0.1:1", "…"),
        ("http://bob:12?hush@127.0.0.1:1", "…"),
        ("http://bob:12/hush@127.0.0.1:1", "…"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_what_keys_stand_in(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_an_owner_has_the_secrets_that_it_last_named() -> None:
    redactor = Redactor()
    redactor.keep("sales", ["old-token", "a password"])
    redactor.keep("sales", ["new-token", "a password"])
    assert redactor.text("old-token new-token a password") == f"old-token {MASK} {MASK}"
    redactor.keep("sales", [])
    assert redactor.text("new-token a password") == "new-token a password"


def test_what_two_owners_share_is_masked_until_both_are_gone() -> None:
    redactor = Redactor()
    redactor.keep("sales", ["shared-password"])
    redactor.keep("support", ["shared-password"])
    redactor.register("shared-password")
    redactor.keep("sales", [])
    redactor.keep("support", [])
    assert redactor.text("shared-password") == MASK
    redactor.forget("shared-password")
    assert redactor.text("shared-password") == "shared-password"


@given(st.lists(PRINTABLE, max_size=8), st.lists(PRINTABLE, max_size=8), st.text(max_size=60))
def test_what_is_masked_is_what_is_kept(gone: list[str], kept: list[str], text: str) -> None:
    redactor = Redactor()
    redactor.keep("sales", [*gone, *kept])
    redactor.keep("sales", kept)
    other = Redactor()
    for value in kept:
        other.register(value)
    everything = " ".join([text, *gone, *kept])
    assert redactor.text(everything) == other.text(everything)


def test_a_secret_can_be_forgotten() -> None:
    redactor = Redactor()
    redactor.register("to be/forgotten")
    redactor.forget("to be/forgotten")
    assert redactor.text("to be/forgotten") == "to be/forgotten"


def test_values_too_short_to_be_told_apart_are_not_masked() -> None:
    redactor = Redactor()
    redactor.register("")
    redactor.register("abc")
    assert redactor.text("abc") == "abc"


@pytest.mark.parametrize(
    "frame", ["{}", "scan {} now", "https://wa.me/settings/linked_devices#{}", "b'{}'", '"{}"']
)
def test_a_qr_code_is_known_by_its_shape(frame: str) -> None:
    shown = Redactor().text(frame.format(QR))
    assert "[qr code]" in shown
    assert "AbCdEfGh" not in shown
    assert "aGVsbG8" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "apikey: s3cr3t-value",
        "apikey=s3cr3t-value&x=1",
        "{'apikey': 's3cr3t-value'}",
        '{"apikey": "s3cr3t-value"}',
        '{\\"apikey\\": \\"s3cr3t-value\\"}',
        "[('apikey', 's3cr3t-value')]",
        "(b'apikey', b's3cr3t-value')",
        "API_KEY = s3cr3t-value",
        "Authorization: Bearer s3cr3t-value",
        "'authorization': 'Basic s3cr3t-value'",
        "Proxy-Authorization: Basic s3cr3t-value",
        "sent Bearer s3cr3t-value to it",
        "password=s3cr3t-value",
        "X-Zapvisor-Signature: sha256=s3cr3t-value",
        "postgresql://user:s3cr3t-value@host/db",
        "could not connect to redis://:s3cr3t-value@host:6379/0",
        "http://s3cr3t-value@proxy:3128",
        "data:image/png;base64,s3cr3tvalue+/=",
    ],
)
def test_headers_and_urls_lose_their_secret_part(text: str) -> None:
    assert "s3cr3t" not in Redactor().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "connectionClosed (428) after 12.5 s",
        "5511999999999:12@s.whatsapp.net",
        "https://example.org/hook?x=1",
        "the token is wrong",
        "no api key was sent",
        "mail to someone@example.org",
        "instances/sales/connection",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "name",
    [
        "apikey",
        "api_key",
        "API-Key",
        "Authorization",
        "token",
        "hash",
        "qrcode",
        "pairingCode",
        "base64",
        "secret",
    ],
)
def test_fields_with_a_secret_name_are_masked(name: str) -> None:
    assert Redactor().fields({name: "anything", "other": "kept"}) == {name: MASK, "other": "kept"}
    assert Redactor().field(name, ["a", "b"]) == MASK
    assert Redactor().field("headers", {name: "anything"}) == {name: MASK}


@pytest.mark.parametrize("value", [None, "", True, False])
def test_that_a_secret_is_absent_may_be_said(value: object) -> None:
    assert Redactor().field("token", value) == value


def test_a_code_is_a_number_or_a_pairing_code() -> None:
    redactor = Redactor()
    assert redactor.field("code", 428) == 428
    assert redactor.field("code", "12345678") == "12345678"
    assert redactor.field("code", "ABCD1234") == MASK
    assert redactor.field("code", "ABCD-1234") == MASK


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    )
)
def test_any_value_becomes_bounded_json(value: object) -> None:
    import json

    json.dumps(Redactor().field("x", value), allow_nan=False)


def test_bounds() -> None:
    redactor = Redactor()
    assert redactor.text("x" * TEXT_LIMIT) == "x" * TEXT_LIMIT
    assert redactor.text("x y" * TEXT_LIMIT).endswith(f"… ({3 * TEXT_LIMIT} characters)")
    assert len(redactor.field("x", list(range(1000)))) == 50
    assert len(redactor.fields({f"k{i}": i for i in range(1000)})) == 50
    nested: object = "deep"
    for _ in range(100):
        nested = [nested]
    assert len(str(redactor.field("x", nested))) < 2 * TEXT_LIMIT
    assert redactor.field("x", math.nan) == "nan"


@given(st.integers(0, 70_000))
def test_no_cut_leaves_half_a_secret(at: int) -> None:
    redactor = Redactor()
    redactor.register("half-a-secret-is-too-much")
    text = "data:image/png;base64," + "A" * at + " half-a-secret-is-too-much " + "x" * 10_000
    assert "half" not in redactor.text(text)


def test_a_value_that_cannot_be_shown_costs_nothing_else() -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert Redactor().fields({"a": Broken(), "b": 1}) == {"a": "<Broken: RuntimeError in __str__>", "b": 1}


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1

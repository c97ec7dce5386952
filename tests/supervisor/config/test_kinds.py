"""How values are written: each kind reads what it should and refuses everything else with a reason."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.config import Address, parse_duration, show_duration
from supervisor.config.kinds import Choice, Color, Directory, Number, Seconds, Switch, Text, Whole, Words
from supervisor.config.models import EVENTS, event_name
from supervisor.config.urls import Headers, Listen, Secret, Url


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("2s", 2),
        ("5m", 300),
        ("24h", 86400),
        ("7d", 604800),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("0", 0),
        ("10", 10),
        ("0.25", 0.25),
        (" 2S ", 2),
    ],
)
def test_durations_are_read_as_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "-1s", "+1s", "1 s", "s", "1x", "1e3", "nan", "inf", "1..2s", "1h 30m", "1,5s", "٣s", "9" * 400],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(st.integers(0, 10**10).map(lambda count: count / 1000))
@example(86400.0)
@example(0.001)
@example(0.0)
@example(5400.0)
def test_shown_durations_are_read_back_as_the_same(seconds: float) -> None:
    assert parse_duration(show_duration(seconds)) == pytest.approx(seconds)


@given(st.text())
def test_no_text_makes_the_duration_parser_fail_otherwise(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert math.isfinite(parse_duration(text))


@pytest.mark.parametrize(
    ("value", "reason"), [("1ms", "too short"), ("2h", "too long"), ("x", "not a duration")]
)
def test_seconds_have_bounds(value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Seconds(0.1, 3600).parse(value)


@pytest.mark.parametrize("value", [True, None, math.nan, math.inf, [1]])
def test_seconds_given_by_a_program_must_be_numbers(value: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Seconds(0, 10).accept(value)


@pytest.mark.parametrize("text", ["yes", "on", "true", "YES", "On", "True"])
def test_yes(text: str) -> None:
    assert Switch().parse(text) is True


@pytest.mark.parametrize("text", ["no", "off", "false", "NO"])
def test_no(text: str) -> None:
    assert Switch().parse(text) is False


@pytest.mark.parametrize("text", ["", "1", "0", "y", "maybe"])
def test_neither_yes_nor_no(text: str) -> None:
    with pytest.raises(ValueError, match="neither yes nor no"):
        Switch().parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3.5", "not a whole"),
        ("", "not a whole"),
        ("-1", "too small"),
        ("11", "too large"),
        ("1_0", "not a whole"),
        ("٣", "not a whole"),
    ],
)
def test_whole_numbers(text: str, reason: str) -> None:
    assert Whole(0, 10).parse("+7") == 7
    with pytest.raises(ValueError, match=reason):
        Whole(0, 10).parse(text)


@pytest.mark.parametrize(
    ("text", "number"), [("0.2", 0.2), ("20%", 0.2), ("20 %", 0.2), ("1", 1.0), ("0%", 0.0)]
)
def test_parts_are_numbers_or_percentages(text: str, number: float) -> None:
    assert Number(0, 1, percent=True).parse(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "%", "120%", "-1", "1e-1", "nan"])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a number|too"):
        Number(0, 1, percent=True).parse(text)


def test_a_choice_tells_the_nearest_word() -> None:
    with pytest.raises(ValueError, match="did you mean 'cooldown'"):
        Choice(("abort", "cooldown")).parse("coldown")


def test_lists_are_separated_by_commas_or_blanks_and_keep_their_order() -> None:
    assert Words(("a", "b")).parse("b, a\n b") == ("b", "a", "b")


@pytest.mark.parametrize("text", ["", " , ", "a, c", ",".join("a" * 21)])
def test_lists_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|not known|more than"):
        Words(("a", "b")).parse(text)


@pytest.mark.parametrize("event", EVENTS)
def test_events_may_be_spelled_as_evolution_does(event: str) -> None:
    assert event_name(event.upper().replace(".", "_")) == event


@pytest.mark.parametrize("text", ["", "x" * 201, "a\x07b", "a\nb"])
def test_texts_are_short_printable_and_on_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|characters|printed"):
        Text().parse(text)


@pytest.mark.parametrize(("text", "color"), [("#198754", "#198754"), ("#000", "#000000"), ("#ABC123", None)])
def test_colors_are_normalised_and_dark(text: str, color: str | None) -> None:
    if color is not None:
        assert Color().parse(text) == color
    else:
        with pytest.raises(ValueError, match="too light"):
            Color().parse(text)


@pytest.mark.parametrize("text", ["", "red", "#12345", "198754", "#gggggg"])
def test_what_is_no_color(text: str) -> None:
    with pytest.raises(ValueError, match="not a colour"):
        Color().parse(text)


@pytest.mark.parametrize("text", ["", "a\0b", "~nobody-of-that-name/x"])
def test_what_is_no_directory(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|printed|no such user"):
        Directory().parse(text)


def test_directories_lose_dots_but_keep_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert Directory().parse(f"{tmp_path}/a/../link/b") == tmp_path / "link" / "b"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:80", "::1", 80),
        ("localhost:0", "localhost", 0),
        ("wa.example.org:65535", "wa.example.org", 65535),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert Listen().parse(text) == Address(host, port)
    assert str(Listen().parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "8080", ":8080", "host", "host:", "host:65536", "::1:80", "[::g]:80", "a b:80", "h:-1", "h:٣"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"no port|no host|not a|without brackets"):
        Listen().parse(text)


STORE = Url((("sqlite",), ("postgresql", "postgres")), "sqlite:///zapvisor.db")
HOOK = Url((("http",), ("https",)), "https://example.org", "none")


@pytest.mark.parametrize(
    "text",
    ["sqlite:///zapvisor.db", "sqlite:////var/lib/z.db", "postgresql://u:p@h:5432/db?sslmode=require"],
)
def test_database_urls(text: str) -> None:
    assert STORE.show(STORE.parse(text)) == text


def test_a_schemes_other_spelling_becomes_the_first() -> None:
    assert STORE.show(STORE.parse("postgres://u@h/db")) == "postgresql://u@h/db"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zapvisor.db",
        "sqlite://zapvisor.db",
        "sqlite:///",
        "sqlite:///:memory:",
        "mysql://h/db",
        "postgresql://h",
        "postgresql:///db",
        "postgresql://h:99999/db",
        "postgresql://u:p@ss@h/db",
        "postgresql://u:p@h/db?schema=evolution_api",
        "'postgresql://u:p@h/db'",
        "postgresql://[::1/db",
        "postgresql://h/d b",
        "postgresql://h/" + "x" * 3000,
    ],
)
def test_what_is_no_database_url(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        STORE.parse(text)


def test_an_optional_url_may_be_empty() -> None:
    assert HOOK.parse("") is None


@given(
    user=st.text("abcdefXYZ", min_size=1),
    password=st.text("pqrsPQRS0123456789-_", min_size=8),
    path=st.text("tuvw0123456789", min_size=8),
)
def test_a_url_shows_neither_user_nor_password_nor_path(user: str, password: str, path: str) -> None:
    text = f"https://{user}:{password}@example.org:8443/{path}?token={path}"
    url = HOOK.parse(text)
    assert url is not None
    for shown in (str(url), repr(url), HOOK.redact(text), HOOK.redact(text.replace("https://", "htps:/"))):
        assert password not in shown
        assert path not in shown
    assert url.password == password


@pytest.mark.parametrize("text", ["short", "x" * 300, "with blank s", "ümläute-sind-keine"])
def test_keys_are_ascii_without_blanks(text: str) -> None:
    with pytest.raises(ValueError, match=r"too|not allowed"):
        Secret(8, "none").parse(text)


def test_headers_are_lines_or_json() -> None:
    lines = Headers().parse("Authorization: Bearer a:b\n X-Tenant: 7")
    assert {name: value.get_secret_value() for name, value in lines.items()} == {
        "Authorization": "Bearer a:b",
        "X-Tenant": "7",
    }
    assert Headers().parse('{"Authorization": "Bearer a:b", "X-Tenant": "7"}') == lines
    assert Headers().parse(Headers().show(lines)) == lines
    assert Headers().parse("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "no colon",
        "A: 1\na: 2",
        "Host: x",
        "Content-Length: 1",
        "X-Zapvisor-Signature: x",
        "X Y: 1",
        "A: ü",
        "{not json",
        '{"A": 1}',
        "\n".join(f"H{i}: x" for i in range(33)),
    ],
)
def test_headers_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Headers().parse(text)

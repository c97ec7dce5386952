"""What a port prints reaches the log in whole, bounded lines, and never with a secret."""

from __future__ import annotations

import base64
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.port.output import BURST, LINES_PER_SECOND, MAX_LINE, OutputLog, scrub

KEY = st.binary(min_size=32, max_size=32).map(lambda raw: base64.b64encode(raw).decode())
REF = st.binary(min_size=48, max_size=90).map(
    lambda raw: "2@" + base64.urlsafe_b64encode(raw).decode().rstrip("=")
)
BEFORE = st.sampled_from(
    ["", "code: ", "Emitting QR code ", "<ref>", "['", "https://wa.me/settings/linked_devices#"]
)


@given(BEFORE, REF, st.lists(KEY, min_size=3, max_size=3))
def test_no_part_of_a_qr_code_is_left(before: str, ref: str, keys: list[str]) -> None:
    line = scrub(f"{before}{','.join([ref, *keys])},1")
    assert not any(part in line for part in (ref[2:], *keys))


@given(BEFORE, st.lists(KEY, min_size=3, max_size=3))
def test_nor_of_a_code_whose_reference_has_another_form(before: str, keys: list[str]) -> None:
    line = scrub(f"{before}AbCdEf123,{','.join(keys)}")
    assert not any(key in line for key in keys)


@pytest.mark.parametrize(
    "text", ["2@3 sessions", "mail a@b.example", "user 5511999:12@s.whatsapp.net", "a,b,c,d"]
)
def test_what_is_no_code_stays(text: str) -> None:
    assert scrub(text) == text


def test_passwords_are_taken_out_of_urls_and_wherever_they_are_known() -> None:
    assert scrub("proxy http://me:hunter2@host:1 refused") == "proxy http://***@host:1 refused"
    assert scrub("password hunter2 refused", ["hunter2"]) == "password *** refused"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lines() -> list[tuple[int, str]]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def output(lines: list[tuple[int, str]], clock: Clock) -> OutputLog:
    return OutputLog(lambda level, line: lines.append((level, line)), ["hunter2"], clock)


def test_lines_are_put_together_from_chunks(output: OutputLog, lines: list[tuple[int, str]]) -> None:
    for chunk in (b"one li", b"ne\ntwo\n\nthr", b"ee"):
        output.feed(chunk)
    output.finish()
    assert [line for _, line in lines] == ["one line", "two", "three"]


def test_a_secret_cut_in_two_by_the_pipe_is_still_found(
    output: OutputLog, lines: list[tuple[int, str]]
) -> None:
    output.feed(b"password hunt")
    output.feed(b"er2\n")
    assert lines == [(logging.INFO, "password ***")]


def test_levels_of_the_ports_own_records_are_kept(output: OutputLog, lines: list[tuple[int, str]]) -> None:
    output.feed(b"whatsmeow.Client ERROR Something\nPress Ctrl+C to exit\nplain\n")
    assert [level for level, _ in lines] == [logging.ERROR, logging.DEBUG, logging.INFO]


def test_control_characters_cannot_forge_lines(output: OutputLog, lines: list[tuple[int, str]]) -> None:
    output.feed(b"a\rb\x1b[31mc\xff\n")
    assert lines == [(logging.INFO, "a b [31mc\N{REPLACEMENT CHARACTER}")]


def test_an_endless_line_is_cut_and_its_rest_skipped(output: OutputLog, lines: list[tuple[int, str]]) -> None:
    for _ in range(50):
        output.feed(b"x" * 1000)
    output.feed(b"\nnext\n")
    assert [len(line) for _, line in lines] == [MAX_LINE, len("next")]


def test_a_flood_is_cut_to_a_burst_and_counted(
    output: OutputLog, lines: list[tuple[int, str]], clock: Clock
) -> None:
    output.feed(b"goroutine\n" * 1000)
    assert len(lines) == BURST
    clock.now += 1.0
    output.feed(b"later\n")
    level, text = lines[BURST]
    assert (level, text) == (
        logging.WARNING,
        f"{1000 - BURST} lines left out: more than {LINES_PER_SECOND:g} a second",
    )
    assert lines[BURST + 1] == (logging.INFO, "later")

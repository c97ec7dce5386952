"""Linking the real client to a phone: by QR code, by pairing code, and every way in which it goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .harness import Client, session_rows
from .pairing import Forgery
from .service import LoopbackService


def test_by_qr_code(wa: LoopbackService, start: Callable[..., Client], number: str) -> None:
    client = start()
    code = client.wait("QR")["code"]
    scan = wa.phone(number).scan(code)
    assert scan.paired
    assert scan.jid == f"{number}:1@s.whatsapp.net"
    assert client.until("Connected") == ["status", "PairStatus", "Connected"]
    assert [event["status"] for event in client.seen if event["event"] == "status"] == ["success"]
    assert wa.phone(number).devices == [scan.jid]
    assert wa.prekeys(scan.jid) == 812
    assert [event.kind for event in wa.events(jid=scan.jid)] == ["login", "success", "prekeys", "open"]


def test_the_link_survives_the_process(
    wa: LoopbackService, start: Callable[..., Client], number: str
) -> None:
    client = start()
    jid = wa.phone(number).scan(client.wait("QR")["code"]).jid
    client.wait("Connected")
    client.kill()
    wa.wait_for("closed", jid=jid)
    again = start()
    assert again.until("Connected") == ["started", "Connected"]


def test_through_a_proxy_of_its_own_that_asks_for_credentials(
    service: LoopbackService, start: Callable[..., Client], number: str, tmp_path: Path
) -> None:
    authority = service.authority.directory
    with LoopbackService(tmp_path / "wa", authority=authority, credentials=("sales", "s3:cr@t")) as wa:
        client = start(service=wa, proxy=wa.proxy_url)
        assert wa.phone(number).scan(client.wait("QR")["code"]).paired
        client.wait("Connected")
        assert wa.connection(number).proxy_user == "sales"
        refused = start("refused.db", service=wa, proxy=wa.proxy_url.replace("s3", "s4"))
        assert "Proxy Authentication Required" in refused.wait("connect.raised")["error"]


@pytest.mark.parametrize(
    ("forge", "answer"), [("bad_hmac", "hmac-mismatch"), ("bad_signature", "signature-mismatch")]
)
def test_a_forged_offer_is_refused(
    wa: LoopbackService, start: Callable[..., Client], number: str, forge: Forgery, answer: str
) -> None:
    client = start()
    scan = wa.phone(number).scan(client.wait("QR")["code"], forge=forge)
    assert (scan.outcome, scan.code, scan.text) == ("refused", "401", answer)
    assert client.wait("status")["status"] == "error"
    assert client.quiet(0.5), "no event, and connect() does not return: the process is lost"
    assert wa.devices(number) == []
    assert session_rows(client.log.with_suffix(".db")) == 0


def test_a_phone_that_cannot_link_devices(
    wa: LoopbackService, start: Callable[..., Client], number: str
) -> None:
    client = start()
    code = client.wait("QR")["code"]
    assert wa.phone(number).scan(code, multidevice=False).outcome == "no_multidevice"
    assert client.wait("status")["status"] == "err-scanned-without-multidevice"
    assert wa.phone(number).scan(code).paired


def test_codes_that_the_phone_does_not_take(
    wa: LoopbackService, start: Callable[..., Client], number: str
) -> None:
    phone = wa.phone(number)
    with pytest.raises(ValueError, match="expected 4 or 5"):
        phone.scan("not a code")
    client = start()
    code = client.wait("QR")["code"]
    ref, noise, identity, secret, kind = code.split(",")
    with pytest.raises(ValueError, match="other keys"):
        phone.scan(",".join((ref, identity, noise, secret, kind)))
    with pytest.raises(ValueError, match="not 32 bytes"):
        phone.scan(",".join((ref, noise, identity, "AAAA", kind)))
    client.kill()
    wa.wait_for("closed", connection=wa.events("refs")[-1].connection)
    with pytest.raises(ValueError, match="is not current"):
        phone.scan(code)


def test_codes_with_a_scripted_life(wa: LoopbackService, start: Callable[..., Client], number: str) -> None:
    """More codes in less time than the client would show by itself, and then the end of the batch."""
    wa.script_pairing(lifetimes=[0.1] * 8, times=1)
    client = start()
    codes = {client.wait("QR")["code"] for _ in range(8)}
    assert len(codes) == 8
    assert client.wait("status")["status"] == "timeout"
    assert client.quiet(0.3), "connect() neither returns nor raises: the process is lost"


def test_the_last_of_the_scripted_codes_can_be_scanned(
    wa: LoopbackService, start: Callable[..., Client], number: str
) -> None:
    wa.script_pairing(lifetimes=[0.1, 0.1, 30], times=1)
    client = start()
    first, _, last = [client.wait("QR")["code"] for _ in range(3)]
    with pytest.raises(ValueError, match="is not current"):
        wa.phone(number).scan(first)
    assert wa.phone(number).scan(last).paired
    client.wait("Connected")


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (405, "err-client-outdated"),
        (401, "err-unexpected-state"),
        (402, "err-unexpected-state"),
        (400, "err-unexpected-state"),
        (503, "timeout"),
    ],
)
def test_a_refused_registration(
    wa: LoopbackService, start: Callable[..., Client], reason: int, status: str
) -> None:
    wa.refuse_registrations(reason, times=1)
    client = start()
    assert client.wait("status")["status"] == status


def test_the_515_is_lost(wa: LoopbackService, start: Callable[..., Client], number: str) -> None:
    """The library has paired and expects to be reconnected; nobody does it."""
    wa.script_pairing(outcome="lose_515", times=1)
    client = start()
    scan = wa.phone(number).scan(client.wait("QR")["code"])
    assert scan.paired
    assert client.until("PairStatus") == ["status", "PairStatus"]
    assert client.quiet(0.5)
    client.kill()
    again = start()
    again.wait("Connected")


def test_success_and_then_silence(wa: LoopbackService, start: Callable[..., Client], number: str) -> None:
    wa.script_pairing(outcome="silence", times=1)
    client = start()
    assert wa.phone(number).scan(client.wait("QR")["code"]).paired
    client.wait("PairStatus")
    assert client.quiet(0.3)


def test_a_scan_that_never_succeeds(wa: LoopbackService, start: Callable[..., Client], number: str) -> None:
    wa.script_pairing(outcome="no_success", times=1)
    client = start()
    assert wa.phone(number).scan(client.wait("QR")["code"]).outcome == "unanswered"
    assert client.quiet(0.3)
    assert wa.devices(number) == []


class TestPairingCode:
    def test_the_right_code(self, wa: LoopbackService, start: Callable[..., Client], number: str) -> None:
        client = start()
        client.wait("QR")
        client.command(f"pair {number}")
        code = client.wait("code")["code"]
        assert len(code) == 9
        assert wa.phone(number).enter_code(code.lower()).jid == f"{number}:1@s.whatsapp.net"
        assert client.until("Connected")[-3:] == ["status", "PairStatus", "Connected"]

    def test_a_wrong_code_then_a_new_one(
        self, wa: LoopbackService, start: Callable[..., Client], number: str
    ) -> None:
        client = start()
        client.wait("QR")
        client.command(f"pair {number}")
        client.wait("code")
        phone = wa.phone(number)
        scan = phone.enter_code("ABCD-EFGH")
        assert (scan.outcome, scan.paired) == ("refused", False)
        with pytest.raises(ValueError, match="no device asked"):
            phone.enter_code("ABCD-EFGH")
        client.command(f"pair {number}")
        assert phone.enter_code(client.wait("code")["code"]).paired
        client.wait("Connected")

    @pytest.mark.parametrize("code", ["", "ABC", "ABCD-EFG0", "ABCD-EFGI", "ABCD-EFGHJ"])
    def test_what_is_not_a_code(self, wa: LoopbackService, number: str, code: str) -> None:
        with pytest.raises(ValueError, match="eight of the characters"):
            wa.phone(number).enter_code(code)


@pytest.mark.parametrize("number", ["", "12", "abc", "0123456789", "1234567890123456", "٥٥١١٩٩٩"])
def test_what_is_not_a_phone_number(wa: LoopbackService, number: str) -> None:
    with pytest.raises(ValueError, match="international phone number"):
        wa.link_device(number, bytes(32), bytes(32))

"""One instance from its creation to its end, with the real client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e.conftest import StartHost, pair, picture
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService


def test_create_connect_scan_open(host: HostProcess, wa: LoopbackService, number: str) -> None:
    created = host.api.create("sales")
    assert created["instance"]["status"] == "close"
    answer = host.api.connect("sales")
    assert answer["count"] == 1
    assert picture(host.api, "sales") == answer["code"], "the picture a phone reads is the code"
    assert wa.phone(number).scan(answer["code"]).paired
    host.phase("sales", "open", timeout=5)
    assert host.api.state("sales") == "open"
    row = host.api.row("sales")
    assert row["ownerJid"] == f"{number}@s.whatsapp.net"
    assert host.api.client.get("/instance/qr/sales.png").status_code == 404, "no code is left lying about"


def test_logout_connect_scan_open_any_number_of_times(
    host: HostProcess, wa: LoopbackService, number: str
) -> None:
    """Invariant 1: a logout is never a dead end."""
    host.api.create("sales")
    for round in range(10):
        pair(host, wa, "sales", number)
        assert host.api.logout("sales")["status"] == "SUCCESS"
        assert host.api.state("sales") == "close"
        assert wa.devices(number) == [], f"round {round}: the phone still lists the device"
    pair(host, wa, "sales", number)


UNTOLD = "the phone could not be told and still lists the device"


def test_on_a_dead_link_a_logout_ends_here_in_time_and_says_that_the_phone_still_lists_the_device(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    """Invariants 1 and 7: the client itself would wait 75 s for an answer that cannot come."""
    host = start_host({"port": {"command_timeout": "1s"}})
    host.api.create("sales")
    session = host.data_dir / "sessions" / f"{host.api.row('sales')['id']}.db"
    paths = {"logout": "closed", "reset": "closed", "forceReconnection": "awaiting_scan"}
    for path, phase in paths.items():
        jid = pair(host, wa, "sales", number)
        old = host.port_pid("sales")
        wa.connection(jid).black_hole()
        mark, began = host.log.mark(), time.monotonic()
        answer = host.api.call("POST", f"/instance/{path}/sales", params={"cleanSession": "true"})
        assert UNTOLD in answer["response"]["message"]
        assert time.monotonic() - began < 30, "the command's own deadline is 1 s"
        assert old not in host.ports()
        assert jid in wa.devices(number), "the phone has not heard of it"
        host.phase("sales", phase, after=mark)
        if phase == "closed":
            assert (session.exists(), host.ports()) == (False, [])
    pair(host, wa, "sales", number)


def test_one_command_never_waits_behind_another_instances(
    host: HostProcess, wa: LoopbackService, number: str
) -> None:
    """Invariant 15: one instance's logout waits for an answer that does not come, and another goes through it all."""
    for name in ("sales", "support"):
        host.api.create(name)
    wa.connection(pair(host, wa, "sales", number)).black_hole()
    mark, api = host.log.mark(), host.api_with_own_client()
    slow = threading.Thread(target=api.logout, args=("sales",), daemon=True)
    slow.start()
    host.phase("sales", "stopping", after=mark)
    assert host.api.connect("support")["count"] == 1
    host.api.restart("support")
    host.api.logout("support")
    host.api.delete("support")
    assert slow.is_alive(), "the other's logout is still under way"
    slow.join(30)
    assert host.api.state("sales") == "close"


def test_a_forged_scan_is_refused_and_a_good_one_works(
    host: HostProcess, wa: LoopbackService, number: str
) -> None:
    host.api.create("sales")
    code = host.api.connect("sales")["code"]
    mark = host.log.mark()
    assert wa.phone(number).scan(code, forge="bad_signature").outcome == "refused"
    host.phase("sales", "awaiting_scan", after=mark)
    assert not host.log.records(event="phase", phase="open")
    fresh = host.api.connect("sales")["code"]
    assert wa.phone(number).scan(fresh).paired
    host.phase("sales", "open", after=mark)


def test_another_number_gets_a_pairing_code_of_its_own(
    host: HostProcess, wa: LoopbackService, numbers: Callable[[int], list[str]]
) -> None:
    wrong, right = numbers(2)
    host.api.create("sales")
    first = host.api.connect("sales", wrong)["pairingCode"]
    second = host.api.connect("sales", right)["pairingCode"]
    assert first != second
    assert wa.phone(right).enter_code(second).paired
    host.phase("sales", "open")


def test_each_batch_of_codes_has_a_pairing_code_again(
    host: HostProcess, wa: LoopbackService, number: str
) -> None:
    host.api.create("sales")
    mark = host.log.mark()
    first = host.api.connect("sales", number)["pairingCode"]
    wa.connections()[-1].drop()
    line = host.log.wait_for("disconnected", after=mark, instance="sales", action="next-batch")
    host.phase("sales", "awaiting_scan", after=mark + host.log.records_after(mark).index(line))
    second = host.api.connect("sales", number)["pairingCode"]
    assert second
    assert second != first
    assert wa.phone(number).enter_code(second).paired
    host.phase("sales", "open")


def test_a_pairing_code_that_is_refused_comes_with_the_reason(host: HostProcess) -> None:
    host.api.create("sales")
    answer = host.api.connect("sales", "0551199999")
    assert answer["pairingCode"] is None
    assert "must not start with 0" in answer["pairingError"]
    assert answer["code"]


def test_pairing_by_a_typed_code(host: HostProcess, wa: LoopbackService, number: str) -> None:
    host.api.create("sales")
    answer = host.api.connect("sales", number)
    assert answer["pairingCode"]
    assert wa.phone(number).enter_code(answer["pairingCode"]).paired
    host.phase("sales", "open", timeout=10)


def test_a_device_removed_on_the_phone_closes_the_instance(
    host: HostProcess, wa: LoopbackService, number: str
) -> None:
    host.api.create("sales")
    jid = pair(host, wa, "sales", number)
    instance = host.api.row("sales")["id"]
    session = host.data_dir / "sessions" / f"{instance}.db"
    assert session.exists()
    mark = host.log.mark()
    wa.phone(number).remove_device(jid)
    host.phase("sales", "closed", after=mark, timeout=2)
    row = host.api.row("sales")
    assert (row["connectionStatus"], row["disconnectionReasonCode"]) == ("close", 401)
    host.log.wait_for("credentials wiped", after=mark, instance="sales")
    assert not session.exists()
    answer = host.api.connect("sales")
    assert answer["count"] == 1
    assert answer["code"]


def test_two_connects_at_once_make_one_port(host: HostProcess, wa: LoopbackService) -> None:
    """Invariant 9."""
    host.api.create("sales")
    answers = []
    start = threading.Barrier(4)

    def connect() -> None:
        start.wait(10)
        answers.append(host.api.connect("sales")["code"])

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 4
    assert len(set(answers)) == 1
    assert len(host.log.records(event="phase", phase="starting", instance="sales")) == 1
    assert len(host.ports()) == 1


def test_restart_keeps_the_session(host: HostProcess, wa: LoopbackService, number: str) -> None:
    host.api.create("sales")
    jid = pair(host, wa, "sales", number)
    mark = host.log.mark()
    host.api.restart("sales")
    host.phase("sales", "open", after=mark)
    assert wa.devices(number) == [jid]


class TestDelete:
    """Invariant 10: a delete in any phase leaves no process, row or file."""

    @pytest.mark.parametrize(
        "phase",
        ["closed", "starting", "awaiting_scan", "pairing", "open", "recovering", "stopping", "failed"],
    )
    def test_in_phase(self, host: HostProcess, wa: LoopbackService, number: str, phase: str) -> None:
        host.api.create("sales")
        instance = host.api.row("sales")["id"]
        PHASES[phase](host, wa, number)
        assert host.api.row("sales")["phase"] == phase
        mark = host.log.mark()
        host.api.delete("sales")
        assert host.api.rows() == []
        host.api.call("GET", "/instance/connectionState/sales", expect=404)
        assert host.ports() == []
        assert list((host.data_dir / "sessions").glob(f"{instance}*")) == []
        assert host.rows("instance") == host.rows("history") == host.rows("cleanup") == 0
        assert not host.log.records_after(mark, event="phase", phase="open")
        host.api.create("sales")


def _closed(host: HostProcess, wa: LoopbackService, number: str) -> None:
    """As created."""


def _starting(host: HostProcess, wa: LoopbackService, number: str) -> None:
    wa.refuse_connections("hang", at="websocket")
    mark = host.log.mark()
    thread = threading.Thread(target=host.api.connect, args=("sales",), daemon=True)
    thread.start()
    host.phase("sales", "starting", after=mark)
    thread.join(15)


def _awaiting_scan(host: HostProcess, wa: LoopbackService, number: str) -> None:
    host.api.connect("sales")


def _open(host: HostProcess, wa: LoopbackService, number: str) -> None:
    pair(host, wa, "sales", number)


def _pairing(host: HostProcess, wa: LoopbackService, number: str) -> None:
    wa.script_pairing(outcome="silence")
    mark = host.log.mark()
    assert wa.phone(number).scan(host.api.connect("sales")["code"]).paired
    host.phase("sales", "pairing", after=mark)


def _stopping(host: HostProcess, wa: LoopbackService, number: str) -> None:
    pair(host, wa, "sales", number)
    wa.connection(number).black_hole()
    mark = host.log.mark()
    threading.Thread(
        target=host.api_with_own_client().client.delete, args=("/instance/logout/sales",)
    ).start()
    host.phase("sales", "stopping", after=mark)


def _failed(host: HostProcess, wa: LoopbackService, number: str) -> None:
    pair(host, wa, "sales", number)
    wa.refuse_logins(405)
    mark = host.log.mark()
    wa.connection(number).drop()
    host.phase("sales", "failed", after=mark)


def _recovering(host: HostProcess, wa: LoopbackService, number: str) -> None:
    pair(host, wa, "sales", number)
    mark = host.log.mark()
    wa.stop()
    host.phase("sales", "recovering", after=mark)


PHASES: dict[str, Callable[[HostProcess, LoopbackService, str], None]] = {
    "closed": _closed,
    "starting": _starting,
    "awaiting_scan": _awaiting_scan,
    "open": _open,
    "recovering": _recovering,
    "pairing": _pairing,
    "stopping": _stopping,
    "failed": _failed,
}

"""What a soak checks, each check on what it must find; and a short soak of a real host."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import soak_checks as checks
from bench.soak_faults import FAULTS
from bench.soak_model import Member, Model
from bench.soak_receiver import ReceiverProcess
from bench.soak_watch import Sample

ROOT = Path(__file__).parents[2]
WITHIN = 160.0

SAMPLE = Sample(
    at=0.0,
    life=1,
    open=6,
    host_rss=110.0,
    host_uss=90.0,
    host_dirty=90.0,
    forkserver_uss=8.0,
    port_uss=17.0,
    port_dirty=16.0,
    threads=55,
    descriptors=44,
    processes=7,
    ports=6,
    busy=0.3,
    cpu=0.02,
)


@pytest.mark.slow
def test_a_short_soak_with_every_kind_of_fault_finds_no_problem(tmp_path: Path) -> None:
    """All but the black hole that is waited out, which the client's pings take half a minute to find."""
    report = tmp_path / "report.json"
    options = [
        "--instances",
        "6",
        "--minutes",
        "0.2",
        "--faults-per-minute",
        "150",
        "--sample",
        "1",
        "--seed",
        "7",
    ]
    files = [
        "--directory",
        str(tmp_path / "soak"),
        "--json",
        str(report),
        "--csv",
        str(tmp_path / "samples.csv"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", *options, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    found = json.loads(report.read_text())
    kinds = {fault.kind for fault in FAULTS if not fault.takes} | {"host killed"}
    assert {kind for kind, times in found["tally"]["faults"].items() if times} >= kinds
    assert len(found["tally"]["back"]["host killed"]) > 0
    assert found["told"]["requests"] >= found["told"]["events"] > 50
    assert len((tmp_path / "samples.csv").read_text().splitlines()) > 5


class TestEvents:
    """The outbox of two instances, `a` with the events 1, 2 and 3, and `b` with 4."""

    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        file = tmp_path / "zapvisor.db"
        with sqlite3.connect(file) as store:
            store.execute("CREATE TABLE event (seq INTEGER, id TEXT, instance_name TEXT, event TEXT)")
            store.execute("CREATE TABLE delivery (id INTEGER, event_seq INTEGER, status TEXT)")
            for number, name in ((1, "a"), (2, "a"), (3, "a"), (4, "b")):
                store.execute("INSERT INTO event VALUES (?, ?, ?, 'x')", (number, str(number), name))
                store.execute("INSERT INTO delivery VALUES (?, ?, 'delivered')", (number, number))
        store.close()
        return file

    def found(self, database: Path, *ids: str | tuple[str, str], data: str = "same") -> list[str]:
        requests = []
        for each in ids:
            event_id, answer = (each, "200") if isinstance(each, str) else each
            name = "b" if event_id == "4" else "a"
            requests.append({"id": event_id, "instance": name, "event": "x", "data": data, "answer": answer})
        return checks.events(database, requests)[1]

    @pytest.mark.parametrize(
        "ids",
        [
            ("1", "2", "4", "3"),
            ("4", "1", ("2", "500"), ("2", "reset"), "2", "3"),
            ("1", "2", "1", "2", "3", "4"),
        ],
    )
    def test_retries_and_repetitions_in_order_are_right(self, database: Path, ids: Sequence[Any]) -> None:
        assert self.found(database, *ids) == []

    def test_a_missing_event_is_found(self, database: Path) -> None:
        assert self.found(database, "1", "2", ("3", "500"), "4") == ["a: event 3 (x) was never taken"]

    def test_an_event_before_the_one_before_was_taken_is_found(self, database: Path) -> None:
        [problem] = self.found(database, "1", ("2", "500"), "3", "2", "4")
        assert "3 (x) came 1 events too early" in problem

    def test_an_event_of_no_outbox_is_found(self, database: Path) -> None:
        [problem] = self.found(database, "1", "2", "3", "4", "5")
        assert "in no outbox" in problem

    def test_an_event_that_waits_is_found(self, database: Path) -> None:
        with sqlite3.connect(database) as store:
            store.execute("UPDATE delivery SET status = 'failed' WHERE id = 2")
        store.close()
        assert self.found(database, "1", "2", "3", "4") == ["a: event 2 (x) is failed"]

    def test_an_event_that_goes_nowhere_is_found(self, database: Path) -> None:
        with sqlite3.connect(database) as store:
            store.execute("INSERT INTO event VALUES (5, '5', 'b', 'x')")
        store.close()
        assert self.found(database, "1", "2", "3", "4") == ["event 5 was sent to nobody"]

    def test_other_data_under_the_same_id_are_found(self, database: Path) -> None:
        same = {"instance": "a", "event": "x", "answer": "200"}
        requests = [
            *({**same, "id": each, "data": "same"} for each in ("1", "2", "3")),
            {**same, "id": "1", "data": "other"},
            {**same, "id": "4", "instance": "b", "data": "same"},
        ]
        [problem] = checks.events(database, requests)[1]
        assert "1 (x) came with other data" in problem


class TestResources:
    def test_what_stays_the_same_does_not_leak(self) -> None:
        assert list(checks.leaks(SAMPLE, replace(SAMPLE, threads=50, descriptors=50))) == []

    @pytest.mark.parametrize("name", ["threads", "descriptors", "processes", "ports"])
    def test_more_than_before_is_a_leak(self, name: str) -> None:
        more: Any = {name: getattr(SAMPLE, name) + checks.TOLERANCE[name] + 1}
        [problem] = checks.leaks(SAMPLE, replace(SAMPLE, **more))
        assert name in problem

    def samples(self, rise: float) -> list[Sample]:
        """Ten minutes, of which memory rises so many MiB in the last two thirds, after a life that was larger."""
        before = [replace(SAMPLE, at=at, life=0, host_dirty=500.0) for at in range(0, 100, 10)]
        slope = rise / 400
        return before + [
            replace(SAMPLE, at=100.0 + at, host_dirty=90.0 + slope * at) for at in range(0, 600, 10)
        ]

    def test_memory_that_stays_is_flat(self) -> None:
        assert checks.trend(self.samples(0.0), "host_dirty").flat is True
        assert list(checks.memory(self.samples(4.0))) == []

    def test_memory_that_rises_is_found(self) -> None:
        [problem] = checks.memory(self.samples(40.0))
        assert problem.startswith("host_dirty rises")

    def test_a_few_samples_say_nothing(self) -> None:
        assert checks.trend(self.samples(100.0)[:15], "host_dirty").flat is None


class TestStates:
    @pytest.fixture
    def model(self) -> Model:
        return Model(
            [
                Member("a", "5511900000001", "5511900000001:1@s.whatsapp.net"),
                Member("b", "5511900000002", "5511900000002:1@s.whatsapp.net", wanted=False),
            ]
        )

    def rows(self, a: str = "open", b: str = "close") -> list[dict[str, str]]:
        return [
            {"name": "a", "connectionStatus": a, "ownerJid": "5511900000001@s.whatsapp.net"},
            {"name": "b", "connectionStatus": b},
        ]

    def test_what_is_as_it_should_be(self, model: Model) -> None:
        device = model["a"].device
        assert list(checks.states(model, self.rows(), [device], [device])) == []
        assert list(checks.devices(model, {"a": device})) == []

    def test_an_instance_that_is_called_open_without_a_link(self, model: Model) -> None:
        [problem] = checks.states(model, self.rows(), [model["a"].device], [])
        assert problem == "a: the service has 0 connections of it, and it should be open"

    def test_an_instance_that_was_logged_out_and_is_open(self, model: Model) -> None:
        links = [model["a"].device, model["b"].device]
        problems = list(checks.states(model, self.rows(b="open"), links, links))
        assert len(problems) == 2
        assert all(problem.startswith("b: ") for problem in problems)

    def test_another_device_than_was_scanned(self, model: Model) -> None:
        [problem] = checks.devices(model, {"a": "5511900000001:2@s.whatsapp.net"})
        assert "5511900000001:1@s.whatsapp.net was linked" in problem


class TestModel:
    """What the host logs, against what was done to it."""

    def problems(self, *records: dict[str, Any], **member: Any) -> list[str]:
        model = Model([Member("a", "5511900000001", "5511900000001:1@s.whatsapp.net", **member)])
        for record in records:
            model.heard({"instance": "a", "time": "2026-01-01T00:00:00.000Z", "level": "info", **record})
        return model.tally.problems

    def test_a_link_that_is_lost_without_a_fault_is_found(self) -> None:
        phases = [{"event": "phase", "phase": phase} for phase in ("open", "recovering", "open")]
        [problem] = self.problems(*phases)
        assert "nothing had been done to it" in problem
        assert self.problems(*phases, struck=1767225600.0 - 30) == []

    def test_a_code_that_nobody_asked_for_is_found(self) -> None:
        code = {"event": "phase", "phase": "awaiting_scan"}
        [problem] = self.problems(code)
        assert "nobody had logged it out" in problem
        assert self.problems(code, scanning=True) == []

    def test_credentials_that_are_deleted_without_a_logout_are_found(self) -> None:
        wiped = {"event": "credentials wiped"}
        [problem] = self.problems(wiped)
        assert "its credentials were deleted" in problem
        assert self.problems(wiped, logouts=1) == []

    def test_a_crash_that_is_no_killed_port_is_found(self) -> None:
        crash = {
            "event": "roster: child_terminated: crash: KeyError",
            "logger": "zapvisor.otp",
            "level": "error",
        }
        [problem] = self.problems(crash)
        assert "KeyError" in problem
        killed = {
            **crash,
            "event": "instances/a/connection: child_terminated: crash: PortDied: signal 9 (SIGKILL)",
        }
        assert self.problems(killed) == []


def test_the_receiver_writes_down_how_it_treated_each_request(tmp_path: Path) -> None:
    import httpx

    with ReceiverProcess(tmp_path / "requests.jsonl", seed=1, share=0.5) as receiver:
        answers = []
        for number in range(40):
            body = {"event": "connection.update", "instance": "a", "data": {"number": number}}
            try:
                answer = httpx.post(
                    receiver.url, json=body, headers={"X-Zapvisor-Event-Id": str(number)}, timeout=0.3
                )
                answers.append(str(answer.status_code))
            except httpx.ReadTimeout:
                answers.append("silence")
            except (httpx.ReadError, httpx.RemoteProtocolError):
                answers.append("reset")
        receiver.be_well()
        receiver.end()
        found = receiver.requests()
    assert [each["answer"] for each in found] == answers
    assert [each["id"] for each in found] == [str(number) for number in range(40)]
    assert set(answers) == {"200", "500", "429", "silence", "reset"}

"""What Prometheus is told: every name and label, counters that never fall, and gauges that wait for nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from actors.board import Board
from actors.context import InstanceContext
from actors.delivery import Delivered
from actors.disconnect import Disconnection
from actors.gateway import Gateway
from actors.metrics import Backlog, Metrics, Snapshot, exposition
from actors.metrics.counters import PATHS
from actors.services import Services
from actors.session import inputs as be
from actors.session.stats import Stats
from actors.store import Reader, Store, open_backend
from actors.store.condition import Trouble
from actors.views import Desired, InstanceView, Phase
from supervisor.config import Settings
from supervisor.otp import (
    ChildSpec,
    Lifecycle,
    Notice,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
    TreeNode,
)
from tests.actors.session.desk import DROP, Desk

NOW = 1_700_000_000.0

CONTRACT = {
    "zapvisor_instances": {"phase"},
    "zapvisor_disconnections_total": {"instance", "code", "action"},
    "zapvisor_recoveries_total": {"instance", "strategy", "result"},
    "zapvisor_recovery_seconds_bucket": {"le"},
    "zapvisor_recovery_seconds_count": set(),
    "zapvisor_recovery_seconds_sum": set(),
    "zapvisor_actor_restarts_total": {"path"},
    "zapvisor_mailbox_length": {"path"},
    "zapvisor_port_rss_bytes": {"instance"},
    "zapvisor_webhook_deliveries_total": {"result"},
    "zapvisor_webhook_lag_seconds_bucket": {"le"},
    "zapvisor_webhook_lag_seconds_count": set(),
    "zapvisor_webhook_lag_seconds_sum": set(),
    "zapvisor_outbox_pending": set(),
    "zapvisor_qr_codes_total": {"instance"},
    "zapvisor_api_request_seconds_bucket": {"le"},
    "zapvisor_api_request_seconds_count": set(),
    "zapvisor_api_request_seconds_sum": set(),
}
"""Names and labels on which dashboards of other people rest."""


class Samples(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """A scrape, parsed."""

    def of(self, name: str, **labels: str) -> float:
        return self[name, frozenset(labels.items())]

    def has(self, name: str, **labels: str) -> bool:
        return (name, frozenset(labels.items())) in self

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self}


def scrape(*sources: Any) -> Samples:
    body, _ = exposition(sources)
    return parse(body)


def parse(body: bytes) -> Samples:
    return Samples(
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    )


def view(name: str = "sales", phase: Phase = Phase.OPEN, **fields: Any) -> InstanceView:
    return InstanceView(f"id-{name}", name, phase, Desired.UP, True, "token", NOW, NOW, **fields)


def node(path: str, *children: TreeNode, mailbox: int = 0, state: str = "running") -> TreeNode:
    kind = "supervisor" if children else "worker"
    return TreeNode(path, path.rpartition("/")[2], kind, state, None, 0, 1.0, mailbox, None, children)


def snapshot(**fields: Any) -> Snapshot:
    given = {
        "views": [],
        "tree": node("root"),
        "fenced": 0,
        "backlog": Backlog(0, None),
        "cleanups": 0,
        "now": NOW,
    }
    return Snapshot(**{**given, **fields})


def restarted(path: str) -> Notice:
    id = path.rpartition("/")[2]
    return Notice(Lifecycle.STARTED, path, id, "x", None, None, NOW, restart=True)


def lived(metrics: Metrics, name: str = "sales") -> None:
    """A code, a scan, a drop that did not heal by itself, and a reconnect."""
    stats = metrics.stats(name)
    stats.code_shown()
    stats.disconnected(NOW, 428, "grace")
    stats.not_recovered("self")
    stats.recovered("reconnect", 0.7)
    metrics.noticed(restarted(f"instances/{name}/connection"))


def test_every_name_has_the_labels_that_it_is_known_by() -> None:
    metrics = Metrics()
    lived(metrics)
    found = scrape(metrics, snapshot(views=[view(rss_bytes=17_000_000)]))
    labels: dict[str, set[str]] = {}
    for name, pairs in found:
        labels.setdefault(name, set()).update(label for label, _ in pairs)
    assert {name: labels.get(name) for name in CONTRACT} == CONTRACT
    assert not [name for name in found.names if name.endswith("_created")]
    assert "process_resident_memory_bytes" in found.names


class TestCounters:
    def test_what_an_instance_went_through(self) -> None:
        metrics = Metrics()
        lived(metrics)
        found = scrape(metrics)
        assert found.of("zapvisor_disconnections_total", instance="sales", code="428", action="grace") == 1
        assert found.of("zapvisor_recoveries_total", instance="sales", strategy="self", result="failure") == 1
        assert (
            found.of("zapvisor_recoveries_total", instance="sales", strategy="reconnect", result="success")
            == 1
        )
        assert found.of("zapvisor_recovery_seconds_bucket", le="0.5") == 0
        assert found.of("zapvisor_recovery_seconds_bucket", le="1.0") == 1
        assert found.of("zapvisor_recovery_seconds_bucket", le="+Inf") == 1
        assert found.of("zapvisor_recovery_seconds_sum") == 0.7
        assert found.of("zapvisor_qr_codes_total", instance="sales") == 1
        assert found.of("zapvisor_actor_restarts_total", path="instances/sales/connection") == 1

    def test_a_first_start_is_no_restart(self) -> None:
        metrics = Metrics()
        metrics.noticed(Notice(Lifecycle.STARTED, "store", "store", "root", None, None, NOW))
        metrics.noticed(Notice(Lifecycle.EXITED, "store", "store", "root", None, None, NOW))
        assert not scrape(metrics).has("zapvisor_actor_restarts_total", path="store")

    def test_attempts_to_deliver(self) -> None:
        metrics = Metrics()
        for status in ("delivered", "delivered", "failed", "pending"):
            metrics.delivered(Delivered("sales", "connection.update", cast(Any, status), 0.2))
        found = scrape(metrics)
        counted = {
            result: found.of("zapvisor_webhook_deliveries_total", result=result)
            for result in ("delivered", "failed", "retried")
        }
        assert counted == {"delivered": 2, "failed": 1, "retried": 1}
        assert found.of("zapvisor_webhook_lag_seconds_count") == 2

    def test_a_clock_that_was_set_back_makes_no_negative_lag(self) -> None:
        metrics = Metrics()
        metrics.delivered(Delivered("sales", "connection.update", "delivered", -5.0))
        assert scrape(metrics).of("zapvisor_webhook_lag_seconds_sum") == 0

    def test_a_deleted_instance_leaves_no_series_and_takes_nothing_from_the_totals(self) -> None:
        metrics = Metrics()
        lived(metrics, "sales")
        lived(metrics, "sales-2")
        metrics.forget("sales")
        found = scrape(metrics)
        left = {value for _, labels in found for name, value in labels if name in ("instance", "path")}
        assert left == {"sales-2", "instances/sales-2/connection"}
        assert found.of("zapvisor_recovery_seconds_count") == 2

    def test_restarts_are_kept_for_so_many_actors_and_no_more(self) -> None:
        metrics = Metrics()
        metrics.noticed(restarted("delivery/lanes/first"))
        for number in range(PATHS):
            metrics.noticed(restarted(f"delivery/lanes/{number}"))
        found = scrape(metrics)
        assert sum(name == "zapvisor_actor_restarts_total" for name, _ in found) == PATHS
        assert not found.has("zapvisor_actor_restarts_total", path="delivery/lanes/first")

    def test_a_restarted_tree_goes_on_counting(self) -> None:
        services = Services(*[cast(Any, None)] * 5)
        InstanceContext("id", "sales", services).stats.disconnected(NOW, 428, "grace")
        InstanceContext("id", "sales", services).stats.disconnected(NOW, 428, "grace")
        found = scrape(services.metrics)
        assert found.of("zapvisor_disconnections_total", instance="sales", code="428", action="grace") == 2

    steps = st.tuples(
        st.sampled_from(["disconnected", "recovered", "not_recovered", "code", "restart", "new session"]),
        st.sampled_from(["sales", "support"]),
    )

    @settings(deadline=None, max_examples=50)
    @given(st.lists(steps | st.just(("forget", "gone")), max_size=30))
    def test_no_counter_ever_falls(self, steps: list[tuple[str, str]]) -> None:
        metrics = Metrics()
        lived(metrics, "gone")
        before = scrape(metrics)
        for step, name in steps:
            happen(metrics, step, name)
            now = scrape(metrics)
            fallen = {
                key
                for key, value in before.items()
                if key[0].endswith(("_total", "_count", "_bucket", "_sum"))
                and ("instance", "gone") not in key[1]
                and "gone" not in str(key[1])
                and now.get(key, -1.0) < value
            }
            assert not fallen
            before = now


def happen(metrics: Metrics, step: str, name: str) -> None:
    stats: Stats = metrics.stats(name)
    match step:
        case "disconnected":
            stats.disconnected(NOW, 428, "grace")
        case "recovered":
            stats.recovered("self", 0.3)
        case "not_recovered":
            stats.not_recovered("self")
        case "code":
            stats.code_shown()
        case "restart":
            metrics.noticed(restarted(f"instances/{name}/session"))
        case "forget":
            metrics.forget(name)


class TestWhatCountsAsARecovery:
    """Each attempt to bring a connection back has one outcome."""

    def counted(self, desk: Desk) -> dict[tuple[str, str], int]:
        return dict(desk.m.stats.recoveries)

    def test_the_client_heals_a_drop_by_itself(self) -> None:
        desk = Desk()
        desk.open()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.opened()
        assert self.counted(desk) == {("self", "success"): 1}

    def test_the_grace_passes_then_a_reconnect_helps(self) -> None:
        desk = Desk()
        desk.open()
        desk.input(be.LinkDown(desk.m.incarnation, DROP))
        desk.exited(DROP)
        desk.started()
        desk.opened()
        assert self.counted(desk) == {("self", "failure"): 1, ("reconnect", "success"): 1}

    def test_rungs_that_do_not_help(self) -> None:
        desk = Desk()
        desk.open()
        desk.exited(DROP)
        assert self.counted(desk) == {}, "nothing has been tried yet"
        desk.started()
        desk.exited(Disconnection(503, "refused"))
        desk.started()
        desk.exited(Disconnection(503, "refused"))
        assert self.counted(desk) == {("reconnect", "failure"): 1, ("clear-cache", "failure"): 1}

    def test_a_killed_port_is_restarted(self) -> None:
        desk = Desk()
        desk.open()
        desk.input(be.Crashed(desk.m.incarnation, "killed by signal 9"))
        desk.started()
        desk.opened()
        assert self.counted(desk) == {("restart", "success"): 1}


class TestGauges:
    def test_every_phase_is_there_even_with_no_instance_in_it(self) -> None:
        views = [view("a"), view("b"), view("c", Phase.FAILED)]
        found = scrape(snapshot(views=views))
        counts = {str(phase): found.of("zapvisor_instances", phase=str(phase)) for phase in Phase}
        assert counts == {str(phase): 0 for phase in Phase} | {"open": 2, "failed": 1}

    def test_memory_of_the_processes_that_run(self) -> None:
        found = scrape(snapshot(views=[view("a", rss_bytes=17_000_000), view("b", Phase.CLOSED)]))
        assert found.of("zapvisor_port_rss_bytes", instance="a") == 17_000_000
        assert not found.has("zapvisor_port_rss_bytes", instance="b")

    def test_mailboxes_of_the_actors_that_run(self) -> None:
        tree = node("root", node("store", mailbox=3), node("lanes", node("lanes/x", state="restarting")))
        found = scrape(snapshot(tree=tree))
        assert found.of("zapvisor_mailbox_length", path="store") == 3
        assert found.of("zapvisor_mailbox_length", path="root") == 0
        assert not found.has("zapvisor_mailbox_length", path="lanes/x")

    def test_the_outbox(self) -> None:
        found = scrape(snapshot(backlog=Backlog(7, NOW - 90)))
        assert found.of("zapvisor_outbox_pending") == 7
        assert found.of("zapvisor_outbox_oldest_seconds") == 90
        assert scrape(snapshot()).of("zapvisor_outbox_oldest_seconds") == 0

    def test_a_database_that_takes_nothing(self) -> None:
        assert scrape(snapshot(unwritable=42.5)).of("zapvisor_database_unwritable_seconds") == 42.5
        assert scrape(snapshot()).of("zapvisor_database_unwritable_seconds") == 0

    def test_what_could_not_be_read_is_absent_rather_than_wrong(self) -> None:
        found = scrape(snapshot(backlog=None, cleanups=None))
        assert not {name for name in found.names if "outbox" in name or "cleanups" in name}

    def test_what_is_still_to_be_deleted(self) -> None:
        assert scrape(snapshot(cleanups=2)).of("zapvisor_cleanups_pending") == 2
        assert scrape(snapshot(cleanups=0)).of("zapvisor_cleanups_pending") == 0


class TestScrape:
    """The gateway's side of `/metrics`."""

    @pytest.fixture
    def gateway(self, tmp_path: Path) -> Iterator[Gateway]:
        system = System()
        services = Services(system, Settings(), Board(), cast(Any, None), cast(Any, None))
        backend = open_backend("sqlite:///zapvisor.db", tmp_path)
        self.reader = Reader(backend)
        system.start(Supervisor, SupervisorFlags(), [ChildSpec("store", Start(Store, backend))])
        self.condition = services.condition
        yield Gateway(services, self.reader)
        self.reader.close()
        system.shutdown()

    def test_it_answers_when_the_database_cannot_be_read(self, gateway: Gateway) -> None:
        self.reader.close()
        gateway.answered(0.25)
        body, media_type = gateway.metrics("", timeout=5.0)
        found = parse(body)
        assert media_type.startswith("text/plain; version=0.0.4")
        assert found.of("zapvisor_mailbox_length", path="root") == 0
        assert found.of("zapvisor_api_request_seconds_count") == 1
        assert "zapvisor_outbox_pending" not in found.names

    def test_it_says_for_how_long_the_database_has_taken_nothing(self, gateway: Gateway) -> None:
        self.condition.trouble = Trouble(time.monotonic() - 60, "database is locked")
        found = parse(gateway.metrics("", timeout=5.0)[0])
        assert found.of("zapvisor_database_unwritable_seconds") >= 60

    def test_it_says_what_is_still_to_be_deleted(self, gateway: Gateway) -> None:
        assert parse(gateway.metrics("", timeout=5.0)[0]).of("zapvisor_cleanups_pending") == 0

    def test_who_takes_openmetrics_gets_it(self, gateway: Gateway) -> None:
        body, media_type = gateway.metrics("application/openmetrics-text; version=1.0.0", timeout=5.0)
        assert media_type.startswith("application/openmetrics-text; version=1.0.0")
        parse_openmetrics: Any = openmetrics.text_string_to_metric_families
        families = {family.name for family in parse_openmetrics(body.decode())}
        assert {"zapvisor_disconnections", "zapvisor_recovery_seconds", "zapvisor_outbox_pending"} <= families

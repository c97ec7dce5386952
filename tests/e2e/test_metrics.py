"""`/metrics` of a real host, as Prometheus asks for it."""

from __future__ import annotations

import os
import signal

import httpx

from tests.actors.test_metrics import CONTRACT, Samples, parse
from tests.e2e.conftest import StartHost, pair
from tests.e2e.harness import KEY, HostProcess, Receiver
from tests.loopback.service import LoopbackService


def scrape(host: HostProcess) -> Samples:
    answer = host.api.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return parse(answer.content)


def test_a_life_as_prometheus_sees_it(start_host: StartHost, wa: LoopbackService, number: str) -> None:
    with Receiver() as receiver:
        host = start_host({"webhook": {"url": receiver.url, "events": "connection.update"}})
        host.api.create("sales")
        jid = pair(host, wa, "sales", number)
        receiver.wait_for("connection.update", lambda body: body["data"]["state"] == "open")
        mark = host.log.mark()
        os.kill(host.port_pid("sales"), signal.SIGKILL)
        host.phase("sales", "open", after=mark)
        mark = host.log.mark()
        wa.connection(jid).drop()
        host.log.wait_for("disconnected", after=mark, instance="sales", code=428)
        host.phase("sales", "open", after=mark)
        found = scrape(host)

        assert set(CONTRACT) <= found.names
        assert found.of("zapvisor_instances", phase="open") == 1
        assert found.of("zapvisor_qr_codes_total", instance="sales") >= 1
        lost = {"instance": "sales", "code": "428"}
        assert found.of("zapvisor_disconnections_total", **lost, action="restart") == 1
        assert found.of("zapvisor_disconnections_total", **lost, action="grace") == 1
        recovered = {"instance": "sales", "result": "success"}
        assert found.of("zapvisor_recoveries_total", **recovered, strategy="restart") == 1
        assert found.of("zapvisor_recovery_seconds_count") == 2
        assert found.of("zapvisor_actor_restarts_total", path="instances/sales/connection") == 1
        assert found.of("zapvisor_mailbox_length", path="instances/sales/session") >= 0
        assert found.of("zapvisor_port_rss_bytes", instance="sales") > 1_000_000
        assert found.of("zapvisor_webhook_deliveries_total", result="delivered") >= 3
        assert found.of("zapvisor_webhook_lag_seconds_count") >= 3
        assert found.of("zapvisor_outbox_pending") >= 0
        assert found.of("zapvisor_api_request_seconds_count") == 2, "create and connect"

        host.api.delete("sales")
        left = scrape(host)
        assert not [key for key in left if "sales" in str(key)], "a deleted instance leaves no series"
        assert left.of("zapvisor_recovery_seconds_count") == 2, "a total does not fall"


def test_who_may_scrape(host: HostProcess) -> None:
    token = host.api.create("sales")["hash"]
    scraper = httpx.Client(base_url=host.url, timeout=10.0)
    with scraper:
        assert scraper.get("/metrics").status_code == 401
        assert scraper.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 401
        assert scraper.get("/metrics", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        assert scraper.get("/metrics", headers={"apikey": KEY}).status_code == 200

"""What an instance says of itself, and what is kept of its past."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

from tests.e2e.conftest import pair
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService


def test_the_report_of_an_open_instance(host: HostProcess, wa: LoopbackService, number: str) -> None:
    host.api.create("sales")
    pair(host, wa, "sales", number)
    mark = host.log.mark()
    wa.connection(number).drop()
    host.phase("sales", "open", after=mark)
    report = host.api.call("GET", "/instance/diagnose/sales")
    assert report["instanceName"] == "sales"
    assert report["currentState"]["connectionStatus"] == "open"
    assert report["currentState"]["clientReady"] is True
    assert report["session"] == {
        "hasAuthState": True,
        "hasCredentials": True,
        "hasKeys": True,
        "sessionExists": True,
    }
    assert report["network"].keys() >= {"canReachWhatsApp", "dnsResolution", "proxy"}
    assert report["metrics"]["totalDisconnections"] == 1
    assert report["metrics"]["lastDisconnection"]["code"] == 428
    assert report["metrics"]["reconnectionRate"] == 1.0
    assert report["port"]["pid"] == host.port_pid("sales")
    assert report["network"]["canReachWhatsApp"] is True, "the proxy of the environment is the way to it"
    assert report["network"]["dnsResolution"] is True, "the name of the proxy"
    assert report["network"]["proxy"] == wa.proxy_url


def test_the_tree_names_the_process_of_a_connection(
    host: HostProcess, wa: LoopbackService, number: str
) -> None:
    host.api.create("sales")
    pair(host, wa, "sales", number)
    mark, first = host.log.mark(), host.port_pid("sales")
    assert owned(host) == {"instances/sales/connection": first}
    os.kill(first, signal.SIGKILL)
    host.phase("sales", "open", after=mark)
    assert owned(host) == {"instances/sales/connection": host.port_pid("sales")}
    host.api.logout("sales")
    assert owned(host) == {}


def owned(host: HostProcess) -> dict[str, int]:
    """Which process each actor of the tree owns, by its path."""

    def walk(node: Any) -> Iterator[Any]:
        yield node
        for child in node["children"]:
            yield from walk(child)

    return {
        node["path"]: node["pid"] for node in walk(host.api.call("GET", "/supervisor/tree")) if node["pid"]
    }


def test_the_history_is_paged_newest_first(host: HostProcess, wa: LoopbackService, number: str) -> None:
    host.api.create("sales")
    pair(host, wa, "sales", number)
    for _ in range(3):
        mark = host.log.mark()
        wa.connection(number).drop()
        host.phase("sales", "open", after=mark)
    first = host.api.call("GET", "/instance/history/sales", params={"limit": 4})
    rest = host.api.call("GET", "/instance/history/sales", params={"limit": 4, "before": first["next"]})
    entries = first["history"] + rest["history"]
    assert [entry["kind"] for entry in entries] == ["recovery", "disconnection"] * 3
    assert rest["next"] is None
    ids = [entry["id"] for entry in entries]
    assert ids == sorted(ids, reverse=True)


def test_an_unreachable_proxy_is_told_apart(host: HostProcess, wa: LoopbackService) -> None:
    host.api.create("sales", proxyHost="proxy.invalid", proxyPort="3128", proxyProtocol="http")
    mark = host.log.mark()
    host.api.connect("sales")
    host.log.wait_for("disconnected", after=mark, instance="sales", code=503, cause="proxy")
    report = host.api.call("GET", "/instance/diagnose/sales")
    assert report["network"]["dnsResolution"] is False
    assert report["network"]["canReachWhatsApp"] is False
    assert report["network"]["proxy"] == "http://proxy.invalid:3128"


def test_a_part_of_the_tree_is_restarted_on_request(
    host: HostProcess, wa: LoopbackService, number: str
) -> None:
    host.api.create("sales")
    pair(host, wa, "sales", number)
    for path in ("instances/sales", "instances/sales/connection", "instances/sales/session"):
        mark = host.log.mark()
        host.api.call("POST", "/supervisor/restart", json={"path": path})
        host.phase("sales", "open", after=mark)
    host.api.call("POST", "/supervisor/restart", json={"path": "instances/nobody"}, expect=404)

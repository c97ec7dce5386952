"""A request's id stands in every line that its work leaves behind, from the API to the port's process and back."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import pair
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService


def call(host: HostProcess, id: str, method: str, path: str, **options: Any) -> Any:
    answer = host.api.client.request(method, path, headers={"X-Request-Id": id}, **options)
    assert answer.status_code < 300, answer.text
    assert answer.headers["X-Request-Id"] == id
    return answer.json()


def lines(host: HostProcess, id: str) -> list[tuple[str, str]]:
    """What was logged for a request: event, and what tells lines of the same event apart."""
    told = ("command", "phase", "path")
    return [
        (record["event"], next((str(record[key]) for key in told if key in record), ""))
        for record in host.log.records(request_id=id)
    ]


def test_connect(host: HostProcess, wa: LoopbackService) -> None:
    call(host, "make", "POST", "/instance/create", json={"instanceName": "sales"})
    assert ("instance sales is created", "") in lines(host, "make")
    call(host, "link", "GET", "/instance/connect/sales")
    found = lines(host, "link")
    assert found[0] == ("phase", "starting")
    assert {("port", ""), ("command", "Connect"), ("request", "/instance/connect/sales")} >= {*found[1:]}
    assert ("command", "Connect") in found


def test_commands_to_the_port(host: HostProcess, wa: LoopbackService, number: str) -> None:
    host.api.create("sales")
    host.api.connect("sales")
    call(host, "code", "GET", "/instance/connect/sales", params={"number": number})
    host.log.wait_for("port command", request_id="code", command="pair_phone")
    host.log.wait_for("command", request_id="code", command="Connect")
    pair(host, wa, "sales", number)
    mark = host.log.mark()
    call(host, "end", "DELETE", "/instance/logout/sales")
    host.log.wait_for("port command", request_id="end", command="logout")
    ends = [line for line in lines(host, "end") if line[0] in ("phase", "command")]
    assert ends == [("phase", "stopping"), ("phase", "closed"), ("command", "Logout")]
    call(host, "gone", "DELETE", "/instance/delete/sales")
    assert ("instance sales is deleted", "") in lines(host, "gone")
    assert {record.get("request_id") for record in host.log.records_after(mark, event="phase")} <= {
        "end",
        "gone",
    }


def test_what_happens_by_itself_has_no_request(host: HostProcess, wa: LoopbackService, number: str) -> None:
    host.api.create("sales")
    jid = pair(host, wa, "sales", number)
    host.log.wait_for("port command", instance="sales", command="profile")
    mark = host.log.mark()
    wa.connection(jid).drop()
    host.phase("sales", "open", after=mark)
    assert not [record for record in host.log.records_after(mark) if "request_id" in record]

"""The OpenAPI document against a running host with real instances: what it answers is what the document says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.e2e.conftest import pair
from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService

OPEN, WAITING = "open-one", "waiting-one"
NUMBER = "5511977100001"
EXAMPLES = 8
HEADERS = {"apikey": KEY}
ENDLESS = "/events"
UNSUCCESSFUL = {
    "POST /instance/setPresence/{instanceName}",  # needs the account's name, which the phone tells when it likes
    "POST /supervisor/restart",  # of a path that is made up
    "GET /chatwoot/find/{instanceName}",  # not enabled
    "POST /chatwoot/set/{instanceName}",
    "DELETE /instance/logout/{instanceName}",  # comes after the one by POST
}
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]

ORDER = (
    "GET",
    "/instance/setPresence",
    "/settings",
    "/webhook",
    "/instance",
    "/chatwoot",
    "/proxy",
    "DELETE",
)
"""What only reads comes first, what leaves an instance without a session, a way out or itself comes last."""


@pytest.fixture(scope="module")
def lived_in(service: LoopbackService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    """A host with an open instance and with one that waits for a scan."""
    host = HostProcess(tmp_path_factory.mktemp("host"), service.environment()).start()
    host.api.create(OPEN)
    pair(host, service, OPEN, NUMBER)
    host.api.create(WAITING)
    assert host.api.connect(WAITING)["code"]
    yield host
    assert host.stop() == 0


@pytest.fixture(scope="module")
def schema(lived_in: HostProcess) -> Any:
    return schemathesis.openapi.from_url(f"{lived_in.url}/openapi/openapi.json", headers=HEADERS)


def rank(operation: Any) -> int:
    if operation.method.upper() in ORDER:
        return ORDER.index(operation.method.upper())
    return next((at for at, prefix in enumerate(ORDER) if operation.path.startswith(prefix)), 1)


def tame(case: Any, name: str) -> Any:
    """The request about an instance that is there, and without what would keep this test waiting."""
    if case.path_parameters:
        case.path_parameters["instanceName"] = name
    if case.operation.path == "/instance/create" and isinstance(case.body, dict):
        case.body["qrcode"] = False
    return case


def test_a_running_host_does_what_the_document_says(lived_in: HostProcess, schema: Any) -> None:
    operations = sorted((found.ok() for found in schema.get_all_operations()), key=rank)
    asked = {(operation.method.upper(), operation.path) for operation in operations}
    assert {("GET", "/metrics"), ("GET", ENDLESS), ("DELETE", "/instance/delete/{instanceName}")} <= asked
    answers: dict[str, set[int]] = {}
    for operation in operations:
        if operation.path == ENDLESS:
            continue

        @seed(0)
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), name=st.sampled_from([OPEN, WAITING]))
        def conforms(case: Any, name: str) -> None:
            answer = tame(case, name).call(headers=HEADERS)
            answers.setdefault(case.operation.label, set()).add(answer.status_code)
            assert answer.status_code != 500, (case.operation.label, answer.text)
            case.validate_response(answer, checks=CHECKS)

        conforms()
    assert {label for label, codes in answers.items() if not codes & {200, 201}} <= UNSUCCESSFUL
    assert lived_in.log.records(level="error") == []


def test_the_address_told_is_the_one_listened_on_although_the_ini_leaves_the_port_open(
    lived_in: HostProcess, schema: Any
) -> None:
    assert [server["url"] for server in schema.raw_schema["servers"]] == ["/", lived_in.url]
    welcome = httpx.get(lived_in.url, headers={"Accept": "application/json"}, timeout=20.0).json()
    assert welcome["documentation"] == f"{lived_in.url}/openapi"


@pytest.mark.parametrize(
    "query", ["", "?instance=open-one", "?changes=only", "?event=CALL&changes=yes", "?instance=none"]
)
def test_the_endless_answer_begins_as_the_document_says(
    lived_in: HostProcess, schema: Any, query: str
) -> None:
    documented = schema[ENDLESS]["GET"].definition.raw["responses"]
    with httpx.stream("GET", f"{lived_in.url}{ENDLESS}{query}", headers=HEADERS, timeout=20.0) as answer:
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in documented[str(answer.status_code)]["content"]
        assert next(answer.iter_bytes())


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text; version=1.0.0"])
def test_metrics_come_in_a_form_that_the_document_names(
    lived_in: HostProcess, schema: Any, accept: str
) -> None:
    documented = schema["/metrics"]["GET"].definition.raw["responses"]
    answer = httpx.get(f"{lived_in.url}/metrics", headers={**HEADERS, "Accept": accept}, timeout=20.0)
    assert answer.headers["content-type"].partition(";")[0] in documented["200"]["content"]
    assert "zapvisor_instances" in answer.text

"""The OpenAPI document: what it says, and that the API does what it says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api import create_app
from api.gateway import Gateway, Phase, QrView
from tests.api.conftest import HOST_KEY, SETTINGS, Api, build
from tests.api.fakes import EPOCH, FakeClock, FakeDelivery, FakeEntry, MemoryGateway
from tests.api.test_auth import PUBLIC, ROUTES


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    api = build()
    found: dict[str, Any] = api.ok(api.get("/openapi/openapi.json"))
    return found


def test_it_is_openapi_3_1_of_this_version(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == SETTINGS.version


def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    registered = {
        (method, rule.replace("<", "{").replace(">", "}"))
        for method, rule in ROUTES
        if not rule.startswith("/openapi")
    }
    assert documented == registered


def test_every_operation_says_who_may_use_it_and_what_it_answers(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert bool(operation.get("security")) == (path not in PUBLIC), where
            assert any(code.startswith("2") for code in operation["responses"]), where
            if path not in PUBLIC:
                assert "401" in operation["responses"], where
            if "requestBody" in operation:
                assert {"400", "413", "415"} <= operation["responses"].keys(), where


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(ids) == len(set(ids))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def references(value: Any) -> itertools.chain[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return itertools.chain(own, *(references(inner) for inner in value.values()))
        return (
            itertools.chain(*(references(inner) for inner in value))
            if isinstance(value, list)
            else itertools.chain()
        )

    for reference in references(document):
        assert reference.split("/")[-1] in document["components"]["schemas"], reference


def test_it_holds_no_key(api: Api) -> None:
    assert HOST_KEY not in api.get("/openapi/openapi.json").get_data(as_text=True)


@pytest.mark.parametrize("path", ["/openapi", "/openapi/"])
def test_openapi_leads_to_swagger_ui(api: Api, path: str) -> None:
    response = api.get(path)
    assert response.status_code == 302
    assert response.headers["Location"] == "/openapi/swagger"


def test_swagger_ui_is_served_from_the_package(api: Api) -> None:
    page = api.get("/openapi/swagger").get_data(as_text=True)
    assert "https://" not in page
    for asset in ("js/swagger-ui-bundle.js", "js/swagger-ui-standalone-preset.js", "css/swagger-ui.css"):
        assert asset in page
        assert api.get(f"/openapi/swagger/{asset}").status_code == 200


class Core:
    """A tree that knows neither of deliveries nor how to examine itself."""

    def __init__(self) -> None:
        self._tree = MemoryGateway()
        for name in Gateway.__protocol_attrs__ if hasattr(Gateway, "__protocol_attrs__") else dir(Gateway):
            if not name.startswith("_"):
                setattr(self, name, getattr(self._tree, name))


def test_what_the_tree_cannot_do_is_no_route() -> None:
    app = create_app(Core(), SETTINGS, clock=FakeClock())  # type: ignore[arg-type]
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert "/instance/history/<instanceName>" in rules
    assert not {"/webhook/deliveries", "/webhook/replay", "/instance/diagnose/<instanceName>"} & rules


# What it says is what happens


def _lived_in() -> MemoryGateway:
    gateway = MemoryGateway()
    gateway.add("sales", phase=Phase.OPEN, logged_in=True, qr=QrView("2@a,b,c,d", "ABCD1234", 1, EPOCH))
    gateway.add(
        "support",
        settings=dict.fromkeys(("rejectCall", "groupsIgnore"), True),
        webhook={"enabled": True, "url": "http://h", "events": ["CALL"]},
        proxy={"enabled": True, "host": "p", "port": "1", "protocol": "http"},
        chatwoot={"enabled": True, "accountId": "1"},
        disconnection_code=401,
        disconnection_object={"cause": "x"},
        disconnection_at=EPOCH,
    )
    gateway.outbox = [FakeDelivery("e", "sales", delivered_at=EPOCH)]
    gateway.entries = [FakeEntry(2), FakeEntry(1, code=None, duration_s=None)]
    return gateway


GATEWAY = _lived_in()
APP = create_app(GATEWAY, SETTINGS, clock=FakeClock())
schema = schemathesis.openapi.from_wsgi("/openapi/openapi.json", APP, headers={"apikey": HOST_KEY})


@schema.parametrize()
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
def test_the_api_does_what_the_document_says(case: schemathesis.Case[Any]) -> None:
    GATEWAY.__dict__.clear()
    GATEWAY.__dict__.update(_lived_in().__dict__)
    if case.path_parameters:
        case.path_parameters["instanceName"] = "support" if case.operation.method == "get" else "sales"
    response = case.call(headers={"apikey": HOST_KEY})
    case.validate_response(
        response,
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
        ],
    )

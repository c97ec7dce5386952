"""The API over a tree in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api import ApiSettings, create_app
from tests.api.fakes import FakeClock, MemoryGateway

HOST_KEY = "host-key-0123456789"
SETTINGS = ApiSettings(api_key=HOST_KEY, chatwoot_enabled=True)


@dataclass
class Api:
    """A client with a key, and what is behind the API."""

    client: FlaskClient
    gateway: MemoryGateway
    clock: FakeClock

    def call(self, method: str, path: str, *, key: str | None = HOST_KEY, **kwargs: Any) -> TestResponse:
        headers = {**({"apikey": key} if key else {}), **kwargs.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.call("GET", path, **kwargs)

    def post(self, path: str, body: object = None, **kwargs: Any) -> TestResponse:
        return self.call("POST", path, **kwargs | ({} if body is None else {"json": body}))

    def ok(self, response: TestResponse, status: int = 200) -> Any:
        assert response.status_code == status, response.get_data(as_text=True)
        return response.get_json()


def build(settings: ApiSettings = SETTINGS, gateway: Any = None) -> Api:
    gateway = gateway or MemoryGateway()
    clock = FakeClock()
    return Api(create_app(gateway, settings, clock=clock).test_client(), gateway, clock)


@pytest.fixture(scope="session")
def shared() -> Api:
    """Making the application takes longer than most tests, so they share one."""
    return build()


@pytest.fixture
def api(shared: Api) -> Api:
    """An empty tree behind an application that other tests used; their wrong keys are forgotten by now."""
    shared.gateway.__dict__.clear()
    shared.gateway.__dict__.update(MemoryGateway().__dict__)
    shared.clock.now += 10 * SETTINGS.failed_window
    return shared


def message_of(response: TestResponse, status: int) -> str:
    """The messages of an error in the one form that errors have."""
    body = response.get_json()
    assert response.status_code == status, body
    assert response.mimetype == "application/json"
    assert set(body) == {"status", "error", "response"}
    assert body["status"] == status
    assert set(body["response"]) == {"message"}
    assert body["response"]["message"]
    return "\n".join(body["response"]["message"])

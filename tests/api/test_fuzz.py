"""Whatever is sent: no 5xx, no other form of error, and refused input changes nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from api.gateway import Phase, QrView
from api.schemas.config import ChatwootBody, ProxyBody, SettingsBody
from api.schemas.instances import ConnectBody, CreateBody, PresenceBody
from api.schemas.operations import ReplayBody, RestartPathBody
from api.schemas.webhook import WebhookBody, WebhookFields
from tests.api.conftest import Api, message_of
from tests.api.fakes import EPOCH, MemoryGateway

BODIES: dict[str, type[BaseModel]] = {
    "/instance/create": CreateBody,
    "/instance/connect/sales": ConnectBody,
    "/instance/setPresence/sales": PresenceBody,
    "/webhook/set/sales": WebhookBody,
    "/settings/set/sales": SettingsBody,
    "/proxy/set/sales": ProxyBody,
    "/chatwoot/set/sales": ChatwootBody,
    "/webhook/replay": ReplayBody,
    "/supervisor/restart": RestartPathBody,
}
FIELDS = sorted(
    {*(name for model in BODIES.values() for name in model.model_fields), *WebhookFields.model_fields}
)

TEXTS = st.one_of(
    st.text(max_size=20),
    st.text(alphabet=st.characters(), max_size=5),
    st.sampled_from(
        ["", "true", "a", "5511999999999", "http://h/", "https://u:p@h:1/?q#f", "CALL", "\x00", "a" * 5000]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner, max_size=6)
    ),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=12)

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def fresh(shared: Api) -> Api:
    shared.gateway.__dict__.clear()
    shared.gateway.__dict__.update(MemoryGateway().__dict__)
    shared.gateway.add("sales", phase=Phase.OPEN, logged_in=True, qr=QrView("2@a,b,c,d", None, 1, EPOCH))
    return shared


def check(api: Api, response: Any) -> None:
    status = response.status_code
    assert status < 500, response.get_data(as_text=True)
    if status >= 400:
        assert len(message_of(response, status)) < 20_000


@FUZZ
@given(path=st.sampled_from(sorted(BODIES)), body=OBJECTS | JSON)
def test_any_json(shared: Api, path: str, body: object) -> None:
    api = fresh(shared)
    response = api.call("POST", path, data=json.dumps(body), content_type="application/json")
    check(api, response)
    if response.status_code == 400 and path not in ("/supervisor/restart",):
        assert not api.gateway.sent or "phase" in message_of(response, 400)


@FUZZ
@given(path=st.sampled_from(sorted(BODIES)), body=st.binary(max_size=200))
def test_any_bytes(shared: Api, path: str, body: bytes) -> None:
    api = fresh(shared)
    check(api, api.call("POST", path, data=body, content_type="application/json"))


@FUZZ
@given(
    rule=st.sampled_from(
        [
            "/instance/connectionState/{}",
            "/instance/connect/{}",
            "/instance/qr/{}.png",
            "/instance/history/{}",
            "/webhook/find/{}",
            "/proxy/find/{}",
            "/{}",
            "/instance/{}",
        ]
    ),
    name=TEXTS,
)
def test_any_name(shared: Api, rule: str, name: str) -> None:
    api = fresh(shared)
    path = rule.format(quote(name.encode("utf-8", "surrogatepass"), safe=""))
    response = api.get(path)
    check(api, response)


@FUZZ
@given(
    path=st.sampled_from(
        [
            "/instance/fetchInstances",
            "/instance/history/sales",
            "/instance/connect/sales",
            "/webhook/deliveries",
        ]
    ),
    query=st.dictionaries(
        st.sampled_from(
            ["instanceName", "instanceId", "number", "limit", "before", "cursor", "status", "instance"]
        ),
        TEXTS | st.integers().map(str),
        max_size=4,
    ),
)
def test_any_query(shared: Api, path: str, query: dict[str, str]) -> None:
    api = fresh(shared)
    encoded = "&".join(
        f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}" for name, value in query.items()
    )
    check(api, api.get(f"{path}?{encoded}"))


@FUZZ
@given(
    key=st.text(
        alphabet=st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=50
    )
)
def test_any_key(shared: Api, key: str) -> None:
    api = fresh(shared)
    api.clock.now += 1000
    for headers in ({"apikey": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": key}):
        response = api.call("GET", "/instance/fetchInstances", key=None, headers=headers)
        assert response.status_code == 401
        check(api, response)


@FUZZ
@given(name=TEXTS)
def test_a_name_is_allowed_or_told_why_not(shared: Api, name: str) -> None:
    """The rule: a letter or digit of ASCII, then up to 63 of letters, digits, `_`, `.` and `-`."""
    api = fresh(shared)
    response = api.call(
        "POST", "/instance/create", data=json.dumps({"instanceName": name}), content_type="application/json"
    )
    right = (
        0 < len(name) <= 64
        and name.isascii()
        and name[0].isalnum()
        and all(char.isalnum() or char in "_.-" for char in name)
    )
    if right:
        assert response.status_code == (403 if name == "sales" else 201)
    else:
        assert '"instanceName"' in message_of(response, 400)

"""Who may do what: every route, every sort of key."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest
from flask_openapi3.openapi import OpenAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from api import ApiSettings, create_app
from api.attempts import MAX_ADDRESSES, MIN_KNOWN_KEYS, FailedAttempts, client_address
from api.auth import Access, Guard
from api.routing import Routes
from tests.api.conftest import HOST_KEY, SETTINGS, Api, build, message_of
from tests.api.fakes import FakeClock, MemoryGateway

PUBLIC = {"/healthz", "/readyz"}
HOST_ONLY = {"/instance/create", "/supervisor/tree", "/supervisor/restart"}
SCOPED = {"/instance/fetchInstances", "/webhook/deliveries", "/webhook/replay"}


def _routes() -> list[tuple[str, str]]:
    app = create_app(MemoryGateway(), SETTINGS, clock=FakeClock())
    return sorted(
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


ROUTES = _routes()
INSTANCE_ROUTES = [route for route in ROUTES if "<instanceName>" in route[1]]


def at(rule: str, name: str = "sales") -> str:
    return re.sub(r"<[^>]*filename>", "js/swagger-ui-bundle.js", rule).replace("<instanceName>", name)


def test_there_are_the_routes_of_the_contract() -> None:
    instance = "/instance/{}/<instanceName>"
    expected = {
        ("POST", "/instance/create"),
        ("GET", instance.format("connect")),
        ("POST", instance.format("connect")),
        ("GET", instance.format("connectionState")),
        ("GET", "/instance/fetchInstances"),
        ("POST", instance.format("restart")),
        ("PUT", instance.format("restart")),
        ("POST", instance.format("setPresence")),
        ("DELETE", instance.format("logout")),
        ("POST", instance.format("logout")),
        ("DELETE", instance.format("delete")),
        ("POST", instance.format("forceReconnection")),
        ("POST", instance.format("reset")),
        ("GET", instance.format("diagnose")),
        ("GET", instance.format("history")),
        ("GET", instance.format("qr") + ".png"),
        ("GET", instance.format("qr") + ".svg"),
        *((method, f"/{group}/{verb}/<instanceName>") for group in ("webhook", "settings", "proxy", "chatwoot")
          for method, verb in (("POST", "set"), ("GET", "find"))),
        ("GET", "/webhook/deliveries"),
        ("POST", "/webhook/replay"),
        ("GET", "/supervisor/tree"),
        ("POST", "/supervisor/restart"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/openapi/openapi.json"),
    }  # fmt: skip
    assert expected <= set(ROUTES)


@pytest.mark.parametrize(("method", "rule"), ROUTES)
@pytest.mark.parametrize(
    "key", [None, "wrong", "token-of-sale", HOST_KEY + "x", HOST_KEY[:-1], "ключ".encode().decode("latin-1")]
)
def test_without_a_right_key_only_health_answers(api: Api, method: str, rule: str, key: str | None) -> None:
    api.gateway.add("sales")
    response = api.call(method, at(rule), key=key)
    if rule in PUBLIC:
        assert response.status_code == 200
    else:
        message_of(response, 401)
        assert response.headers["WWW-Authenticate"]
    assert not api.gateway.sent


@pytest.mark.parametrize(("method", "rule"), ROUTES)
def test_the_host_key_opens_every_route(api: Api, method: str, rule: str) -> None:
    api.gateway.add("sales")
    assert api.call(method, at(rule)).status_code not in (401, 429)
    assert (
        api.call(method, at(rule), key=None, headers={"Authorization": f"Bearer {HOST_KEY}"}).status_code
        != 401
    )


@pytest.mark.parametrize(("method", "rule"), ROUTES)
def test_an_instances_token_opens_its_own_routes_only(api: Api, method: str, rule: str) -> None:
    api.gateway.add("sales")
    api.gateway.add("support")
    status = api.call(method, at(rule), key="token-of-sales").status_code
    if "<instanceName>" in rule or rule in SCOPED | PUBLIC:
        assert status != 401
    else:
        assert status == 401


@pytest.mark.parametrize(("method", "rule"), INSTANCE_ROUTES)
@pytest.mark.parametrize("name", ["support", "unknown"])
def test_an_instances_token_is_wrong_for_every_other_instance(
    api: Api, method: str, rule: str, name: str
) -> None:
    api.gateway.add("sales")
    api.gateway.add("support")
    message_of(api.call(method, at(rule, name), key="token-of-sales"), 401)
    assert not api.gateway.sent


@pytest.mark.parametrize(("method", "rule"), INSTANCE_ROUTES)
def test_an_empty_token_opens_nothing(api: Api, method: str, rule: str) -> None:
    api.gateway.add("sales", token="")
    for header in ("", " "):
        message_of(api.call(method, at(rule), key=None, headers={"apikey": header}), 401)


def test_an_unknown_instance_is_404_with_the_host_key_only(api: Api) -> None:
    assert (
        message_of(api.get("/instance/connectionState/nobody"), 404) == 'The "nobody" instance does not exist'
    )
    message_of(api.get("/instance/connectionState/nobody", key="x"), 401)


def test_a_token_of_other_characters_than_ascii_works() -> None:
    api = build(replace(SETTINGS, api_key="schlüssel-钥匙"))
    sent = "schlüssel-钥匙".encode().decode("latin-1")
    assert api.get("/supervisor/tree", key=sent).status_code == 200


def test_the_documentation_asks_a_browser_for_the_key(api: Api) -> None:
    response = api.get("/openapi/swagger", key=None)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Basic ")
    basic = base64.b64encode(f"me:{HOST_KEY}".encode()).decode()
    assert (
        api.get("/openapi/swagger", key=None, headers={"Authorization": f"Basic {basic}"}).status_code == 200
    )


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"me:").decode(), "Basic /w=="]
)
def test_broken_basic_credentials_are_401(api: Api, value: str) -> None:
    message_of(api.get("/openapi/swagger", key=None, headers={"Authorization": value}), 401)


def test_basic_opens_nothing_but_the_documentation(api: Api) -> None:
    """A browser sends it by itself, also for a request that another site made."""
    basic = base64.b64encode(f"me:{HOST_KEY}".encode()).decode()
    for method, rule in ROUTES:
        if not rule.startswith("/openapi") and rule not in PUBLIC:
            response = api.call(method, at(rule), key=None, headers={"Authorization": f"Basic {basic}"})
            assert response.status_code == 401, rule


def test_an_application_with_a_route_without_a_rule_does_not_start() -> None:
    app = OpenAPI("x", static_folder=None, doc_ui=False)
    guard = Guard(MemoryGateway(), SETTINGS, FakeClock())
    app.add_url_rule("/open", view_func=lambda: "oops", endpoint="forgotten")
    with pytest.raises(RuntimeError, match="forgotten"):
        guard.seal(app)


def test_a_route_added_after_the_start_is_denied() -> None:
    app = OpenAPI("x", static_folder=None, doc_ui=False)
    Guard(MemoryGateway(), SETTINGS, FakeClock()).seal(app)
    app.add_url_rule("/open", view_func=lambda: "oops", endpoint="forgotten")
    app.testing = False
    assert app.test_client().get("/open", headers={"apikey": "x"}).status_code == 500


def test_a_route_has_one_rule() -> None:
    class Answer(BaseModel):
        """Any."""

    app = OpenAPI("x", static_folder=None, doc_ui=False)
    routes = Routes(app, Guard(MemoryGateway(), SETTINGS, FakeClock()), "tag", "words")

    def handler() -> dict[str, str]:
        return {}

    routes.route("GET", "/a", access=Access.HOST, reply=Answer)(handler)
    with pytest.raises(ValueError, match="two access rules"):
        routes.route("GET", "/b", access=Access.PUBLIC, reply=Answer)(handler)


def test_an_api_without_a_key_does_not_start() -> None:
    with pytest.raises(ValueError, match="api_key"):
        ApiSettings(api_key="")


def test_the_key_is_not_in_the_settings_text() -> None:
    assert HOST_KEY not in repr(SETTINGS)


# What a token sees where instances are listed


def test_a_token_sees_its_own_row(api: Api) -> None:
    api.gateway.add("sales")
    api.gateway.add("support")
    assert [row["name"] for row in api.ok(api.get("/instance/fetchInstances"))] == ["sales", "support"]
    rows = api.ok(api.get("/instance/fetchInstances", key="token-of-sales"))
    assert [row["name"] for row in rows] == ["sales"]
    message_of(api.get("/instance/fetchInstances?instanceName=support", key="token-of-sales"), 404)


def test_a_token_sees_its_own_deliveries(api: Api) -> None:
    api.gateway.add("sales")
    api.get("/webhook/deliveries", key="token-of-sales")
    api.post("/webhook/replay", {"eventIds": ["a"]}, key="token-of-sales")
    assert api.gateway.sent == [("sales", "deliveries"), ("sales", "replay")]
    assert api.gateway.confined == [api.gateway.instances["sales"].id] * 2, "the name may be second-hand"
    message_of(api.get("/webhook/deliveries?instance=support", key="token-of-sales"), 404)
    message_of(api.post("/webhook/replay", {"instance": "support"}, key="token-of-sales"), 404)


# Wrong keys by address

LIMITED = replace(SETTINGS, failed_attempts=3, failed_window=60.0)


def test_too_many_wrong_keys_are_429_until_the_window_has_passed() -> None:
    api = build(LIMITED)
    for _ in range(3):
        message_of(api.get("/supervisor/tree", key="wrong"), 401)
    response = api.get("/supervisor/tree", key="wrong")
    message_of(response, 429)
    assert response.headers["Retry-After"] == "60"
    message_of(api.get("/supervisor/tree", key=HOST_KEY), 429)
    api.clock.now += 60.5
    assert api.get("/supervisor/tree", key=HOST_KEY).status_code == 200


def test_who_was_let_in_before_is_not_locked_out_by_a_neighbour() -> None:
    api = build(LIMITED)
    assert api.get("/supervisor/tree").status_code == 200
    for _ in range(5):
        api.get("/supervisor/tree", key="wrong")
    message_of(api.get("/supervisor/tree", key="wrong"), 429)
    assert api.get("/supervisor/tree").status_code == 200


def test_other_addresses_and_public_routes_are_not_held_up() -> None:
    api = build(LIMITED)
    for _ in range(4):
        api.get("/supervisor/tree", key="wrong")
    assert api.get("/healthz", key=None).status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    assert api.get("/supervisor/tree", environ_base=elsewhere).status_code == 200


def test_a_request_without_a_key_is_no_attempt() -> None:
    api = build(LIMITED)
    for _ in range(10):
        message_of(api.get("/supervisor/tree", key=None), 401)


def test_one_subscribers_ipv6_addresses_are_one() -> None:
    attempts = FailedAttempts(lambda: 0.0, 2, 60.0)
    attempts.failed("2001:db8::1")
    attempts.failed("2001:db8::2")
    assert attempts.must_wait("2001:db8::3", b"k")
    assert not attempts.must_wait("2001:db8:0:1::1", b"k")


def test_behind_a_proxy_a_guesser_does_not_lock_out_the_others() -> None:
    api = build(replace(LIMITED, server_url="https://wa.example.org"))
    guesser = {"X-Forwarded-For": "10.1.1.1, 192.0.2.66"}
    for _ in range(3):
        message_of(api.get("/supervisor/tree", key="wrong", headers=guesser), 401)
    message_of(api.get("/supervisor/tree", key="wrong", headers=guesser), 429)
    elsewhere = {"X-Forwarded-For": "192.0.2.66, 192.0.2.7"}
    assert api.get("/supervisor/tree", headers=elsewhere).status_code == 200


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "server_url", "found"),
    [
        ("127.0.0.1", "192.0.2.1", "https://wa.example.org", "192.0.2.1"),
        ("127.0.0.1", "192.0.2.1", "HTTPS://wa.example.org", "192.0.2.1"),
        ("::1", "10.0.0.1,2001:db8::1", "https://wa.example.org", "2001:db8::1"),
        ("127.0.0.1", "", "https://wa.example.org", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1", "http://127.0.0.1:8080", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1", "", "127.0.0.1"),
        ("203.0.113.5", "192.0.2.1", "https://wa.example.org", "203.0.113.5"),
        ("127.0.0.1", "192.0.2.1, nonsense", "https://wa.example.org", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.1,", "https://wa.example.org", "127.0.0.1"),
        ("", "192.0.2.1", "https://wa.example.org", ""),
    ],
)
def test_whom_a_proxys_header_names(peer: str, forwarded_for: str, server_url: str, found: str) -> None:
    assert client_address(peer, forwarded_for, server_url) == found


def test_as_many_right_keys_are_remembered_as_there_are() -> None:
    api = build(LIMITED)
    names = [f"number-{number}" for number in range(2 * MIN_KNOWN_KEYS)]
    for name in names:
        api.gateway.add(name)
        assert api.get(f"/instance/connectionState/{name}", key=f"token-of-{name}").status_code == 200
    for _ in range(3):
        api.get("/supervisor/tree", key="wrong")
    message_of(api.get("/supervisor/tree", key="wrong"), 429)
    for name in names:
        assert api.get(f"/instance/connectionState/{name}", key=f"token-of-{name}").status_code == 200


def test_remembered_keys_are_bounded() -> None:
    attempts = FailedAttempts(lambda: 0.0, 1, 60.0, keys=lambda: 100)
    for number in range(150):
        attempts.succeeded("192.0.2.1", b"%d" % number)
    attempts.failed("192.0.2.1")
    assert [number for number in range(150) if not attempts.must_wait("192.0.2.1", b"%d" % number)] == list(
        range(50, 150)
    )


def test_ipv4_addresses_of_a_socket_for_both_sorts_are_told_apart() -> None:
    attempts = FailedAttempts(lambda: 0.0, 1, 60.0)
    attempts.failed("::ffff:192.0.2.1")
    assert attempts.must_wait("::ffff:192.0.2.1", b"k")
    assert not attempts.must_wait("::ffff:192.0.2.2", b"k")


def test_the_table_of_addresses_is_bounded() -> None:
    attempts = FailedAttempts(lambda: 0.0, 1, 60.0)
    for number in range(MAX_ADDRESSES + 10):
        attempts.failed(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}")
    assert len(attempts._records) == MAX_ADDRESSES
    assert not attempts.must_wait("10.0.0.0", b"k")
    assert attempts.must_wait("10.0.16.9", b"k")


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["fail", "try"])), max_size=60))
def test_no_window_lets_more_than_the_limit_of_wrong_keys_be_checked(steps: list[tuple[float, str]]) -> None:
    clock = FakeClock()
    attempts = FailedAttempts(clock.monotonic, 5, 60.0)
    checked: list[float] = []
    for wait, _ in steps:
        clock.now += wait
        if not attempts.must_wait("192.0.2.1", b"guess"):
            checked.append(clock.now)
            attempts.failed("192.0.2.1")
    for start in checked:
        assert sum(1 for at in checked if start <= at < start + 60.0) <= 5

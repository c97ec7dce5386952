"""Signing in at the dashboard: what a session's cookie opens, what it does not, and how it ends."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from api.auth import digest
from api.sessions import LIFETIME, MARK, Sessions
from tests.api.conftest import HOST_KEY, SETTINGS, Api, build, message_of
from tests.api.fakes import FakeClock
from tests.api.stream import FeedGateway

DASHBOARD = replace(SETTINGS, dashboard=True, session_secret="a-secret-of-the-test")
MARKED = {MARK: "1"}


@pytest.fixture
def site() -> Api:
    api = build(DASHBOARD, FeedGateway())
    api.gateway.add("sales")
    api.gateway.add("support")
    return api


def sign_in(api: Api, key: str = HOST_KEY, **options: Any) -> TestResponse:
    return api.client.post("/dashboard/sign-in", data={"key": key, **options.pop("form", {})}, **options)


def copied_from(response: TestResponse) -> dict[str, str]:
    """The cookie as somebody would send it who has copied it."""
    return {"Cookie": cookie_of(response).partition(";")[0]}


def status_with(api: Api, cookie: dict[str, str], path: str = "/") -> int:
    """Of a request with a copied cookie, without a browser's own."""
    client = api.client.application.test_client(use_cookies=False)
    return client.get(path, headers=cookie).status_code


def cookie_of(response: TestResponse) -> str:
    [header] = response.headers.getlist("Set-Cookie")
    return str(header)


# Signing in


def test_without_a_session_one_is_sent_to_sign_in(site: Api) -> None:
    response = site.get("/", key=None)
    assert (response.status_code, response.headers["Location"]) == (303, "/dashboard/sign-in")
    response = site.get("/dashboard/instances/sales?span=7d", key=None)
    assert response.headers["Location"] == "/dashboard/sign-in?next=/dashboard/instances/sales?span%3D7d"


def test_the_host_key_opens_the_dashboard(site: Api) -> None:
    response = sign_in(site)
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert site.get("/", key=None).status_code == 200


def test_one_goes_on_to_the_page_that_one_wanted(site: Api) -> None:
    response = sign_in(site, form={"next": "/dashboard/tree"})
    assert response.headers["Location"] == "/dashboard/tree"
    response = site.get("/dashboard/sign-in?next=/dashboard/deliveries", key=None)
    assert response.headers["Location"] == "/dashboard/deliveries", "who is signed in is not asked again"


@pytest.mark.parametrize(
    "next",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/instance/delete/sales",
        "javascript:x",
        "/%0d%0aX:1",
    ],
)
def test_one_is_sent_nowhere_else(site: Api, next: str) -> None:
    assert sign_in(site, form={"next": next}).headers["Location"] == "/"


def test_the_cookie_is_for_this_site_and_no_script(site: Api) -> None:
    cookie = cookie_of(sign_in(site))
    assert re.match(r"zapvisor_[0-9a-f]{8}=", cookie)
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={LIFETIME:.0f}"):
        assert part in cookie
    assert "Secure" not in cookie, "over plain HTTP the browser would drop it"


def test_over_https_the_cookie_stays_there(site: Api) -> None:
    assert "Secure" in cookie_of(sign_in(site, headers={"X-Forwarded-Proto": "https"}))


def test_the_cookie_holds_neither_the_key_nor_its_digest(site: Api) -> None:
    value = cookie_of(sign_in(site)).partition("=")[2].partition(";")[0]
    raw = base64.urlsafe_b64decode(value)
    assert HOST_KEY.encode() not in raw
    assert digest(HOST_KEY) not in raw
    assert digest(HOST_KEY)[:16] not in raw


@pytest.mark.parametrize("key", ["", " ", "wrong", HOST_KEY + "x", HOST_KEY[:-1]])
def test_a_wrong_key_is_told_and_opens_nothing(site: Api, key: str) -> None:
    response = sign_in(site, key)
    assert response.status_code == 401
    assert "nor an instance" in response.get_data(as_text=True)
    assert "Set-Cookie" not in response.headers
    assert site.get("/", key=None).status_code == 303


def test_wrong_keys_are_limited_as_everywhere(site: Api) -> None:
    for _ in range(DASHBOARD.failed_attempts):
        assert sign_in(site, "wrong").status_code == 401
    response = sign_in(site)
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= DASHBOARD.failed_window
    assert "Too many wrong keys" in response.get_data(as_text=True)
    assert site.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:9999"},
        {"Origin": "null"},
    ],
)
@pytest.mark.parametrize("form", ["sign-in", "sign-out"])
def test_a_form_of_another_site_is_refused(site: Api, headers: dict[str, str], form: str) -> None:
    sign_in(site)
    response = site.client.post(f"/dashboard/{form}", data={"key": HOST_KEY}, headers=headers)
    assert response.status_code == 403
    assert site.get("/", key=None).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none", "Origin": "null"},
        {"Origin": "http://localhost"},
        {"Origin": "https://zap.example", "X-Forwarded-Host": "zap.example"},
    ],
)
def test_a_form_of_this_site_is_taken(site: Api, headers: dict[str, str]) -> None:
    assert sign_in(site, headers=headers).status_code == 303


def test_behind_a_proxy_its_public_address_is_this_site() -> None:
    api = build(replace(DASHBOARD, server_url="https://zap.example/"), FeedGateway())
    assert sign_in(api, headers={"Origin": "https://zap.example"}).status_code == 303


# What the cookie opens


def test_a_browser_that_sends_the_cookie_by_itself_can_only_read(site: Api) -> None:
    """Pages and the stream; what an <img> or a form of another page could call changes nothing."""
    sign_in(site)
    for path in ("/", "/dashboard/tree", "/dashboard/instances/sales", "/events", "/openapi/swagger"):
        assert site.get(path, key=None).status_code == 200, path
    for method, path in (
        ("GET", "/instance/connect/sales"),
        ("GET", "/instance/fetchInstances"),
        ("POST", "/instance/create"),
        ("DELETE", "/instance/delete/sales"),
        ("POST", "/supervisor/restart"),
        ("POST", "/webhook/replay"),
        ("GET", "/instance/qr/sales.png"),
    ):
        message_of(site.call(method, path, key=None), 401)
    assert [what for _, what in site.gateway.sent] == ["history"]


def test_with_the_header_of_the_dashboard_it_stands_for_the_key(site: Api) -> None:
    sign_in(site)
    assert site.get("/instance/fetchInstances", key=None, headers=MARKED).status_code == 200
    assert site.call("DELETE", "/instance/delete/sales", key=None, headers=MARKED).status_code == 200
    assert site.get("/supervisor/tree", key=None, headers=MARKED).status_code == 200


def test_another_origin_is_never_told_that_it_may_send_the_header(site: Api) -> None:
    response = site.client.options(
        "/instance/delete/sales",
        headers={"Origin": "http://localhost:9999", "Access-Control-Request-Headers": MARK},
    )
    assert not [name for name, _ in response.headers if name.startswith("Access-Control")]


def test_a_token_opens_what_it_opens_in_a_header(site: Api) -> None:
    sign_in(site, "token-of-sales")
    page = site.get("/", key=None).get_data(as_text=True)
    assert "sales" in page
    assert "support" not in page
    assert "New instance" not in page
    assert "/dashboard/tree" not in page
    assert site.get("/dashboard/instances/sales", key=None).status_code == 200
    assert site.get("/dashboard/instances/support", key=None).status_code == 404
    assert site.get("/dashboard/tree", key=None).status_code == 403
    assert site.get("/dashboard/deliveries?instance=support", key=None).status_code == 404
    assert site.get("/events?instance=support", key=None).status_code == 404
    assert site.get("/instance/connectionState/sales", key=None, headers=MARKED).status_code == 200
    message_of(site.get("/instance/connectionState/support", key=None, headers=MARKED), 401)
    message_of(site.call("POST", "/instance/create", key=None, headers=MARKED), 401)


def test_a_key_in_a_header_wins_over_the_cookie(site: Api) -> None:
    sign_in(site)
    message_of(site.get("/instance/fetchInstances", key="wrong", headers=MARKED), 401)


# How it ends


def test_signing_out_ends_it_also_where_the_cookie_was_copied(site: Api) -> None:
    copied = copied_from(sign_in(site))
    assert status_with(site, copied) == 200
    response = site.client.post("/dashboard/sign-out")
    assert response.status_code == 303
    assert "Max-Age=0" in cookie_of(response)
    assert status_with(site, copied) == 303


def test_signing_out_without_a_session_is_no_error(site: Api) -> None:
    assert site.client.post("/dashboard/sign-out").status_code == 303


def test_it_expires(site: Api) -> None:
    copied = copied_from(sign_in(site))
    site.clock.now += LIFETIME - 1
    assert status_with(site, copied) == 200
    site.clock.now += 1
    assert status_with(site, copied) == 303


def test_it_ends_with_the_token_that_it_was_given_for(site: Api) -> None:
    sign_in(site, "token-of-sales")
    del site.gateway.instances["sales"]
    assert site.get("/", key=None).status_code == 303


def test_it_outlives_a_restart_of_the_api_but_not_another_key(site: Api) -> None:
    copied = copied_from(sign_in(site))
    assert status_with(build(DASHBOARD, FeedGateway()), copied) == 200
    for other in (replace(DASHBOARD, api_key="another"), replace(DASHBOARD, session_secret="another")):
        assert status_with(build(other, FeedGateway()), copied) == 303


def test_the_script_is_told_in_its_own_form_that_it_ended(site: Api) -> None:
    message_of(site.get("/dashboard/instances/sales", key=None, headers=MARKED), 401)


def test_many_ended_sessions_take_a_bounded_place(site: Api) -> None:
    sessions = Sessions("secret", digest("key"), FakeClock())
    with site.client.application.test_request_context() as context:
        for _ in range(5000):
            given = site.client.application.make_response("")
            sessions.give(digest("key"), context.request, given)
            cookie = cookie_of(given).partition(";")[0]  # type: ignore[arg-type]
            asking = site.client.application.test_request_context(headers={"Cookie": cookie}).request
            assert sessions.of(asking) is not None
            sessions.end(asking, given)
            assert sessions.of(asking) is None
    assert len(sessions._revoked) == 4096


@given(st.binary(max_size=120) | st.text(max_size=60).map(str.encode))
def test_a_made_up_cookie_opens_nothing(value: bytes) -> None:
    sessions = Sessions("secret", digest("key"), FakeClock())
    for text in (base64.urlsafe_b64encode(value).decode(), value.decode("latin-1")):
        assert sessions._read(text) is None


@given(st.data())
def test_a_changed_cookie_opens_nothing(data: st.DataObject) -> None:
    from flask import Flask

    sessions = Sessions("secret", digest("key"), FakeClock())
    with Flask(__name__).test_request_context() as context:
        response = context.app.make_response("")
        sessions.give(digest("key"), context.request, response)
    raw = bytearray(base64.urlsafe_b64decode(cookie_of(response).partition("=")[2].partition(";")[0]))  # type: ignore[arg-type]
    assert sessions._read(base64.urlsafe_b64encode(raw).decode()) is not None
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert sessions._read(base64.urlsafe_b64encode(raw).decode()) is None


def test_without_a_dashboard_no_cookie_counts() -> None:
    api = build(SETTINGS, FeedGateway())
    message_of(api.get("/", key=None), 404)
    message_of(api.client.post("/dashboard/sign-in", data={"key": HOST_KEY}), 404)
    copied = copied_from(sign_in(build(DASHBOARD, FeedGateway())))
    assert status_with(api, {**copied, **MARKED}, "/instance/fetchInstances") == 401

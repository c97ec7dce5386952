"""Every failure in the one form, and nothing of the inside in it."""

from __future__ import annotations

import json

import pytest
import structlog
from structlog.testing import capture_logs

from api.gateway import ActorDown, CallTimeout, DatabaseBusy, MailboxFull, NoSuchActor, NotRunning, Phase
from supervisor.otp import KILLED, AlreadyStarted, NotFound, StartFailed, SystemStopped, UnknownMessage
from tests.api.conftest import HOST_KEY, Api, message_of

PATH = "instances/sales/session"


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            CallTimeout(PATH, 30.0, "queued"),
            504,
            'The "sales" instance (phase recovering) did not finish within 30 s',
        ),
        (
            MailboxFull(PATH, 100),
            503,
            'The "sales" instance (phase recovering) has too many commands waiting',
        ),
        (ActorDown(PATH, KILLED), 503, 'The "sales" instance (phase recovering) is restarting'),
        (NoSuchActor(PATH), 503, 'The "sales" instance (phase recovering) is restarting'),
        (
            NotRunning("sales", "its former device is there"),
            503,
            'The "sales" instance (phase recovering) does not run: its former device is there; try again',
        ),
        (StartFailed("sales", KILLED), 503, 'The "sales" instance (phase recovering) cannot answer now'),
        (DatabaseBusy("secret disk", written=True), 503, "The database cannot be written now; try again"),
        (DatabaseBusy("secret disk", written=False), 503, "The database cannot be read now; try again"),
        (SystemStopped("stopped"), 503, 'The "sales" instance (phase recovering) is stopping'),
        (UnknownMessage(PATH, object()), 500, "Internal error"),
        (RuntimeError("secret detail"), 500, "Internal error"),
    ],
)
def test_a_command_without_an_answer(api: Api, error: Exception, status: int, words: str) -> None:
    api.gateway.add("sales", phase=Phase.RECOVERING)
    api.gateway.fail = lambda _name, _message: error
    response = api.call("DELETE", "/instance/logout/sales")
    message = message_of(response, status)
    assert message.startswith(words)
    assert "session" not in message
    assert "secret" not in message
    assert ("Retry-After" in response.headers) == (status == 503)


def test_an_instance_that_went_while_its_command_was_on_the_way_is_404(api: Api) -> None:
    api.gateway.add("sales")

    def vanish(name: str, _message: object) -> Exception:
        api.gateway.instances.pop(name)
        return NoSuchActor(PATH)

    api.gateway.fail = vanish
    assert (
        message_of(api.call("DELETE", "/instance/logout/sales"), 404) == 'The "sales" instance does not exist'
    )


def test_the_host_without_an_answer(api: Api) -> None:
    api.gateway.fail = lambda _name, _message: CallTimeout("root", 30.0)
    assert message_of(api.post("/supervisor/restart", {"path": "store"}), 504).startswith(
        "The host did not finish"
    )


@pytest.mark.parametrize(("error", "status"), [(NotFound("x"), 404), (AlreadyStarted("x", None), 409)])  # type: ignore[arg-type]
def test_a_supervisors_refusal(api: Api, error: Exception, status: int) -> None:
    api.gateway.fail = lambda _name, _message: error
    message_of(api.post("/supervisor/restart", {"path": "store"}), status)


def test_an_internal_error_names_the_request_and_the_log_has_the_rest(api: Api) -> None:
    api.gateway.add("sales")
    api.gateway.fail = lambda _name, _message: RuntimeError("the detail")
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        response = api.call("DELETE", "/instance/logout/sales", headers={"X-Request-Id": "req-1"})
    assert "req-1" in message_of(response, 500)
    failed = next(entry for entry in logs if entry["event"] == "request failed")
    assert failed["request_id"] == "req-1"
    assert str(failed["exc_info"]) == "the detail"


def test_unknown_paths_and_methods(api: Api) -> None:
    assert message_of(api.get("/nope"), 404) == "Cannot GET /nope"
    assert message_of(api.get("//instance/fetchInstances"), 404)
    response = api.call("PATCH", "/instance/create")
    assert message_of(response, 405).startswith("Cannot PATCH /instance/create: allowed are ")
    assert "POST" in response.headers["Allow"]


def test_a_trailing_slash_is_no_difference(api: Api) -> None:
    assert api.get("/instance/fetchInstances/").status_code == 200


def test_a_path_is_not_repeated_at_length(api: Api) -> None:
    assert len(message_of(api.get("/" + "x" * 5000), 404)) < 250


# Bodies


@pytest.mark.parametrize(
    ("body", "content_type", "status", "words"),
    [
        (b"", "application/json", 400, "The body is empty"),
        (b"  \n", "application/json", 400, "The body is empty"),
        (b"{", "application/json", 400, "The body is not JSON: "),
        (b'{"instanceName": "a",}', "application/json", 400, "at line 1, column"),
        (b"[]", "application/json", 400, "The body is an array: a JSON object is required"),
        (b"null", "application/json", 400, "The body is null"),
        (b"true", "application/json", 400, "The body is a boolean"),
        (b'"{\\"instanceName\\": \\"a\\"}"', "application/json", 400, "The body is a string"),
        (b"1", "application/json", 400, "The body is a number"),
        (b"\xff\xfe{}", "application/json", 400, "The body is not UTF-8: byte 0"),
        (b'{"instanceName": "\xc3\x28"}', "application/json", 400, "The body is not UTF-8"),
        (b'{"a": NaN}', "application/json", 400, "NaN"),
        (b'{"a": -Infinity}', "application/json", 400, "Infinity"),
        (b'{"a": ' + b"9" * 5000 + b"}", "application/json", 400, "a number that cannot be read"),
        (b"[" * 200_000, "application/json", 400, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "application/json", 400, "nested too deeply"),
        (b'{"a": "\x00"}', "application/json", 400, "The body is not JSON"),
        (b"instanceName=a", "application/x-www-form-urlencoded", 415, "application/x-www-form-urlencoded"),
        (b'{"instanceName": "a"}', "text/plain", 415, "application/json is required"),
        (b'{"instanceName": "a"}', "", 415, "Content-Type is none"),
        (b'{"a": "' + b"x" * 1_100_000 + b'"}', "application/json", 413, "larger than 1048576 bytes"),
    ],
)
def test_a_body_that_is_no_json_object(
    api: Api, body: bytes, content_type: str, status: int, words: str
) -> None:
    response = api.call("POST", "/instance/create", data=body, content_type=content_type)
    assert words in message_of(response, status)
    assert not api.gateway.sent


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json"]
)
def test_media_types_that_are_json(api: Api, content_type: str) -> None:
    api.ok(
        api.call("POST", "/instance/create", data=b'{"instanceName": "a"}', content_type=content_type), 201
    )


def test_a_route_that_takes_no_body_ignores_one(api: Api) -> None:
    api.gateway.add("sales", logged_in=True)
    api.ok(api.call("DELETE", "/instance/logout/sales", data=b"\xff{", content_type="application/json"))


def test_every_wrong_field_is_named_with_its_value_and_what_is_allowed(api: Api) -> None:
    body = {
        "instanceName": "a b",
        "qrcode": "true",
        "number": 5511,
        "webhook": {"url": "ftp://x", "events": ["NOPE"]},
    }
    message = message_of(api.post("/instance/create", body), 400)
    assert '"instanceName": "a b" is not allowed; it must be text that matches' in message
    assert '"qrcode": "true" is not allowed; it must be true or false' in message
    assert '"number": 5511 is not allowed; it must be a string' in message
    assert '"webhook.url": the value is not allowed; it must be an http:// or https:// address' in message
    assert '"webhook.events.0": "NOPE" is not allowed; it must be one of ' in message
    assert not api.gateway.sent


def test_no_more_than_twenty_findings_are_told(api: Api) -> None:
    body = {"webhook": {"enabled": True, "url": "http://x", "events": [f"E{number}" for number in range(60)]}}
    api.gateway.add("sales")
    response = api.post("/webhook/set/sales", body)
    assert len(response.get_json()["response"]["message"]) == 21


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/instance/create", {"instanceName": "a", "token": "sécret hunter2"}),
        ("/instance/create", {"instanceName": "a", "proxyPassword": "hunter2" * 1000}),
        ("/webhook/set/sales", {"webhook": {"enabled": True, "url": "ftp://me:hunter2@x"}}),
        ("/webhook/set/sales", {"webhook": {"url": "http://x", "headers": {"Authorization": "hunter2\n"}}}),
        ("/proxy/set/sales", {"enabled": True, "host": "me:hunter2@x", "port": "1", "protocol": "http"}),
        ("/chatwoot/set/sales", {"enabled": True, "token": "hunter2" * 1000}),
    ],
)
def test_a_secret_is_not_repeated(api: Api, path: str, body: dict[str, object]) -> None:
    api.gateway.add("sales")
    with capture_logs() as logs:
        message = message_of(api.post(path, body), 400)
    assert "hunter2" not in message
    assert "hunter2" not in str(logs)


def test_lone_surrogates_and_nul_characters_are_refused(api: Api) -> None:
    api.gateway.add("sales")
    settings = dict.fromkeys(
        ("rejectCall", "groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory"), False
    )
    for text in ('"\\ud800"', '"a\\u0000b"'):
        body = json.dumps(settings)[:-1] + f', "msgCall": {text}}}'
        response = api.call("POST", "/settings/set/sales", data=body, content_type="application/json")
        assert '"msgCall"' in message_of(response, 400)
    body = json.dumps({**settings, "msgCall": "😀"})
    assert "\\ud83d" in body
    api.ok(api.call("POST", "/settings/set/sales", data=body, content_type="application/json"), 201)


# What every answer carries


def test_every_answer_has_the_security_headers_and_an_id(api: Api) -> None:
    for response in (api.get("/healthz"), api.get("/nope"), api.get("/supervisor/tree", key=None)):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Request-Id"]


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "a\tb", "é"])
def test_an_id_that_cannot_be_logged_is_replaced(api: Api, sent: str) -> None:
    assert api.get("/healthz", headers={"X-Request-Id": sent}).headers["X-Request-Id"] != sent
    assert api.get("/healthz", headers={"X-Request-Id": "abc-1.2_3"}).headers["X-Request-Id"] == "abc-1.2_3"


def test_the_id_is_bound_for_the_request_and_not_longer(api: Api) -> None:
    api.get("/healthz", headers={"X-Request-Id": "abc"})
    assert "request_id" not in structlog.contextvars.get_contextvars()


def test_keys_and_queries_are_not_logged(api: Api) -> None:
    api.gateway.add("sales")
    with capture_logs() as logs:
        api.get("/instance/connect/sales?number=5511999999999")
        api.get("/instance/connect/sales", key="token-of-sales")
        api.get("/instance/connect/sales", key="wrong-key")
    text = str(logs)
    assert "/instance/connect/sales" in text
    for secret in (HOST_KEY, "token-of-sales", "wrong-key", "5511999999999", "2@code"):
        assert secret not in text

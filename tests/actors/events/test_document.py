"""docs/events.md says what is sent, and its recipes work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from typing import Any

import pytest
from pydantic import SecretStr

from actors.delivery.request import signature
from actors.events import MODELS
from actors.events.document import BEGIN, END, FILE, example, main, render

TEXT = FILE.read_text(encoding="utf-8")
SECRET = "a webhook's secret"
BODY = json.dumps({"event": "connection.update", "instance": "ação"}, ensure_ascii=False).encode()


def code(language: str) -> str:
    """The first block of code in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    assert found, language
    return found[1]


def headers(at: float) -> dict[str, str]:
    timestamp = str(int(at))
    signed = signature(SecretStr(SECRET), timestamp, BODY)
    return {"X-Zapvisor-Timestamp": timestamp, "X-Zapvisor-Signature": signed}


def test_the_file_is_up_to_date() -> None:
    assert main(["--check"]) == 0, "python -m actors.events.document"


def test_every_event_has_its_row_and_its_fields_are_explained() -> None:
    written = TEXT.partition(BEGIN)[2].partition(END)[0]
    for name in MODELS:
        assert written.count(f"| `{name}`<br>") == 1
        assert f"| `{name}` | `" in written
    assert not re.findall(r"^\| `[^\n]*\| +\|$", written, re.MULTILINE)


def test_an_example_is_what_a_delivery_sends() -> None:
    sent = example(MODELS["qrcode.updated"])
    assert set(sent) == set(example(MODELS["instance.crash"]))
    assert sent["data"]["qrcode"]["base64"].startswith("data:image/png;base64,")


def test_a_file_without_the_marks_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="the marks"):
        render("# Events\n")


class TestSignature:
    """Both recipes accept what is signed, and nothing else."""

    @pytest.fixture(params=["python", "js"])
    def genuine(self, request: pytest.FixtureRequest) -> Any:
        return python_recipe if request.param == "python" else javascript_recipe

    def test_what_is_signed_is_genuine(self, genuine: Any) -> None:
        assert genuine(SECRET, headers(time.time()), BODY) is True

    def test_another_secret_body_or_signature_is_not(self, genuine: Any) -> None:
        fresh = headers(time.time())
        assert genuine("another", fresh, BODY) is False
        assert genuine(SECRET, fresh, BODY + b" ") is False
        assert genuine(SECRET, fresh | {"X-Zapvisor-Signature": "sha256=00"}, BODY) is False

    def test_a_request_that_was_recorded_an_hour_ago_is_not(self, genuine: Any) -> None:
        assert genuine(SECRET, headers(time.time() - 3600), BODY) is False


def python_recipe(secret: str, sent: dict[str, str], body: bytes) -> bool:
    names: dict[str, Any] = {}
    exec(code("python"), names)
    return bool(names["is_genuine"](secret, sent, body))


def javascript_recipe(secret: str, sent: dict[str, str], body: bytes) -> bool:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    lower = {name.lower(): value for name, value in sent.items()}
    call = f"isGenuine({json.dumps(secret)}, {json.dumps(lower)}, Buffer.from('{body.hex()}', 'hex'))"
    script = f"{code('js')}\nconsole.log({call});"
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, timeout=30, check=True)
    return {"true": True, "false": False}[done.stdout.strip()]

"""docs/migrating-from-evolution.md: the keys that it names exist, and what Evolution API answers can be sent here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from supervisor.config.models import SECTIONS
from tests.api.conftest import Api, build

DOCUMENT = Path(__file__).parents[2] / "docs" / "migrating-from-evolution.md"


@pytest.fixture(scope="module")
def api() -> Api:
    return build()


def test_every_key_that_is_named_exists() -> None:
    named = re.findall(r"`\[(\w+)\] (\w+)`", DOCUMENT.read_text())
    assert len(named) > 20
    for section, key in named:
        assert key in SECTIONS[section].model_fields, f"[{section}] {key}"


def test_links_lead_somewhere() -> None:
    for target, heading in re.findall(r"\]\((?!https?:)([\w.-]*\.md)(?:#([\w-]+))?\)", DOCUMENT.read_text()):
        text = (DOCUMENT.parent / target).read_text()
        headings = {
            re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-") for line in text.splitlines()
        }
        assert not heading or heading in headings, f"{target}#{heading}"


EVOLUTION_WEBHOOK = {
    "id": "cm1", "url": "https://shop.example.org/hook", "headers": None, "enabled": True,
    "events": ["QRCODE_UPDATED", "MESSAGES_UPSERT"], "webhookByEvents": False, "webhookBase64": True,
    "createdAt": "2025-01-01T00:00:00.000Z", "updatedAt": "2025-01-01T00:00:00.000Z", "instanceId": "5e2b",
}  # fmt: skip
EVOLUTION_SETTINGS = {
    "rejectCall": False, "msgCall": "", "groupsIgnore": True, "alwaysOnline": False, "readMessages": False,
    "readStatus": False, "syncFullHistory": False, "wavoipToken": "",
}  # fmt: skip
EVOLUTION_PROXY = {
    "id": "cm2", "enabled": True, "host": "10.0.0.9", "port": "3128", "protocol": "http", "username": "",
    "password": "", "createdAt": "2025-01-01T00:00:00.000Z", "updatedAt": "2025-01-01T00:00:00.000Z",
    "instanceId": "5e2b",
}  # fmt: skip


def as_the_document_copies_it(found: dict[str, Any]) -> dict[str, Any]:
    kept = {field: found[field] for field in ("enabled", "url", "headers", "events")}
    return {"webhook": {**kept, "byEvents": found["webhookByEvents"], "base64": found["webhookBase64"]}}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/webhook/set/sales", as_the_document_copies_it(EVOLUTION_WEBHOOK)),
        ("/settings/set/sales", EVOLUTION_SETTINGS),
        ("/proxy/set/sales", EVOLUTION_PROXY),
    ],
)
def test_what_find_answers_there_can_be_set_here(api: Api, path: str, body: dict[str, Any]) -> None:
    api.gateway.add("sales")
    api.ok(api.post(path, body), 201)


def test_an_instance_keeps_its_name_and_token(api: Api) -> None:
    for number in ("5511999990000", ""):
        name = f"shop{number}"
        body = {
            "instanceName": name,
            "token": f"TOKEN-{name}",
            "number": number,
            "integration": "WHATSAPP-BAILEYS",
        }
        assert api.ok(api.post("/instance/create", body), 201)["hash"] == f"TOKEN-{name}"

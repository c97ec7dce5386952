"""Snapshots as the JSON that clients read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from actors.addresses import shown_url
from api.gateway import DeliveryView, HistoryEntry, InstanceView, TreeNode
from api.qrimage import data_url
from api.schemas.config import ChatwootReply, ProxyFields, SettingsView


def iso(at: float) -> str:
    """Seconds since the epoch as `2026-01-31T12:00:00.000Z`, the form in which Evolution API writes times."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_or_none(at: float | None) -> str | None:
    """As `iso`, for a time that may not have come."""
    return None if at is None else iso(at)


def instance_ref(view: InstanceView) -> dict[str, Any]:
    """An instance's name and state."""
    return {"instanceName": view.name, "state": view.state}


def qr_fields(view: InstanceView, color: str) -> dict[str, Any]:
    """The code that an instance shows now; nulls when it shows none."""
    if view.qr is None:
        return {"pairingCode": None, "code": None, "base64": None, "count": 0}
    fields = {
        "pairingCode": view.qr.pairing_code,
        "code": view.qr.code,
        "base64": data_url(view.qr.code, color),
        "count": view.qr.count,
    }
    return fields if view.qr.pairing_error is None else fields | {"pairingError": view.qr.pairing_error}


def created(view: InstanceView) -> dict[str, Any]:
    """A new instance as Evolution API's create answers it."""
    return {
        "instance": {
            "instanceName": view.name,
            "instanceId": view.id,
            "integration": view.integration,
            "webhookWaBusiness": None,
            "accessTokenWaBusiness": "",
            "status": view.state,
        },
        "hash": view.token,
        "webhook": _created_webhook(view.webhook),
        "settings": settings(view),
    }


def settings(view: InstanceView) -> dict[str, Any]:
    """The seven settings, with their defaults where none were stored."""
    return {
        name: view.settings.get(name, "" if name == "msgCall" else False)
        for name in SettingsView.model_fields
    }


def webhook(view: InstanceView) -> dict[str, Any] | None:
    """The webhook as Evolution API's find and set answer it; None when none was ever set."""
    if not view.webhook:
        return None
    stored = view.webhook
    return {
        **_row_of(view),
        "headers": dict(stored.get("headers") or {}),
        **webhook_row(view.webhook),
        "url": str(stored.get("url") or ""),
        "byEvents": bool(stored.get("byEvents")),
        "base64": bool(stored.get("base64")),
    }


def webhook_row(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The webhook without its headers, and its address without what keys stand in."""
    return {
        "enabled": bool(stored.get("enabled")),
        "url": shown_url(str(stored.get("url") or "")),
        "events": list(stored.get("events") or ()),
        "webhookByEvents": bool(stored.get("byEvents")),
        "webhookBase64": bool(stored.get("base64")),
    }


def proxy_fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """The proxy without its password."""
    texts = {name: str(stored.get(name) or "") for name in ProxyFields.model_fields}
    return {**texts, "enabled": bool(stored.get("enabled"))}


def proxy(view: InstanceView) -> dict[str, Any] | None:
    """The proxy as Evolution API's find answers it; None when none was ever set."""
    if not view.proxy:
        return None
    return {**_row_of(view), **proxy_fields(view.proxy), "password": str(view.proxy.get("password") or "")}


def chatwoot(view: InstanceView) -> dict[str, Any]:
    """The Chatwoot settings; Evolution API's blank ones when none were ever set."""
    blank = {"enabled": False, "url": "", "accountId": "", "token": "", "signMsg": False, "nameInbox": ""}
    stored = {name: value for name, value in view.chatwoot.items() if name in ChatwootReply.model_fields}
    return {**blank, **stored, "webhook_url": ""}


def instance_row(view: InstanceView) -> dict[str, Any]:
    """An instance as `fetchInstances` lists it."""
    detail = view.disconnection_object
    return {
        "id": view.id,
        "name": view.name,
        "connectionStatus": view.state,
        "phase": str(view.phase),
        "desired": str(view.desired),
        "ownerJid": view.owner_jid,
        "profileName": view.profile_name,
        "profilePicUrl": view.profile_pic_url,
        "integration": view.integration,
        "number": view.number,
        "token": view.token,
        "clientName": view.client_name,
        "disconnectionReasonCode": view.disconnection_code,
        "disconnectionObject": None if detail is None else json.dumps(dict(detail), separators=(",", ":")),
        "disconnectionAt": iso_or_none(view.disconnection_at),
        "createdAt": iso(view.created_at),
        "updatedAt": iso(view.updated_at),
        "Setting": {**settings(view), "instanceId": view.id} if view.settings else None,
        "Webhook": webhook_row(view.webhook) if view.webhook else None,
        "Proxy": proxy_fields(view.proxy) if view.proxy else None,
    }


def history_row(entry: HistoryEntry) -> dict[str, Any]:
    """A disconnection or a recovery."""
    return {
        "id": entry.id,
        "timestamp": iso_or_none(entry.at),
        "kind": entry.kind,
        "code": entry.code,
        "name": entry.name,
        "cause": entry.cause,
        "action": entry.action,
        "duration": entry.duration_s,
        "previousPhase": entry.previous_phase,
        "incarnation": entry.incarnation,
        "attempt": entry.attempt,
        "strategy": entry.strategy,
        "result": entry.result,
    }


def delivery_row(delivery: DeliveryView) -> dict[str, Any]:
    """One event for one destination."""
    return {
        "eventId": delivery.event_id,
        "instance": delivery.instance,
        "event": delivery.event,
        "destination": delivery.destination,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "lastError": delivery.last_error,
        "createdAt": iso(delivery.created_at),
        "deliveredAt": iso_or_none(delivery.delivered_at),
    }


def tree_row(node: TreeNode) -> dict[str, Any]:
    """An actor and what it supervises."""
    return {
        "path": node.path,
        "id": node.id,
        "kind": str(node.kind),
        "state": str(node.state),
        "dueIn": node.due_in,
        "restarts": node.restarts,
        "uptime": node.uptime,
        "mailbox": node.mailbox,
        "pid": node.pid,
        "lastExit": None if node.last_exit is None else str(node.last_exit),
        "children": [tree_row(child) for child in node.children],
    }


def done(message: str) -> dict[str, Any]:
    """Evolution API's answer to a command that was carried out."""
    return {"status": "SUCCESS", "error": False, "response": {"message": message}}


def _created_webhook(stored: Mapping[str, Any]) -> dict[str, Any]:
    if not stored:
        return {}
    return {
        "webhookUrl": str(stored.get("url") or ""),
        "webhookHeaders": dict(stored.get("headers") or {}),
        "webhookByEvents": bool(stored.get("byEvents")),
        "webhookBase64": bool(stored.get("base64")),
    }


def _row_of(view: InstanceView) -> dict[str, Any]:
    """What Evolution API's rows of one instance have in common; each instance has one row of a kind."""
    return {
        "id": view.id,
        "instanceId": view.id,
        "createdAt": iso(view.created_at),
        "updatedAt": iso(view.updated_at),
    }

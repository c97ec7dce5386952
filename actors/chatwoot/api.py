"""The calls of Chatwoot's Application API that the notifier makes.

Chatwoot's own description of them is its `swagger/paths/application`: inboxes, contacts, conversations, messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from actors.chatwoot.account import Account
from actors.chatwoot.wire import Answer, ChatwootError, Refused, Wire
from supervisor import __version__
from supervisor.config import WebhookSettings

API_CHANNEL = "Channel::Api"
"""The kind of inbox into which messages may be written from outside."""

RETRY_AFTER_LIMIT = 3600.0
SHOWN = 120
"""Characters of Chatwoot's own words that an error repeats."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation: its number within the account, its inbox and its status."""

    id: int
    inbox: int
    status: str


class Api:
    """One account.

    Args:
        account: whose.
        wire: sends the requests.
        settings: time limit and address rules.

    Every method raises `Refused` for an answer that is no success, and another `ChatwootError` when there is no
    answer, or none that can be understood.
    """

    def __init__(self, account: Account, wire: Wire, settings: WebhookSettings) -> None:
        self._account = account
        self._wire = wire
        self._settings = settings
        self._base = f"{account.url}/api/v1/accounts/{quote(account.id, safe='')}"
        self._headers = {
            "api_access_token": account.token,
            "accept": "application/json",
            "user-agent": f"zapvisor/{__version__}",
        }

    def inbox(self, name: str) -> int | None:
        """The inbox of that name that takes messages from outside."""
        for inbox in _objects(self._get("inboxes"), "payload"):
            if inbox.get("name") == name and inbox.get("channel_type", API_CHANNEL) == API_CHANNEL:
                return _number(inbox, "id")
        return None

    def create_inbox(self, name: str) -> int:
        """Make an inbox of type API, and return its number."""
        made = self._post("inboxes", json={"name": name, "channel": {"type": "api"}})
        return _number(made, "id")

    def contact(self, number: str) -> int | None:
        """The contact with a phone number, which is given in digits."""
        rule = {
            "attribute_key": "phone_number",
            "filter_operator": "equal_to",
            "values": [number],
            "query_operator": None,
        }
        found = self._post("contacts/filter", json={"payload": [rule]})
        for contact in _objects(found, "payload"):
            if contact.get("phone_number") == f"+{number}":
                return _number(contact, "id")
        return None

    def create_contact(self, inbox: int, number: str) -> int:
        """Make the account's contact for messages, and return its number."""
        fields = {"inbox_id": inbox, "name": self._account.contact, "phone_number": f"+{number}"}
        if self._account.picture is not None:
            fields["avatar_url"] = self._account.picture
        made = _object(self._post("contacts", json=fields), "payload")
        return _number(_object(made, "contact"), "id")

    def conversations(self, contact: int) -> list[Conversation]:
        """The latest conversations of a contact, the newest first."""
        found = _objects(self._get(f"contacts/{contact}/conversations"), "payload")
        return sorted(map(_conversation, found), key=lambda one: one.id, reverse=True)

    def conversation(self, id: int) -> Conversation | None:
        """A conversation; None when there is none of that number."""
        try:
            return _conversation(self._get(f"conversations/{id}"))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def create_conversation(self, inbox: int, contact: int) -> int:
        """Begin a conversation with a contact, and return its number."""
        fields = {"inbox_id": inbox, "contact_id": contact, "status": self._account.status}
        return _number(self._post("conversations", json=fields), "id")

    def sources(self, conversation: int) -> set[str]:
        """The source ids of the latest messages of a conversation."""
        found = _objects(self._get(f"conversations/{conversation}/messages"), "payload")
        return {str(message["source_id"]) for message in found if message.get("source_id")}

    def send(self, conversation: int, text: str, picture: bytes | None, source: str) -> None:
        """Write a message as the contact, with a PNG attached if there is one.

        Args:
            source: an id by which the message can be found again.
        """
        path = f"conversations/{conversation}/messages"
        fields = {"content": text, "message_type": "incoming", "source_id": source}
        if picture is None:
            self._post(path, json={**fields, "private": False})
        else:
            file = {"attachments[]": ("qrcode.png", picture, "image/png")}
            self._post(path, data={**fields, "private": "false"}, files=file)

    def _get(self, path: str) -> Any:
        return self._call("GET", path)

    def _post(self, path: str, **content: Any) -> Any:
        return self._call("POST", path, **content)

    def _call(self, method: str, path: str, **content: Any) -> Any:
        what = f"{method} {path}"
        try:
            request = httpx.Request(method, f"{self._base}/{path}", headers=self._headers, **content)
        except (httpx.InvalidURL, UnicodeEncodeError):
            raise ChatwootError(f"{what}: the address or the token cannot be sent") from None
        answer = self._wire.exchange(
            request, self._settings.timeout, allow_private=self._settings.allow_private
        )
        if not 200 <= answer.status <= 299:
            raise Refused(
                answer.status, f"{what}: HTTP {answer.status}{_words(answer)}", _retry_after(answer)
            )
        try:
            return json.loads(answer.body)
        except ValueError:
            raise ChatwootError(f"{what}: the answer is not JSON; is this a Chatwoot server?") from None


def _objects(value: Any, key: str) -> list[Mapping[str, Any]]:
    found = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(found, list):
        raise ChatwootError(f"the answer has no list {key!r}")
    return [one for one in found if isinstance(one, Mapping)]


def _object(value: Any, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(found, Mapping):
        raise ChatwootError(f"the answer has no object {key!r}")
    return found


def _number(value: Any, key: str) -> int:
    found = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(found, int):
        raise ChatwootError(f"the answer has no number {key!r}")
    return found


def _conversation(value: Any) -> Conversation:
    return Conversation(_number(value, "id"), _number(value, "inbox_id"), str(value.get("status")))


def _words(answer: Answer) -> str:
    """What a refusal says of itself."""
    try:
        said = json.loads(answer.body)
    except ValueError:
        return ""
    found = (said.get("error") or said.get("message")) if isinstance(said, Mapping) else None
    return f" ({found[:SHOWN]})" if isinstance(found, str) else ""


def _retry_after(answer: Answer) -> float | None:
    """Seconds of a Retry-After header (RFC 9110, 10.2.3), in the only form that rate limiters send."""
    text = answer.headers.get("retry-after", "")
    return min(float(text[:6]), RETRY_AFTER_LIMIT) if text.isascii() and text.isdecimal() else None

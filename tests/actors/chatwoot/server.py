"""A Chatwoot of this machine's own: one account, answering the calls of the Application API as its description says.

It refuses what that description does not allow, and keeps a list of what it had to refuse: a test that talks to it
properly leaves that list empty. The shapes are those of Chatwoot's `swagger/paths/application` and of the views
that answer them.
"""

from __future__ import annotations

import email
import email.message
import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

TOKEN = "chatwoot-token-9f8e7d"
ACCOUNT = "7"
PAGE = 20

Fault = str | int | tuple[int, Mapping[str, str]] | None
"""`hang`, `reset` (before it is done), `lost` (done, but the answer is cut off), a status, or None for none."""


class Wrong(Exception):
    """A call that the API's description does not allow."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass
class Conversation:
    id: int
    inbox_id: int
    contact_id: int
    status: str
    messages: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """A request that was received."""

    method: str
    path: str
    content: Any = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class ChatwootServer:
    """Listens on a free local port.

    Attributes:
        fault: decides what goes wrong with a call.
        wrong: calls that were not allowed.
    """

    fault: Callable[[Call], Fault] = lambda _: None
    token: str = TOKEN
    port: int = 0
    calls: list[Call] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    inboxes: dict[int, dict[str, Any]] = field(default_factory=dict)
    contacts: dict[int, dict[str, Any]] = field(default_factory=dict)
    conversations: dict[int, Conversation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._numbers = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self, **more: Any) -> dict[str, Any]:
        """What an instance stores that reports here."""
        return {"enabled": True, "url": self.url, "accountId": ACCOUNT, "token": self.token, **more}

    def __enter__(self) -> Self:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server._serve(self)

            def do_POST(self) -> None:
                server._serve(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._over.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    # -- looking

    @property
    def texts(self) -> list[str]:
        """What stands in all conversations, in the order in which it was written."""
        return [message["content"] for message in self.messages]

    @property
    def messages(self) -> list[dict[str, Any]]:
        with self._changed:
            found = [message for one in self.conversations.values() for message in one.messages]
        return sorted(found, key=lambda message: int(message["id"]))

    def wait(self, ready: Callable[[Self], bool], seconds: float = 20.0) -> None:
        """Wait until something is true.

        Raises:
            TimeoutError: it did not become true.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: ready(self), seconds):
                raise TimeoutError(f"after {seconds:g} s: {[str(call) for call in self.calls[-20:]]}")

    def wait_for(self, *parts: str) -> list[dict[str, Any]]:
        """Wait for as many messages as parts are given; each message must contain its part."""
        self.wait(lambda me: len(me.messages) >= len(parts))
        found = self.messages
        assert len(found) == len(parts), self.texts
        for message, part in zip(found, parts, strict=True):
            assert part in message["content"], self.texts
        return found

    # -- having

    def inbox(self, name: str, type: str = "Channel::Api") -> int:
        return self._put(self.inboxes, {"name": name, "channel_type": type})

    def contact(self, phone: str, name: str = "Ana") -> int:
        return self._put(self.contacts, {"name": name, "phone_number": phone})

    def conversation(self, inbox: int, contact: int, status: str = "open") -> int:
        id = self._number()
        self.conversations[id] = Conversation(id, inbox, contact, status)
        return id

    def _put(self, where: dict[int, dict[str, Any]], fields: dict[str, Any]) -> int:
        id = self._number()
        where[id] = {"id": id, **fields}
        return id

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    # -- serving

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        content = _content(handler.headers.get("content-type", ""), body)
        call = Call(handler.command, handler.path.removeprefix(f"/api/v1/accounts/{ACCOUNT}/"), content)
        fault = self.fault(call)
        if fault == "hang":
            self._note(call)
            self._over.wait(60)
        status, answer = 500, {"error": "as told"}
        if fault in (None, "lost"):
            status, answer = self._answer(call, handler.headers)
        self._note(call)
        if isinstance(fault, str):
            _cut(handler)
            return
        headers: Mapping[str, str] = {}
        if fault is not None:
            status, headers = fault if isinstance(fault, tuple) else (fault, {})
        _reply(handler, status, headers, answer)

    def _note(self, call: Call) -> None:
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()

    def _answer(self, call: Call, headers: email.message.Message) -> tuple[int, Any]:
        with self._changed:
            try:
                if headers.get("api_access_token") != self.token:
                    return 401, {"error": "Invalid Access Token"}
                return 200, self._do(call)
            except Wrong as wrong:
                if wrong.status not in (404, 422):
                    self.wrong.append(f"{call}: {wrong}")
                return wrong.status, {"error": str(wrong)}

    def _do(self, call: Call) -> Any:
        for method, pattern, handle in ROUTES:
            found = re.fullmatch(pattern, call.path)
            if found and method == call.method:
                return handle(self, *map(int, found.groups()), *([call.content] if method == "POST" else []))
        raise Wrong(400, "no such call")

    def _list_inboxes(self) -> Any:
        return {"payload": list(self.inboxes.values())}

    def _create_inbox(self, content: Any) -> Any:
        check(content, {"name": str, "channel": dict})
        check(content["channel"], {"type": str}, {"webhook_url": str})
        if content["channel"]["type"] != "api":
            raise Wrong(400, "channel.type")
        return self.inboxes[self.inbox(content["name"])]

    def _filter_contacts(self, content: Any) -> Any:
        check(content, {"payload": list})
        [rule] = content["payload"]
        check(rule, {"attribute_key": str, "filter_operator": str, "values": list, "query_operator": None})
        if rule["attribute_key"] != "phone_number" or rule["filter_operator"] != "equal_to":
            raise Wrong(400, "only phone numbers")
        wanted = "+" + rule["values"][0]
        found = [one for one in self.contacts.values() if one["phone_number"] == wanted]
        return {"meta": {"count": len(found), "current_page": 1}, "payload": found}

    def _create_contact(self, content: Any) -> Any:
        check(content, {"inbox_id": int, "name": str, "phone_number": str}, {"avatar_url": str})
        if content["inbox_id"] not in self.inboxes:
            raise Wrong(404, "no such inbox")
        if not re.fullmatch(r"\+[1-9]\d{1,14}", content["phone_number"]):
            raise Wrong(400, "phone_number is not E.164")
        if any(one["phone_number"] == content["phone_number"] for one in self.contacts.values()):
            raise Wrong(422, "Phone number has already been taken")
        id = self.contact(content["phone_number"], content["name"])
        link = {"inbox": {"id": content["inbox_id"]}, "source_id": f"source-{id}"}
        return {"payload": {"contact": self.contacts[id], "contact_inbox": link}}

    def _conversations_of(self, contact: int) -> Any:
        if contact not in self.contacts:
            raise Wrong(404, "no such contact")
        found = [one for one in self.conversations.values() if one.contact_id == contact]
        return {"payload": [_shown(one) for one in found[::-1][:PAGE]]}

    def _conversation(self, id: int) -> Any:
        return _shown(self._find(id))

    def _create_conversation(self, content: Any) -> Any:
        check(content, {"inbox_id": int, "contact_id": int}, {"status": str, "source_id": str})
        if content["inbox_id"] not in self.inboxes or content["contact_id"] not in self.contacts:
            raise Wrong(404, "no such inbox or contact")
        if content.get("status", "open") not in ("open", "resolved", "pending"):
            raise Wrong(400, "status")
        id = self.conversation(content["inbox_id"], content["contact_id"], content.get("status", "open"))
        return _shown(self.conversations[id])

    def _list_messages(self, id: int) -> Any:
        return {"meta": {}, "payload": [_public(message) for message in self._find(id).messages[-PAGE:]]}

    def _create_message(self, id: int, content: Any) -> Any:
        conversation = self._find(id)
        check(
            content,
            {"content": str, "message_type": str},
            {"private": bool, "source_id": str, "attachments[]": list},
        )
        if content["message_type"] not in ("incoming", "outgoing") or not content["content"]:
            raise Wrong(400, "message_type or content")
        if self.inboxes[conversation.inbox_id]["channel_type"] != "Channel::Api":
            raise Wrong(422, "Incoming messages are only allowed in Api inboxes")
        if content["message_type"] == "incoming" and conversation.status == "resolved":
            conversation.status = "open"
        message = {"id": self._number(), "conversation_id": id, **content}
        conversation.messages.append(message)
        return _public(message)

    def _find(self, id: int) -> Conversation:
        if id not in self.conversations:
            raise Wrong(404, "Resource could not be found")
        return self.conversations[id]


ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", "inboxes", ChatwootServer._list_inboxes),
    ("POST", "inboxes", ChatwootServer._create_inbox),
    ("POST", "contacts/filter", ChatwootServer._filter_contacts),
    ("POST", "contacts", ChatwootServer._create_contact),
    ("GET", r"contacts/(\d+)/conversations", ChatwootServer._conversations_of),
    ("POST", "conversations", ChatwootServer._create_conversation),
    ("GET", r"conversations/(\d+)", ChatwootServer._conversation),
    ("GET", r"conversations/(\d+)/messages", ChatwootServer._list_messages),
    ("POST", r"conversations/(\d+)/messages", ChatwootServer._create_message),
)


def check(content: Any, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> None:
    """Refuse what is not an object with these fields, of these types, and no others; None allows any type."""
    allowed = {**required, **(optional or {})}
    if not isinstance(content, dict):
        raise Wrong(400, "not an object")
    if missing := required.keys() - content.keys():
        raise Wrong(400, f"{', '.join(sorted(missing))}: missing")
    if unknown := content.keys() - allowed.keys():
        raise Wrong(400, f"{', '.join(sorted(unknown))}: not described")
    for name, value in content.items():
        if allowed[name] is not None and not isinstance(value, allowed[name]):
            raise Wrong(400, f"{name}: {type(value).__name__}")


def _content(media_type: str, body: bytes) -> Any:
    if media_type.startswith("application/json"):
        return json.loads(body)
    if not media_type.startswith("multipart/form-data"):
        return None
    form = email.message_from_bytes(b"Content-Type: " + media_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, Any] = {}
    for part in form.get_payload():
        assert isinstance(part, email.message.Message)
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        assert isinstance(value, bytes)
        if part.get_filename() is None:
            fields[str(name)] = value.decode()
        else:
            file = {"name": part.get_filename(), "type": part.get_content_type(), "content": value}
            fields.setdefault(str(name), []).append(file)
    if fields.get("private") in ("true", "false"):
        fields["private"] = fields["private"] == "true"
    return fields


def _public(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the API shows it: of its files, only what they are."""
    files = [{"file_type": file["type"].partition("/")[0]} for file in message.get("attachments[]", [])]
    return {name: value for name, value in message.items() if name != "attachments[]"} | {
        "attachments": files
    }


def _shown(one: Conversation) -> dict[str, Any]:
    return {
        "id": one.id,
        "inbox_id": one.inbox_id,
        "status": one.status,
        "meta": {"sender": {"id": one.contact_id}},
    }


def _cut(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def _reply(handler: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], answer: Any) -> None:
    body = json.dumps(answer).encode()
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-type", "application/json")
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)

"""A small HTTP server that answers as the control API does, for the commands to talk to.

It holds instances whose phases are scripted: each time that somebody looks, the next step is taken.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from actors.disconnect import Disconnection

KEY = "fake-host-key-0123456789"
STATES = {"open": "open", "closed": "close", "failed": "close", "stopping": "close"}


@dataclass
class Instance:
    """One instance: its phases and codes to come, and what is asked of it."""

    name: str
    phases: list[str] = field(default_factory=lambda: ["closed"])
    codes: list[str] = field(default_factory=list)
    pairing: str | None = None
    refused: str | None = None
    profile: str = ""
    last_code: int | None = None
    last_cause: str = "logout"
    shown: int = 0

    @property
    def phase(self) -> str:
        return self.phases[0]

    def step(self) -> None:
        if len(self.phases) > 1:
            self.phases.pop(0)

    def row(self) -> dict[str, Any]:
        opened = self.phase == "open"
        return {
            "id": f"id-{self.name}",
            "name": self.name,
            "connectionStatus": STATES.get(self.phase, "connecting"),
            "phase": self.phase,
            "desired": "up",
            "ownerJid": "5511999999999:3@s.whatsapp.net" if opened else None,
            "profileName": self.profile or None,
            "number": None,
            "token": f"token-of-{self.name}",
            "disconnectionReasonCode": self.last_code,
            "disconnectionObject": self._lost(),
            "disconnectionAt": "2026-01-02T03:04:05.000Z" if self.last_code else None,
        }

    def _lost(self) -> str | None:
        """JSON within the JSON, as the API has it."""
        if self.last_code is None:
            return None
        lost = {"statusCode": self.last_code, "name": Disconnection(self.last_code, "").name}
        return json.dumps({**lost, "cause": self.last_cause})

    def connect(self) -> dict[str, Any]:
        if self.phase == "open":
            return {"instance": {"instanceName": self.name, "state": "open"}}
        code = self.codes[min(self.shown, len(self.codes) - 1)] if self.codes else None
        self.shown += 1
        refused = {} if self.refused is None else {"pairingError": self.refused}
        return {
            **refused,
            "pairingCode": self.pairing,
            "code": code,
            "base64": None,
            "count": min(self.shown, len(self.codes)),
        }


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any


class FakeHost:
    """The server; `url`, `instances`, and `requests` that were made."""

    def __init__(self) -> None:
        self.instances: dict[str, Instance] = {}
        self.requests: list[Request] = []
        self.tree: dict[str, Any] = node("root", "supervisor")
        self.report: dict[str, Any] = {}
        self.raw: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.url = ""

    def add(self, name: str, *phases: str, **fields: Any) -> Instance:
        self.instances[name] = Instance(name, list(phases) or ["closed"], **fields)
        return self.instances[name]

    def environ(self) -> dict[str, str]:
        return {"ZAPVISOR_URL": self.url, "ZAPVISOR_API_KEY": KEY}

    def answer(self, request: Request, key: str | None) -> tuple[int, Any]:
        if key != KEY:
            return error(401, "Unauthorized", "the key is wrong")
        if request.path == "/supervisor/tree":
            return 200, self.tree
        _, _, action, *rest = [*request.path.split("/"), ""]
        name = unquote(rest[0]) if rest else ""
        if action == "fetchInstances":
            return 200, self._rows(request.query.get("instanceName"))
        if action == "create":
            return self._create(request.body)
        instance = self.instances.get(name)
        if instance is None:
            return error(404, "Not Found", f'The "{name}" instance does not exist')
        return self._act(request.method, action, instance)

    def _rows(self, name: str | None) -> list[dict[str, Any]]:
        chosen = [one for one in self.instances.values() if name in (None, one.name)]
        for one in chosen:
            if name is not None:
                one.step()
        return [one.row() for one in chosen]

    def _create(self, body: Any) -> tuple[int, Any]:
        name = body["instanceName"]
        if name in self.instances:
            return error(403, "Forbidden", f'This name "{name}" is already in use.')
        self.add(name)
        return 201, {
            "instance": {"instanceName": name, "instanceId": f"id-{name}", "status": "close"},
            "hash": f"token-of-{name}",
        }

    def _act(self, method: str, action: str, instance: Instance) -> tuple[int, Any]:
        match (method, action):
            case ("GET", "connect"):
                return 200, instance.connect()
            case ("GET", "diagnose"):
                return 200, self.report
            case ("POST", "restart"):
                return 200, {"instance": {"instanceName": instance.name, "state": "connecting"}}
            case ("DELETE", "logout") if instance.phase != "open":
                return error(400, "Bad Request", f'The "{instance.name}" instance is not connected')
            case ("DELETE", "logout"):
                return done("Instance logged out")
            case ("POST", "reset"):
                return done("Instance reset")
            case ("DELETE", "delete"):
                del self.instances[instance.name]
                return done("Instance deleted")
        return error(404, "Not Found", "Cannot")


def node(path: str, kind: str, *children: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A row of the supervision tree."""
    return {
        "path": path,
        "id": path.rpartition("/")[2],
        "kind": kind,
        "state": "running",
        "dueIn": None,
        "restarts": 0,
        "uptime": 61.0,
        "mailbox": 0,
        "pid": None,
        "lastExit": None,
        "children": list(children),
        **fields,
    }


def done(message: str) -> tuple[int, Any]:
    return 200, {"status": "SUCCESS", "error": False, "response": {"message": message}}


def error(status: int, phrase: str, *messages: str) -> tuple[int, Any]:
    return status, {"status": status, "error": phrase, "response": {"message": list(messages)}}


@contextmanager
def serve() -> Iterator[FakeHost]:
    """A running fake host on a free port."""
    fake = FakeHost()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if fake.raw is not None:
                fake.raw(self)
                return
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            request = Request(self.command, parts.path, query, body)
            fake.requests.append(request)
            status, reply = fake.answer(request, self.headers.get("apikey"))
            content = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)

"""Talks to the host's HTTP API within deadlines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from supervisor.cli.failures import Refused, Unreachable
from supervisor.cli.target import Target
from supervisor.redaction import one_line

_CONNECT_TIMEOUT = 5.0
_BODY_LIMIT = 64 * 1024 * 1024


class Client:
    """One host's API.

    Every method raises `Refused` when the host says no, and `Unreachable` when it does not answer.
    """

    def __init__(
        self, target: Target, timeout: float, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Opens no connection yet.

        Args:
            target: the host.
            timeout: seconds for one request in all.
            monotonic: the clock for it.
        """
        self._target = target
        self._timeout = timeout
        self._monotonic = monotonic
        self._http = httpx.Client(
            base_url=target.url,
            headers={"apikey": target.api_key, "User-Agent": "zapvisor-cli"},
            timeout=httpx.Timeout(timeout, connect=min(_CONNECT_TIMEOUT, timeout)),
            trust_env=not target.local,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def rows(self, name: str | None = None) -> list[dict[str, Any]]:
        """`GET /instance/fetchInstances`: all instances, or the one of a name if it exists."""
        query = {} if name is None else {"instanceName": name}
        rows = self._request("GET", "/instance/fetchInstances", query=query)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._strange("a list of instances")
        return rows

    def row(self, name: str) -> dict[str, Any]:
        """The instance of that name."""
        rows = self.rows(name)
        if not rows:
            raise Refused(f'The "{name}" instance does not exist')
        return rows[0]

    def tree(self) -> dict[str, Any]:
        """`GET /supervisor/tree`."""
        return self._object("GET", "/supervisor/tree")

    def create(self, name: str, number: str | None) -> dict[str, Any]:
        """`POST /instance/create`, without connecting."""
        body: dict[str, Any] = {"instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": False}
        if number:
            body["number"] = number
        return self._object("POST", "/instance/create", body=body)

    def connect(self, name: str, number: str | None = None) -> dict[str, Any]:
        """`GET /instance/connect/NAME`: its state when it is open, or the code to scan or to type."""
        return self._object("GET", _path("connect", name), query={"number": number} if number else {})

    def logout(self, name: str) -> dict[str, Any]:
        """`DELETE /instance/logout/NAME`."""
        return self._object("DELETE", _path("logout", name))

    def restart(self, name: str) -> dict[str, Any]:
        """`POST /instance/restart/NAME`."""
        return self._object("POST", _path("restart", name))

    def reset(self, name: str) -> dict[str, Any]:
        """`POST /instance/reset/NAME`."""
        return self._object("POST", _path("reset", name))

    def delete(self, name: str) -> dict[str, Any]:
        """`DELETE /instance/delete/NAME`."""
        return self._object("DELETE", _path("delete", name))

    def diagnose(self, name: str) -> dict[str, Any]:
        """`GET /instance/diagnose/NAME`."""
        return self._object("GET", _path("diagnose", name))

    def _object(
        self, method: str, path: str, *, query: Mapping[str, str | None] | None = None, body: Any = None
    ) -> dict[str, Any]:
        reply = self._request(method, path, query=query, body=body)
        if not isinstance(reply, dict):
            raise self._strange("a JSON object")
        return reply

    def _request(
        self, method: str, path: str, *, query: Mapping[str, str | None] | None = None, body: Any = None
    ) -> Any:
        try:
            status, content = self._exchange(method, path, query or {}, body)
        except httpx.TimeoutException:
            raise Unreachable(f"{self._target.url} did not answer within {self._timeout:g} s") from None
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._target.url} cannot be reached: {one_line(str(error))}") from None
        if status >= 400:
            raise Refused(_refusal(status, content))
        try:
            return json.loads(content)
        except ValueError:
            raise self._strange("JSON") from None

    def _exchange(
        self, method: str, path: str, query: Mapping[str, str | None], body: Any
    ) -> tuple[int, bytes]:
        # httpx's limits are for each read; a server that drips needs one for the whole.
        deadline = self._monotonic() + self._timeout
        parts: list[bytes] = []
        with self._http.stream(method, path, params=dict(query), json=body) as response:
            for part in response.iter_bytes():
                parts.append(part)
                if sum(map(len, parts)) > _BODY_LIMIT:
                    raise self._strange(f"less than {_BODY_LIMIT} bytes")
                if self._monotonic() > deadline:
                    raise httpx.ReadTimeout("the whole answer took too long")
            return response.status_code, b"".join(parts)

    def _strange(self, expected: str) -> Refused:
        return Refused(f"{self._target.url} answered something else than {expected}; is it zapvisor?")


def _path(action: str, name: str) -> str:
    return f"/instance/{action}/{quote(name, safe='')}"


def _refusal(status: int, content: bytes) -> str:
    """The host's own words, with the status when there are none."""
    messages: Sequence[Any] = ()
    try:
        answer = json.loads(content)
        found = answer["response"]["message"]
        messages = found if isinstance(found, list) else [found]
    except (ValueError, KeyError, TypeError, RecursionError):
        messages = ()
    text = "; ".join(one_line(str(message)) for message in messages if message)[:2000]
    if status == 401:
        return f"{text or 'Unauthorized'} (the key is not the host's; see ZAPVISOR_API_KEY and -c)"
    return text or f"the host answered {status}"

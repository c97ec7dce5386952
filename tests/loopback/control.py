"""The network face of a service: ``POST /COMMAND`` with JSON arguments on 127.0.0.1.

A good answer is 200 with ``{"result": …}``. 400 (bad arguments), 404 (no such connection, device or
command), 408 (a deadline passed) and 500 come with ``{"error": kind, "message": text}``.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

from .commands import Commands
from .pairing import PairingError

HEAD_MAX: Final = 16 * 1024
BODY_MAX: Final = 1 << 20
READ_WITHIN: Final = 10.0

ERRORS: Final[tuple[tuple[type[Exception], int], ...]] = (
    (PairingError, 400),
    (ValueError, 400),
    (TypeError, 400),
    (LookupError, 404),
    (TimeoutError, 408),
)


class ControlServer:
    """Serves one service's commands; each connection carries one request."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> int:
        """Listen on 127.0.0.1 and return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=HEAD_MAX)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_WITHIN):
                name, arguments = await _read_request(reader)
        except (ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            status, answer = 400, _error(error)
        else:
            status, answer = await self._run(name, arguments)
        try:
            writer.write(_response(status, answer))
            await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    async def _run(self, name: str, arguments: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            return 200, {"result": await self._commands.dispatch(name, arguments)}
        except Exception as error:
            status = next((code for kind, code in ERRORS if isinstance(error, kind)), 500)
            return status, _error(error)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.split("\r\n")
    method, path, *_ = [*request.split(" "), ""]
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    size = int(headers.get("content-length", "0"))
    if method != "POST":
        raise ValueError(f"method {method!r}: commands are sent with POST")
    if not 0 <= size <= BODY_MAX:
        raise ValueError(f"body of {size} bytes, at most {BODY_MAX} are allowed")
    arguments = json.loads(await reader.readexactly(size) or b"{}")
    if not isinstance(arguments, dict):
        raise ValueError("the body is not a JSON object")
    return path.strip("/"), arguments


def _error(error: BaseException) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": str(error)}


def _response(status: int, answer: dict[str, Any]) -> bytes:
    body = json.dumps(answer).encode()
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body

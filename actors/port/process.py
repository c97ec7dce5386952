"""The life of one port: a process of its own that holds one connection and is used once.

The main thread waits for commands and sends the heartbeats, so a heartbeat proves that the interpreter runs
and that commands are read. The connection has one thread, each command in progress another. The process ends
when the connection ends, when the host's end of the pipe closes, or when its parent dies.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from actors.port import events, library, linux, session_file
from actors.port.spec import PortSpec
from actors.port.wire import Decoder, encode

if TYPE_CHECKING:
    from actors.port.child import Client

EXIT_DONE = 0
EXIT_FAILED = 70
"""The port itself is at fault (`EX_SOFTWARE` of `sysexits.h`)."""

MAX_COMMANDS = 8
"""Commands in progress at once."""

_SHARED_STORE_SECONDS = 15.0
_CHUNK = 65536
_log = logging.getLogger("port")


class Port:
    """What runs in the process.

    Args:
        spec: the connection.
        pipe: this side of the socket pair to the host.
    """

    def __init__(self, spec: PortSpec, pipe: socket.socket) -> None:
        self._spec = spec
        self._pipe = pipe
        self._sending = threading.Lock()
        self._running = threading.BoundedSemaphore(MAX_COMMANDS)
        self._decoder = Decoder()

    def run(self, loaded: library.Preload) -> NoReturn:
        """Live until the end of the process."""
        fault = _store_fault(self._spec, loaded)
        if fault is not None:
            self.emit(fault)
            end(EXIT_DONE)
        if self._spec.proxy_url is not None:
            # The spec's proxy alone applies: the library would chain a SOCKS proxy behind the environment's.
            for name in ("HTTPS_PROXY", "https_proxy"):
                linux.forget_variable(name)
        library.bind(loaded)
        child = importlib.import_module("actors.port.child")
        client: Client = child.Client(self._spec, self.emit, _fatal)
        library.adapt(self._log_writer(client))
        self.emit(events.Ready())
        threading.Thread(target=self._connect, args=(client,), name="connect", daemon=True).start()
        self._serve(client)

    def emit(self, event: events.Event) -> None:
        """Tell the owner."""
        self._send(events.to_json(event))

    def _connect(self, client: Client) -> None:
        try:
            self.emit(client.connect())
        except BaseException:  # noqa: BLE001  (it ends the process)
            _log.exception("connect failed")
            _fatal()
        if not client.stopped:  # else the stop ends the process, once it has been answered
            end(EXIT_DONE)

    def _serve(self, client: Client) -> NoReturn:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        due = time.monotonic()
        while True:
            wait = due - time.monotonic()
            if wait <= 0:
                self.emit(_heartbeat())
                due = time.monotonic() + self._spec.heartbeat
            elif poll.poll(wait * 1000):
                self._receive(client)

    def _receive(self, client: Client) -> None:
        data = self._pipe.recv(_CHUNK)
        if not data:
            end(EXIT_DONE)
        for message in self._decoder.feed(data):
            if not self._running.acquire(blocking=False):
                self._refuse(message.get("id"), "busy", f"{MAX_COMMANDS} commands are in progress")
                continue
            threading.Thread(
                target=self._command, args=(client, message), name="command", daemon=True
            ).start()

    def _command(self, client: Client, message: Mapping[str, Any]) -> None:
        request_id, name = message.get("id"), message.get("command")
        arguments, deadline = message.get("arguments") or {}, message.get("deadline", 0.0)
        call = client.commands.get(name) if isinstance(name, str) else None
        try:
            if call is None:
                self._refuse(request_id, "unknown-command", f"unknown command {name!r:.40}")
            elif time.monotonic() >= deadline:
                self._refuse(request_id, "expired", "the command's time was over before it was read")
            else:
                self._answer(request_id, call, arguments)
        except BaseException:  # noqa: BLE001  (it ends the process)
            _log.exception("command failed")
            _fatal()
        finally:
            self._running.release()
        if name == "stop":
            end(EXIT_DONE)

    def _answer(self, request_id: Any, call: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        try:
            value = call(**arguments)
        except Exception as error:  # noqa: BLE001  (whatever the library raises is the command's answer)
            text = _text_of(error)
            self._refuse(request_id, getattr(error, "kind", _kind_of(error)), text)
        else:
            self._send({"result": request_id, "value": value})

    def _refuse(self, request_id: Any, kind: str, text: str) -> None:
        self._send({"result": request_id, "error": self._redact(text), "kind": kind})

    def _send(self, message: Mapping[str, Any]) -> None:
        text = message.get("error")
        if isinstance(text, str):
            message = {**message, "error": self._redact(text)}
        frame = encode(message)
        try:
            with self._sending:
                self._pipe.sendall(frame)
        except OSError:
            end(EXIT_DONE)  # the host is gone, or has no interest any more

    def _redact(self, text: str) -> str:
        for secret in self._spec.secrets():
            text = text.replace(secret, "***")
        return text[:2000]

    def _log_writer(self, client: Client) -> Callable[[str, str, str], None]:
        floor = getattr(logging, self._spec.log_level)
        # What the library makes no event of is read from its log, up to this level.
        logging.getLogger("neonize.utils.log").setLevel(min(floor, logging.INFO))

        def write(name: str, level: str, text: str) -> None:
            if client.note_log(text):
                end(EXIT_DONE)
            number = logging.getLevelNamesMapping().get(level, logging.INFO)
            if number >= floor:
                logging.getLogger(f"whatsmeow.{name.replace('/', '.')}").log(number, "%s", text)

        return write


def log_to_stderr() -> None:
    """Log in the form that the host's log knows to read a level from."""
    logging.basicConfig(format="%(name)s %(levelname)s %(message)s", level=logging.INFO)


def main(spec: PortSpec, pipe: socket.socket, loaded: library.Preload) -> NoReturn:
    """Be a port, to the end of the process."""
    try:
        linux.set_process_name(f"zap:{spec.instance}")
        linux.prefer_as_oom_victim(300)
        logging.getLogger().setLevel(spec.log_level)
        Port(spec, pipe).run(loaded)
    except BaseException:  # noqa: BLE001  (it ends the process)
        _log.exception("port failed")
        _fatal()


def end(code: int) -> NoReturn:
    """End the process now: neither the library's threads nor the interpreter's teardown can be waited for."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or EXIT_DONE  # the host reads no more
    os._exit(code)


def _fatal() -> NoReturn:
    end(EXIT_FAILED)


def _heartbeat() -> events.Heartbeat:
    return events.Heartbeat(linux.resident_bytes(), linux.count_threads(), linux.count_descriptors())


def _text_of(error: Exception) -> str:
    """Give an error's text; the library leaves some as bytes."""
    first = error.args[0] if error.args else None
    text = first.decode("utf-8", "replace") if isinstance(first, bytes) else str(error)
    return text or type(error).__name__


def _kind_of(error: Exception) -> str:
    return "bad-argument" if isinstance(error, TypeError) else "refused"


def _store_fault(spec: PortSpec, loaded: library.Preload) -> events.SessionStoreFailed | None:
    if not spec.is_postgres:
        return session_file.check(Path(spec.session_url), spec.jid)
    return None if spec.jid is None else _ask_shared_store(spec, loaded)


def _ask_shared_store(spec: PortSpec, loaded: library.Preload) -> events.SessionStoreFailed | None:
    """Ask in a process of its own: the question leaves a database connection behind, and it may hang."""
    reader, writer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        linux.die_with_parent(parent)
        library.bind(loaded)
        child = importlib.import_module("actors.port.child")
        fault = child.shared_store_fault(spec)
        os.write(writer, json.dumps(fault and [fault.error, fault.fault]).encode()[:_CHUNK])
        os._exit(EXIT_DONE)
    os.close(writer)
    answered, _, _ = select.select([reader], [], [], _SHARED_STORE_SECONDS)
    answer = os.read(reader, _CHUNK) if answered else b""
    os.close(reader)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if not answer:
        return events.SessionStoreFailed(
            f"session store gave no answer in {_SHARED_STORE_SECONDS:g} s", "unavailable"
        )
    fault = json.loads(answer)
    return None if fault is None else events.SessionStoreFailed(*fault)

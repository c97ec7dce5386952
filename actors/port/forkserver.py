"""Forks ports from a process that has the client library's Python in memory already.

It holds one thread and never the library's Go half. It speaks with the host over a sequenced-packet socket,
one JSON object a packet: the host sends `spawn` with the port's pipe ends as descriptors; it answers
`started` (with a descriptor of the new process) or `failed`, and reports `exited` with the wait status of
each child. It ends when the host's end closes or the host dies, and its children end with it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

from actors.port import library, linux, process
from actors.port.spec import PortSpec

PACKET_BYTES = 65536
_DESCRIPTORS = 2


class Forkserver:
    """The loop.

    Args:
        control: the socket to the host.
        loaded: what was preloaded.
    """

    def __init__(self, control: socket.socket, loaded: library.Preloaded) -> None:
        self._control = control
        self._loaded = loaded
        self._children: dict[int, int] = {}
        self._woken, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)

    def serve(self) -> NoReturn:
        """Fork on request until the host closes its end."""
        self._tell({"event": "ready", "level": self._loaded.level.value, "warning": self._loaded.warning})
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._woken:
                    self._reap()
                else:
                    self._request()

    def _request(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._control, PACKET_BYTES, _DESCRIPTORS)
        if not data:
            raise SystemExit(0)
        request = json.loads(data)
        try:
            self._spawn(request["id"], PortSpec.from_json(request["spec"]), *descriptors)
        except OSError as error:
            self._tell({"event": "failed", "id": request["id"], "error": str(error)})
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _spawn(self, number: int, spec: PortSpec, pipe: int, output: int) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_port(parent, spec, pipe, output, self._loaded.level)
        self._children[pid] = number
        handle = os.pidfd_open(pid)
        try:
            self._tell({"event": "started", "id": number, "pid": pid}, [handle])
        finally:
            os.close(handle)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, PACKET_BYTES)
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            number = self._children.pop(pid, None)
            if number is not None:  # else it is a helper that an import ran and left
                self._tell({"event": "exited", "id": number, "status": status})

    def _tell(self, message: Mapping[str, Any], descriptors: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], descriptors or [])
        except (BrokenPipeError, ConnectionResetError):
            raise SystemExit(0) from None  # the host is gone


def _become_port(parent: int, spec: PortSpec, pipe: int, output: int, loaded: library.Preload) -> NoReturn:
    """Turn the fork into a port: only its own descriptors, signals as a fresh process has them."""
    try:
        linux.die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(output, sys.stdout.fileno())
        os.dup2(output, sys.stderr.fileno())
        linux.close_all_descriptors(keep=[pipe])
        gc.enable()
        process.main(spec, socket.socket(fileno=pipe), loaded)
    except BaseException:  # noqa: BLE001  (the fork must never return into the forkserver's loop)
        traceback.print_exc()
    finally:
        os._exit(process.EXIT_FAILED)


def _forget_lookups() -> None:
    """Empty the interpreter's cache of looked-up attributes.

    It counts a reference to each name that it holds. A child's first look-ups would push them out, and each would
    make the page its own in which that name lies, for a name that the child never uses.
    """
    clear = getattr(sys, "_clear_internal_caches", None)  # Python 3.13 and newer
    (clear or sys._clear_type_cache)()


def main(arguments: list[str]) -> NoReturn:
    """Run the forkserver.

    Args:
        arguments: the control socket's descriptor, the host's process id, how much to preload.
    """
    control, host, wanted = int(arguments[0]), int(arguments[1]), library.Preload(arguments[2])
    linux.die_with_parent(host)
    linux.set_process_name("zap:forkserver")
    linux.one_malloc_arena()
    os.umask(0o077)  # session databases are nobody else's
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold keys
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the host to handle
    process.log_to_stderr()  # here already, so that the children share it
    gc.disable()  # no holes in the heap that the children share
    loaded = library.preload(wanted)
    _forget_lookups()
    gc.freeze()
    linux.trim_malloc()
    linux.fill_malloc_holes()  # each child's own data come to lie together, not in the pages that all share
    Forkserver(socket.socket(fileno=control), loaded).serve()


if __name__ == "__main__":
    main(sys.argv[1:])

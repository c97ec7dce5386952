"""The host's end of one port: its pipe, its output, its process, and what its owner has not taken yet.

Everything here runs on the reader thread; `pid` and `alive` alone are read by others.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any

from actors.port import events
from actors.port.messages import (
    CommandResult,
    CommandTimeout,
    PortEvent,
    PortExited,
    PortMessage,
    PortStarted,
    result_from_json,
)
from actors.port.output import OutputLog
from actors.port.spec import PortSpec
from actors.port.wire import Decoder, WireError
from supervisor.otp import MailboxFull, Ref

MAX_PENDING = 64
"""Commands of one port that may wait for their results."""

MAX_OUTGOING = 256 * 1024
"""Bytes of commands that may wait for one port to read them."""

STUCK_SECONDS = 30.0
"""How long an owner may leave its mailbox full before its port is killed."""

_CHUNK = 65536
_log = logging.getLogger("zapvisor.port")


class Link:
    """One port, seen from the host.

    Args:
        number: the forkserver's name for it.
        spec: what it was started with.
        owner: gets everything it says.
        incarnation: goes with everything it says.

    Raises:
        OSError: no descriptors are left.
    """

    def __init__(self, number: int, spec: PortSpec, owner: Ref, incarnation: int) -> None:
        self.number = number
        self.spec = spec
        self.owner = owner
        self.incarnation = incarnation
        self.pid: int | None = None
        self.alive = True
        self.over = False
        self._process: int | None = None
        self._status: int | None = None
        self._kill_requested = False
        self._trouble: str | None = None
        self._at_end = False
        self._exit_told = False
        self._decoder = Decoder()
        self._outgoing = bytearray()
        self._pending: dict[int, str] = {}
        self._undelivered: collections.deque[PortMessage] = collections.deque()
        self._stuck_since = 0.0
        self._lines = OutputLog(self._log_line, spec.secrets())
        self.pipe, theirs = socket.socketpair()
        try:
            self.output, their_output = os.pipe2(os.O_CLOEXEC)
        except OSError:
            self.pipe.close()
            theirs.close()
            raise
        self.pipe.setblocking(False)
        os.set_blocking(self.output, False)
        self._their_ends: tuple[int, ...] = (theirs.detach(), their_output)

    # --- what the reader asks ---

    @property
    def their_ends(self) -> tuple[int, ...]:
        """The descriptors for the child: its pipe and its output. Empty once handed over."""
        return self._their_ends

    @property
    def wants_to_read(self) -> bool:
        """Whether the pipe is to be read; not while the owner has something to take first."""
        return not self._at_end and not self._undelivered

    @property
    def wants_to_write(self) -> bool:
        """Whether commands wait for the port to take them."""
        return bool(self._outgoing) and not self._at_end

    @property
    def waits_for_owner(self) -> bool:
        """Whether the owner's mailbox was full."""
        return bool(self._undelivered)

    # --- what happens to the process ---

    def handed_over(self) -> None:
        """The forkserver has the child's descriptors: the host keeps none of them."""
        ends, self._their_ends = self._their_ends, ()
        for descriptor in ends:
            os.close(descriptor)

    def started(self, pid: int, process: int) -> None:
        """The process exists. Takes over `process`, a descriptor of it."""
        self.pid = pid
        self._process = process
        self._deliver(PortStarted(self.incarnation, pid))
        if not self.alive:
            self._signal()

    def exited(self, status: int) -> None:
        """The process ended with this wait status."""
        self.alive = False
        self._status = status
        self.read_output()
        self.proceed()

    def failed(self, why: str) -> None:
        """There is no process, or no more news of it."""
        self._trouble = self._trouble or why
        self.kill(requested=False)
        self._at_end = True
        self._status = -1
        self.proceed()

    def kill(self, *, requested: bool) -> None:
        """End the process at once; it may still have to be started."""
        self._kill_requested = self._kill_requested or requested
        self.alive = False
        self._signal()

    def proceed(self) -> None:
        """Go on where the owner's full mailbox, or the process's end, left off."""
        while self._undelivered and self._give(self._undelivered[0]):
            self._undelivered.popleft()
        if self._undelivered:
            self._check_stuck()
            return
        if self._status is None:
            return
        while self.wants_to_read:
            self.read()
        if self._undelivered:
            return
        if not self._exit_told:
            self._exit_told = True
            self._deliver(self._exit_message(self._status))
        self.over = not self._undelivered

    def close(self) -> None:
        """Give every descriptor back."""
        self._lines.finish()
        self.handed_over()
        self.pipe.close()
        os.close(self.output)
        if self._process is not None:
            os.close(self._process)
            self._process = None

    # --- what the port and its owner say ---

    def read(self) -> None:
        """Take what the port has said."""
        try:
            data = self.pipe.recv(_CHUNK)
        except BlockingIOError:
            self._at_end = self._status is not None
            return
        except OSError:
            data = b""
        if not data:
            self._at_end = True
            self.kill(requested=False)  # it ends, or has nobody to talk to any more
            return
        try:
            for message in self._decoder.feed(data):
                self._deliver(self._message(message))
        except WireError as error:
            self._fail(f"garbage on the pipe: {error}")

    def write(self) -> None:
        """Hand over as many bytes of the waiting commands as the port takes."""
        try:
            sent = self.pipe.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # it ends: its exit is about to be told
            return
        del self._outgoing[:sent]

    def read_output(self) -> None:
        """Log what the port has printed."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.output, _CHUNK):
                self._lines.feed(data)
                if self.alive:
                    return

    def command(self, request_id: int, name: str, frame: bytes) -> None:
        """Send a command, or answer that it cannot be."""
        if not self.alive:
            return
        if len(self._pending) >= MAX_PENDING or len(self._outgoing) + len(frame) > MAX_OUTGOING:
            error = f"{len(self._pending)} commands wait for this port already"
            self._deliver(CommandResult(self.incarnation, request_id, None, error, "busy"))
            return
        self._pending[request_id] = name
        self._outgoing += frame
        self.write()

    def expire(self, request_id: int) -> None:
        """A command's time is over: if it has no result yet, its owner hears that."""
        name = self._pending.pop(request_id, None)
        if name is not None:
            self._deliver(CommandTimeout(self.incarnation, request_id, name))

    # --- inside ---

    def _message(self, message: Mapping[str, Any]) -> PortMessage | None:
        if "event" in message:
            return PortEvent(self.incarnation, events.from_json(message))
        result = result_from_json(self.incarnation, message)
        return result if self._pending.pop(result.request_id, None) is not None else None

    def _deliver(self, message: PortMessage | None) -> None:
        if message is None:
            return
        if self._undelivered or not self._give(message):
            if not self._undelivered:
                self._stuck_since = time.monotonic()
            self._undelivered.append(message)

    def _give(self, message: PortMessage) -> bool:
        try:
            taken = self.owner.cast(message)
        except MailboxFull:
            return False
        if not taken and self.alive:
            self._trouble = "its owner is gone"
            self.kill(requested=True)
        return True

    def _check_stuck(self) -> None:
        if self.alive and time.monotonic() - self._stuck_since > STUCK_SECONDS:
            self._fail(f"its owner left its mailbox full for {STUCK_SECONDS:g} s")

    def _fail(self, why: str) -> None:
        _log.error("%s", why, extra={"instance": self.spec.instance, "pid": self.pid})
        self._trouble = why
        self._at_end = True
        self.kill(requested=False)

    def _signal(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)

    def _exit_message(self, status: int) -> PortExited:
        code = os.waitstatus_to_exitcode(status) if status >= 0 else None
        number = -code if code is not None and code < 0 else None
        if code is None:
            reason = self._trouble or "never ran"
        else:
            reason = f"exit code {code}" if number is None else _signal_name(number)
            reason = f"{reason}: {self._trouble}" if self._trouble else reason
        exit_code = None if number is not None else code
        return PortExited(self.incarnation, exit_code, number, self._kill_requested, reason)

    def _log_line(self, level: int, line: str) -> None:
        extra = {"instance": self.spec.instance, "incarnation": self.incarnation, "pid": self.pid}
        _log.log(level, "%s", line, extra=extra)


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"

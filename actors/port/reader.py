"""The one thread that reads and writes every port's pipe, and the forkserver's socket.

It owns all their descriptors; other threads only leave requests. It waits for no port and for no owner: while
an owner's mailbox is full its port is not read from, so that in the end the port has to wait.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import logging
import os
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.port.launcher import Launcher
from actors.port.link import Link
from actors.port.output import OutputLog

_PACKET_BYTES = 65536
_RETRY_SECONDS = 0.1
_log = logging.getLogger("zapvisor.port")


@dataclass(frozen=True, slots=True)
class ForkserverReady:
    """It has preloaded what it could."""

    level: str
    warning: str | None


@dataclass(frozen=True, slots=True)
class ForkserverGone:
    """No port can be started any more, and those that ran are dead or dying."""

    why: str


@dataclass(frozen=True, slots=True)
class PortEnded:
    """A port is over and its owner knows."""

    number: int


Notice = ForkserverReady | ForkserverGone | PortEnded

Action = Callable[[int], None]
"""What is done when a descriptor is ready; gets epoll's mask."""


class Reader:
    """The thread and what it owns. `launch`, `command`, `expire` and `kill` may be called from any thread.

    Args:
        launcher: the forkserver.
        notify: gets each `Notice`, on the reader's thread; must not block.
    """

    def __init__(self, launcher: Launcher, notify: Callable[[Notice], None]) -> None:
        self._launcher = launcher
        self._notify = notify
        self._requests: collections.deque[Callable[[], object]] = collections.deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._actions: dict[int, Action] = {}
        self._masks: dict[int, int] = {}
        self._links: dict[int, Link] = {}
        self._launches: collections.deque[Link] = collections.deque()
        self._ready = threading.Event()
        self._own_lines = OutputLog(_log_forkserver)
        self._lost: str | None = None
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ports/reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        control = self._launcher.control.fileno()
        own = {self._wake: self._woken, control: self._control_ready, self._launcher.output: self._own_output}
        for descriptor, action in own.items():
            self._actions[descriptor] = action
            self._watch(descriptor, select.EPOLLIN)
        self._thread.start()

    def wait_until_ready(self, timeout: float) -> str | None:
        """Wait until the forkserver can fork: None, or why it cannot."""
        if not self._ready.wait(timeout):
            return f"the forkserver was not ready in {timeout:g} s"
        return self._lost

    def join(self, timeout: float) -> bool:
        """Wait `timeout` seconds for its end, which follows the forkserver's. Whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def launch(self, link: Link) -> None:
        """Have the forkserver start a port. Without a forkserver the owner hears that it exited."""
        if not self._request(lambda: self._begin(link)):
            link.failed("the forkserver is gone")
            link.close()

    def command(self, link: Link, request_id: int, name: str, frame: bytes) -> None:
        """Send a command to a port."""
        self._request(lambda: self._after(link, lambda: link.command(request_id, name, frame)))

    def expire(self, link: Link, request_id: int) -> None:
        """A command's time is over."""
        self._request(lambda: self._after(link, lambda: link.expire(request_id)))

    def kill(self, link: Link, *, requested: bool) -> None:
        """Kill a port."""
        self._request(lambda: self._after(link, lambda: link.kill(requested=requested)))

    def echo(self, answer: Callable[[], object]) -> None:
        """Call a function on the thread, which shows that it still comes round. After its end, never."""
        self._request(answer)

    # --- requests ---

    def _request(self, action: Callable[[], object]) -> bool:
        with self._closing:
            if self._closed:
                return False
            self._requests.append(action)
            os.eventfd_write(self._wake, 1)
            return True

    def _woken(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        while self._requests:
            self._requests.popleft()()

    def _begin(self, link: Link) -> None:
        self._links[link.number] = link
        self._actions[link.pipe.fileno()] = functools.partial(self._pipe_ready, link)
        self._actions[link.output] = functools.partial(self._output_ready, link)
        self._launches.append(link)
        self._send_launches()

    def _after(self, link: Link, action: Callable[[], None]) -> None:
        if link.number in self._links:
            action()
            self._settle(link)

    # --- the loop ---

    def _run(self) -> None:
        try:
            while self._lost is None:
                waiting = any(link.waits_for_owner for link in self._links.values())
                self._act(self._epoll.poll(_RETRY_SECONDS if waiting else None))
                if waiting:
                    self._retry()
        except Exception as error:  # noqa: BLE001  (a bug here is the end of the ports' actor, with its reason)
            _log.exception("the port reader failed")
            self._lost = f"the port reader failed: {error!r}"
        finally:
            self._end(self._lost or "the port reader ended")

    def _act(self, ready: list[tuple[int, int]]) -> None:
        """Do what is due. A descriptor that is closed and used again meanwhile is left for the next turn."""
        due = [(descriptor, mask, self._actions.get(descriptor)) for descriptor, mask in ready]
        for descriptor, mask, action in due:
            if action is not None and action is self._actions.get(descriptor):
                action(mask)

    def _retry(self) -> None:
        for link in [link for link in self._links.values() if link.waits_for_owner]:
            self._after(link, link.proceed)

    def _end(self, why: str) -> None:
        """Tell every owner that its port is gone: the forkserver was their parent, so they are."""
        with self._closing:
            self._closed = True
        self._woken(0)
        for link in list(self._links.values()):
            link.failed(why)
            link.close()
        self._own_lines.finish()
        self._ready.set()
        self._launcher.close()
        self._epoll.close()
        os.close(self._wake)
        self._notify(ForkserverGone(why))

    # --- one port ---

    def _settle(self, link: Link) -> None:
        """Listen to what the port now waits for; forget it when it is over."""
        if link.over:
            self._forget(link)
            return
        mask = (select.EPOLLIN if link.wants_to_read else 0) | (select.EPOLLOUT if link.wants_to_write else 0)
        self._watch(link.pipe.fileno(), mask)

    def _pipe_ready(self, link: Link, mask: int) -> None:
        if mask & select.EPOLLOUT:
            link.write()
        if mask & ~select.EPOLLOUT and link.wants_to_read:
            link.read()
        self._settle(link)

    def _output_ready(self, link: Link, mask: int) -> None:
        link.read_output()
        if mask & select.EPOLLHUP and not mask & select.EPOLLIN:
            self._watch(link.output, 0)

    def _forget(self, link: Link) -> None:
        for descriptor in (link.pipe.fileno(), link.output):
            self._watch(descriptor, 0)
            del self._actions[descriptor]
        link.close()
        del self._links[link.number]
        self._notify(PortEnded(link.number))

    # --- the forkserver ---

    def _control_ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._send_launches()
        if mask & ~select.EPOLLOUT:
            self._hear_forkserver()

    def _send_launches(self) -> None:
        control = self._launcher.control
        while self._launches:
            link = self._launches[0]
            request = json.dumps({"id": link.number, "spec": link.spec.to_json()}).encode()
            try:
                socket.send_fds(control, [request], link.their_ends)
            except BlockingIOError:
                break
            except OSError as error:
                self._launches.popleft()
                link.failed(f"it could not be started: {error}")
                self._settle(link)
                continue
            self._launches.popleft()
            self._launched(link)
        mask = select.EPOLLIN | (select.EPOLLOUT if self._launches else 0)
        self._watch(control.fileno(), mask)

    def _launched(self, link: Link) -> None:
        link.handed_over()
        self._watch(link.output, select.EPOLLIN)
        self._settle(link)

    def _hear_forkserver(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._launcher.control, _PACKET_BYTES, 1)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost = f"the forkserver is gone: {error}"
            return
        if not data:
            self._lost = "the forkserver is gone"
            return
        self._obey(json.loads(data), descriptors)

    def _obey(self, message: dict[str, Any], descriptors: list[int]) -> None:
        if message["event"] == "ready":
            self._ready.set()
            self._notify(ForkserverReady(message["level"], message["warning"]))
            return
        link = self._links[message["id"]]
        match message["event"]:
            case "started":
                link.started(message["pid"], descriptors[0])
            case "failed":
                link.failed(f"it could not be started: {message['error']}")
            case "exited":
                link.exited(message["status"])
        self._settle(link)

    def _own_output(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._own_lines.feed(os.read(self._launcher.output, _PACKET_BYTES))
        if mask & select.EPOLLHUP and not mask & select.EPOLLIN:
            self._watch(self._launcher.output, 0)

    # --- epoll ---

    def _watch(self, descriptor: int, mask: int) -> None:
        """Have the descriptor's action done when it is ready for `mask`; for 0 never, not even at a hang-up."""
        before = self._masks.pop(descriptor, 0)
        if mask:
            if not before:
                self._epoll.register(descriptor, mask)
            elif mask != before:
                self._epoll.modify(descriptor, mask)
            self._masks[descriptor] = mask
        elif before:
            self._epoll.unregister(descriptor)


def _log_forkserver(level: int, line: str) -> None:
    _log.log(level, "forkserver: %s", line)

"""What the owner of a port holds of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from actors.port.messages import command_to_json
from actors.port.wire import encode

if TYPE_CHECKING:
    from actors.port.spec import PortSpec


class PortGone(Exception):
    """The port has ended, or was told to."""

    def __init__(self, instance: str, incarnation: int) -> None:
        super().__init__(f"port of {instance} (incarnation {incarnation}) is gone")


class PortState(Protocol):
    """What is known of a port, published by the reader thread."""

    spec: PortSpec
    incarnation: int
    pid: int | None
    alive: bool


class PortHandle:
    """One port. Its methods may be called from any thread and never wait.

    Args:
        state: where the reader thread publishes.
        send: hands a framed command over: request id, name, frame, seconds.
        kill: has the process killed.
    """

    def __init__(
        self,
        state: PortState,
        send: Callable[[int, str, bytes, float], None],
        kill: Callable[[], None],
    ) -> None:
        self._state = state
        self._send = send
        self._kill = kill
        self._requests = itertools.count(1)

    @property
    def incarnation(self) -> int:
        """The number that the owner gave it; it is on everything that comes from it."""
        return self._state.incarnation

    @property
    def instance(self) -> str:
        """The instance's name, from its spec."""
        return self._state.spec.instance

    @property
    def pid(self) -> int | None:
        """Its process id; None until it has started."""
        return self._state.pid

    @property
    def alive(self) -> bool:
        """False once it ended or a kill was asked for."""
        return self._state.alive

    def command(self, name: str, timeout: float, **arguments: Any) -> int:
        """Send a command. The owner gets a `CommandResult` or, after `timeout` seconds, a `CommandTimeout`.

        Commands: `pair_phone(number)` gives `{"code"}`, after the first QR code; `logout()`; `stop()`, after
            which
        the port exits with 0; `set_presence(presence)` with `available` or `unavailable`; `profile()` gives
        `jid`, `lid`, `push_name`, `business_name`, `platform`, `picture_url`.

        Args:
            name: one of the commands.
            timeout: seconds.
            arguments: the command's own.

        Returns:
            The request id, on the result.

        Raises:
            PortGone: there is nobody to send it to.
            WireError: the arguments are not JSON or too large.
            ValueError: `timeout` is not positive.
        """
        if not timeout > 0:
            raise ValueError(f"timeout: {timeout!r}; allowed are seconds above 0")
        if not self._state.alive:
            raise PortGone(self.instance, self.incarnation)
        request_id = next(self._requests)
        frame = encode(command_to_json(request_id, name, arguments, time.monotonic() + timeout))
        self._send(request_id, name, frame, timeout)
        return request_id

    def kill(self) -> None:
        """End the process with SIGKILL, at once. Killing it again, or when it is gone, does nothing."""
        self._kill()

    def __repr__(self) -> str:
        return f"<PortHandle {self.instance} #{self.incarnation} pid {self.pid}>"

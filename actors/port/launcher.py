"""Starts the forkserver, from the host."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from actors.port.library import Preload

_GO_SETTINGS: Mapping[str, str] = {"GOGC": "50", "GOMAXPROCS": "1"}
"""Unless the environment has others. A port waits most of the time, and there are hundreds: with one processor for
its Go half, it starts with less work and has fewer caches of memory. What blocks in C or in Python keeps none.
"""


class Launcher:
    """The forkserver's process and the host's end of its socket.

    It dies when the thread that started it ends, by the kernel, so that is the thread of the actor that owns
    it.

    Args:
        preload: how much of the client library it loads before it forks.
        environment: for it and the ports; None for the host's own.

    Attributes:
        control: the socket, non-blocking.
        output: the end of the pipe that its own output comes from, non-blocking.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, preload: Preload, environment: Mapping[str, str] | None = None) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output, their_output = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "actors.port.forkserver",
                    str(theirs.fileno()),
                    str(os.getpid()),
                    preload,
                ],
                env=_environment(os.environ if environment is None else environment),
                stdin=subprocess.DEVNULL,
                stdout=their_output,
                stderr=their_output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()
            os.close(their_output)
        self.control.setblocking(False)
        os.set_blocking(self.output, False)

    @property
    def pid(self) -> int:
        """The forkserver's process id."""
        return self._process.pid

    def exit_code(self, timeout: float) -> int | None:
        """Wait `timeout` seconds for its end: the exit code, negative for a signal; None if it still runs."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self, timeout: float) -> None:
        """End it, and with it every port, within `timeout` seconds."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

    def close(self) -> None:
        """Close the host's ends."""
        self.control.close()
        with contextlib.suppress(OSError):
            os.close(self.output)


def _environment(base: Mapping[str, str]) -> dict[str, str]:
    """Have the forkserver import what the host would, its PYTHONPATH (and a sitecustomize there) first.

    Go's settings are here because its runtime reads the environment that the forkserver was started with, never what
    Python changes in it later.
    """
    before = [entry for entry in base.get("PYTHONPATH", "").split(os.pathsep) if entry]
    here = [str(Path(entry).absolute()) for entry in sys.path]
    path = dict.fromkeys([*before, *here])
    return {**_GO_SETTINGS, **base, "PYTHONPATH": os.pathsep.join(path)}

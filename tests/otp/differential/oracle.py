"""The Erlang side: one virtual machine that runs scenario after scenario."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.otp.differential.scenario import Scenario, to_erlang

SOURCE = Path(__file__).with_name("oracle.erl")


class Oracle:
    """A running `oracle.erl`. Send a scenario, then receive its trace: the machine works in between."""

    def __init__(self, directory: Path) -> None:
        subprocess.run(["erlc", "-o", str(directory), str(SOURCE)], check=True, timeout=60)
        command = ["erl", "-noshell", "-noinput", "-pa", str(directory), "-eval", "oracle:main()"]
        command.remove("-noinput")
        self._vm = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def send(self, scenario: Scenario) -> None:
        """Hand over a scenario."""
        assert self._vm.stdin is not None
        self._vm.stdin.write(f"{to_erlang(scenario)}.\n".encode())
        self._vm.stdin.flush()

    def receive(self) -> Any:
        """The trace of the oldest scenario not yet answered."""
        assert self._vm.stdout is not None
        line = self._vm.stdout.readline()
        if not line:
            raise RuntimeError(f"the Erlang machine ended: exit code {self._vm.wait(10)}")
        return json.loads(line)

    def run(self, scenario: Scenario) -> Any:
        """`send` and `receive`."""
        self.send(scenario)
        return self.receive()

    def close(self) -> None:
        """End the machine."""
        assert self._vm.stdin is not None
        self._vm.stdin.close()
        try:
            self._vm.wait(10)
        except subprocess.TimeoutExpired:
            self._vm.kill()
            self._vm.wait(10)
        assert self._vm.stdout is not None
        self._vm.stdout.close()


def why_missing() -> str | None:
    """Why there is no oracle on this machine; None if there is one."""
    missing = [program for program in ("erl", "erlc") if shutil.which(program) is None]
    return f"Erlang is not installed: no {' and no '.join(missing)} on PATH" if missing else None

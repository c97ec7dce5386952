"""Tells what happens, a line at a time, with the time since the start: in a terminal with colours, elsewhere plain."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

_COLORS = ("cyan", "magenta", "yellow", "green", "blue")


class StepFailed(Exception):
    """A step of the demo did not come about.

    Attributes:
        step: which one.
        why: what was seen instead.
    """

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step
        self.why = why


class Teller:
    """Writes to the console; may be used from any thread.

    Args:
        console: where to; standard output when None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._colors: dict[str, str] = {}

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step, and tell that it was done or turn what went wrong into `StepFailed`."""
        began = time.monotonic()
        self._line(Text(title, style="bold"), mark="▸")
        try:
            with self._console.status(title):
                yield
        except StepFailed:
            raise
        except Exception as error:
            raise StepFailed(title, str(error) or type(error).__name__) from error
        self._line(Text(f"done in {time.monotonic() - began:.2f} s", style="green"), mark="✓")

    def say(self, text: str, who: str | None = None) -> None:
        """One thing that happened, to the instance `who` or to the whole."""
        line = Text("  ")
        if who is not None:
            line.append(f"{who:<9} ", style=self._color(who))
        self._line(line.append(text))

    def heading(self, text: str) -> None:
        """The first line."""
        with self._lock:
            self._console.print(Text(text, style="bold"))

    def failed(self, failure: StepFailed) -> None:
        """The step that was not seen, and why."""
        self._line(Text(f"FAILED: {failure.step}", style="bold red"), mark="✗")
        with self._lock:
            self._console.print(Text(failure.why))

    def panel(self, title: str, lines: list[str]) -> None:
        """Something to be copied from: a frame in a terminal, plain lines elsewhere."""
        body = Text("\n".join(lines))
        with self._lock:
            self._console.print(
                Panel.fit(body, title=title, border_style="green") if self._console.is_terminal else body
            )

    def _line(self, text: Text, mark: str = " ") -> None:
        stamp = Text(f"{time.monotonic() - self._began:7.2f} s {mark} ", style="dim")
        with self._lock:
            self._console.print(stamp.append_text(text))

    def _color(self, who: str) -> str:
        return self._colors.setdefault(who, _COLORS[len(self._colors) % len(_COLORS)])

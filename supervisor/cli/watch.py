"""A view that is drawn again and again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from supervisor.cli.failures import Unreachable

T = TypeVar("T")


def watch(
    fetch: Callable[[], T],
    draw: Callable[[T], RenderableType],
    console: Console,
    interval: float,
    *,
    count: int | None = None,
) -> None:
    """Fetches and draws until Ctrl-C, in place on a terminal and one below the other elsewhere.

    A host that goes away is shown as such and asked again; only the first answer must come.

    Args:
        fetch: asks the host.
        draw: makes the view of an answer.
        console: where to draw.
        interval: seconds between two answers.
        count: end after so many views.

    Raises:
        Unreachable: the first answer did not come.
    """
    view = draw(fetch())
    shown = 1
    try:
        with Live(view, console=console, auto_refresh=False, screen=console.is_terminal) as live:
            live.refresh()
            while count is None or shown < count:
                _pause(interval)
                view = _next(fetch, draw)
                shown += 1
                if console.is_terminal:
                    live.update(view, refresh=True)
                else:
                    console.print(view)
    except KeyboardInterrupt:
        return


def stream(
    fetch: Callable[[], T], emit: Callable[[T], None], interval: float, *, count: int | None = None
) -> None:
    """Fetches and emits until Ctrl-C, for programs: a host that goes away ends it with `Unreachable`."""
    shown = 0
    try:
        while True:
            emit(fetch())
            shown += 1
            if shown == count:
                return
            _pause(interval)
    except KeyboardInterrupt:
        return


def _next(fetch: Callable[[], T], draw: Callable[[T], RenderableType]) -> RenderableType:
    try:
        return draw(fetch())
    except Unreachable as error:
        return Text(error.message, style="bold red")


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)

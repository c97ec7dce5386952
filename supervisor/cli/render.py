"""Tables and trees for people. What the host sends is shown as plain text, never as markup or escapes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from supervisor.redaction import one_line

_STYLES = {
    "open": "green",
    "running": "green",
    "connecting": "yellow",
    "starting": "yellow",
    "awaiting_scan": "yellow",
    "pairing": "yellow",
    "recovering": "yellow",
    "restarting": "yellow",
    "stopping": "yellow",
    "failed": "bold red",
    "terminated": "red",
    "closed": "dim",
}


_NAMES = 24
"""Columns that names of actors get even where there are few."""


_WIDE = 240
"""Columns where there is no terminal: what another program reads is not folded for an eye."""


def console(*, stderr: bool = False) -> Console:
    """A console that colours only a terminal, and honours NO_COLOR and COLUMNS."""
    found = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _WIDE
    return found


def print_json(value: Any) -> None:
    """One JSON document on stdout, without colours."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """One JSON document on one line: a stream of them can be read line by line."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def plain(value: Any) -> Text:
    """Something from the host as text."""
    return Text("" if value is None else one_line(str(value)))


def styled(word: Any) -> Text:
    """A phase or state in its colour."""
    text = plain(word)
    text.stylize(_STYLES.get(text.plain, ""))
    return text


def duration(seconds: Any) -> str:
    """Seconds for people: `4.2s`, `3m 05s`, `2h 10m`, `5d 3h`."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 48 else f"{hours // 24}d {hours % 24}h"


def instances_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of `fetchInstances`."""
    table = _table("instance", "phase", "desired", "account", "last disconnection")
    for row in sorted(rows, key=lambda row: str(row.get("name"))):
        table.add_row(
            plain(row.get("name")),
            styled(row.get("phase") or row.get("connectionStatus")),
            plain(row.get("desired")),
            plain(_account(row)),
            plain(_last_disconnection(row)),
        )
    if not rows:
        table.caption = "no instances"
    return table


def tree_table(root: Mapping[str, Any]) -> Table:
    """The reply of `/supervisor/tree`, children indented below their supervisor."""
    table = _table("actor", "state", "due in", "restarts", "uptime", "mailbox", "pid", "last exit")
    table.padding = (0, 1, 0, 0)
    for column in table.columns[2:7]:
        column.justify = "right"
    rows = list(_walk(root, "", "", ""))
    # In a narrow terminal it is the reasons of exits that are folded, not the branches.
    longest = max(len(lead) + len(str(node.get("id") or node.get("path"))) for node, lead in rows)
    table.columns[0].min_width = min(longest, _NAMES)
    for node, lead in rows:
        table.add_row(
            Text.assemble((lead, "dim"), plain(node.get("id") or node.get("path"))),
            styled(node.get("state")),
            Text(duration(node.get("dueIn"))),
            plain(node.get("restarts")),
            Text(duration(node.get("uptime"))),
            plain(node.get("mailbox")),
            plain(node.get("pid")),
            plain(node.get("lastExit")),
        )
    return table


def facts_table(facts: Mapping[str, Any]) -> Table:
    """Names and values below each other; nested ones indented."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in _facts(facts, 0):
        table.add_row(name, value)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", caption_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _account(row: Mapping[str, Any]) -> str:
    number = str(row.get("ownerJid") or row.get("number") or "").partition("@")[0].partition(":")[0]
    profile = str(row.get("profileName") or "")
    return f"{profile} ({number})" if profile and number else profile or number


def _last_disconnection(row: Mapping[str, Any]) -> str:
    code, at = row.get("disconnectionReasonCode"), row.get("disconnectionAt")
    return f"{code} at {at}" if code is not None and at else str(code or "")


def _walk(
    node: Mapping[str, Any], lead: str, branch: str, stem: str
) -> Iterator[tuple[Mapping[str, Any], str]]:
    yield node, lead + branch
    children = [child for child in node.get("children") or () if isinstance(child, Mapping)]
    for index, child in enumerate(children):
        last = index == len(children) - 1
        yield from _walk(child, lead + stem, "└─ " if last else "├─ ", "   " if last else "│  ")


def _facts(facts: Mapping[str, Any], depth: int) -> Iterator[tuple[Text, Text]]:
    for name, value in facts.items():
        label = Text("  " * depth).append_text(plain(name))
        if isinstance(value, Mapping):
            label.stylize("bold" if depth == 0 else "")
            yield label, Text("")
            yield from _facts(value, depth + 1)
        elif isinstance(value, list):
            yield label, Text("" if value else "none")
            for item in value:
                text = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
                yield Text("  " * (depth + 1) + "-"), plain(text)
        else:
            yield label, _fact(value)


def _fact(value: Any) -> Text:
    if isinstance(value, bool):
        return Text("yes" if value else "no", style="green" if value else "red")
    return plain("-" if value is None else value)

"""Who may use which route, as the application itself knows it: the table of docs/security.md.

Run it to write the table anew: `python -m tests.compat.access`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from flask_openapi3.openapi import OpenAPI

from api import create_app
from api.auth import Access, Guard
from tests.api.conftest import SETTINGS
from tests.api.fakes import FakeClock
from tests.api.stream import FeedGateway

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
_BEGIN = re.compile(r"<!-- What follows is written by .*? -->\n")
_END = "<!-- Up to here. -->\n"

ANYBODY = "anybody"
TOKEN = "token, host's key"
OWN = "any token, for its own instance; host's key"
HOST = "host's key"

WHO: Mapping[Access, str] = {
    Access.PUBLIC: ANYBODY,
    Access.INSTANCE: TOKEN,
    Access.SCOPED: OWN,
    Access.DASHBOARD: OWN,
    Access.HOST: HOST,
    Access.PAGE: HOST,
}
PAGES_OF_THE_HOST = frozenset({"/dashboard/tree"})
"""Pages of the dashboard that show nothing of a single instance."""


class Row(NamedTuple):
    """A line of the table."""

    route: str
    method: str
    who: str


@dataclass(repr=False)
class WholeGateway(FeedGateway):
    """With everything that has a route."""

    def metrics(self, accept: str, timeout: float) -> tuple[bytes, str]:
        return b"", "text/plain"

    def answered(self, seconds: float) -> None:
        """Not counted."""


def application(gateway: WholeGateway | None = None) -> tuple[OpenAPI, WholeGateway]:
    """All there is, over a tree in memory."""
    gateway = gateway or WholeGateway()
    settings = replace(SETTINGS, dashboard=True, failed_attempts=10_000)
    return create_app(gateway, settings, clock=FakeClock()), gateway


def guard_of(app: OpenAPI) -> Guard:
    """The guard that checks the application's requests."""
    for hook in app.before_request_funcs[None]:
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Guard):
            return owner
    raise LookupError("nothing checks the requests")


def rows() -> list[Row]:
    """What each route asks for."""
    app, _ = application()
    return sorted(_rows(app, guard_of(app)))


def _rows(app: OpenAPI, guard: Guard) -> Iterator[Row]:
    for rule in app.url_map.iter_rules():
        access = guard.access_of(rule.endpoint)
        assert access is not None, rule
        who = HOST if rule.rule in PAGES_OF_THE_HOST else WHO[access]
        route = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: "{" + shown(found[1]) + "}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield Row(route, method, who)


def shown(argument: str) -> str:
    return {"instanceName": "name", "filename": "file"}.get(argument, argument)


def table() -> str:
    """The table as Markdown."""
    lines = ["| route | method | who |", "|---|---|---|"]
    lines += [f"| `{row.route}` | {row.method} | {row.who} |" for row in rows()]
    return "\n".join(["", *lines, "", ""])


def documented() -> list[Row]:
    """The rows that the document has."""
    text = _BEGIN.split(DOCUMENT.read_text())[1].partition(_END)[0]
    return [Row(*found) for found in re.findall(r"^\| `(\S+)` \| ([A-Z]+) \| (.+) \|$", text, re.MULTILINE)]


def main() -> None:
    """Write the table into the document."""
    text = DOCUMENT.read_text()
    begin = _BEGIN.search(text)
    assert begin is not None
    head, tail = text[: begin.end()], text.partition(_END)[2]
    DOCUMENT.write_text(f"{head}{table()}{_END}{tail}")


if __name__ == "__main__":
    main()

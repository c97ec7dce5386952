"""Which test shows which row of docs/evolution-compatibility.md.

A test names with `covers` the client whose requests it sends and the routes that they go to; `test_document.py` holds
the table against these names."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

Test = TypeVar("Test", bound=Callable[..., object])

N8N = "n8n"
EVOLUTIONAPI = "evolutionapi"
CLIENTE = "cliente-evolution-api"
MANAGER = "Manager"


class Row(NamedTuple):
    """A route as one client uses it."""

    client: str
    method: str
    route: str


SHOWN: set[Row] = set()


def covers(client: str, *routes: str) -> Callable[[Test], Test]:
    """Decorate a test with the routes, such as `GET /instance/connect/{name}`, that the client uses in it."""

    def mark(test: Test) -> Test:
        SHOWN.update(Row(client, *route.split(" ", 1)) for route in routes)
        return test

    return mark

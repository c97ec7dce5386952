"""docs/evolution-compatibility.md says what the tests show: neither less nor more."""

from __future__ import annotations

import json
import re
from pathlib import Path

import tests.compat.test_cliente_evolution_api
import tests.compat.test_evolutionapi
import tests.compat.test_manager
import tests.compat.test_n8n  # noqa: F401 - each import fills SHOWN
from tests.compat.coverage import CLIENTE, EVOLUTIONAPI, MANAGER, N8N, SHOWN, Row

DOCUMENT = Path(__file__).parents[2] / "docs" / "evolution-compatibility.md"
CLIENTS = (N8N, EVOLUTIONAPI, CLIENTE, MANAGER)


def documented() -> set[Row]:
    text = DOCUMENT.read_text()
    table = text.partition("| route | method |")[2].partition("\n\n")[0]
    rows = set()
    for line in table.splitlines()[2:]:
        route, method, forms, *_ = (cell.strip() for cell in line.strip("|").split(" | "))
        named = re.findall(r"\*\*([^*]+)\*\*", forms)
        assert named, line
        rows |= {Row(client, method, route.strip("`")) for client in named}
    return rows


def test_each_row_has_a_test_and_each_test_a_row() -> None:
    assert documented() == SHOWN


def test_the_clients_are_those_that_are_named() -> None:
    assert {row.client for row in documented()} == set(CLIENTS)


def test_the_recorded_requests_are_those_of_the_version_that_is_named() -> None:
    recorded = json.loads((Path(__file__).parent / "n8n_requests.json").read_text())
    assert f"{recorded['package']}) {recorded['version']}" in DOCUMENT.read_text()

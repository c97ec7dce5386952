"""The dashboard, the alerts and their documentation speak of metrics that exist, with labels that these have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from actors.metrics import Metrics
from tests.actors.test_metrics import CONTRACT, lived, scrape, snapshot, view

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana" / "zapvisor.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
SCRAPE = ROOT / "deploy" / "prometheus" / "prometheus.yml"
DOCUMENT = ROOT / "docs" / "metrics.md"

TARGET = {"job", "host", "instance"}
"""Labels that Prometheus gives every series of a target."""

METRIC = re.compile(r"\b(?:zapvisor|process)_[a-z_]+\b")
SELECTOR = re.compile(r"\b((?:zapvisor|process)_[a-z_]+)\{([^}]*)\}")
GROUPING = re.compile(r"\b(?:by|on) \(([a-z_, ]*)\)")


def exported() -> dict[str, set[str]]:
    """The metrics that a host exports, with their labels."""
    metrics = Metrics()
    lived(metrics)
    labels: dict[str, set[str]] = {}
    for name, pairs in scrape(metrics, snapshot(views=[view(rss_bytes=1)])):
        labels.setdefault(name, set()).update(label for label, _ in pairs)
    return labels


EXPORTED = exported()


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    return list(group["rules"])


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    for rule in alerts():
        yield f"alert {rule['alert']}", rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"].replace("$__rate_interval", "5m")
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["definition"]


QUERIES = list(queries())


@pytest.mark.parametrize(("where", "query"), QUERIES, ids=[where for where, _ in QUERIES])
class TestQueries:
    def test_every_metric_exists(self, where: str, query: str) -> None:
        used = set(METRIC.findall(query))
        assert used or "up{" in query, where
        assert used <= EXPORTED.keys(), where

    def test_every_label_is_one_of_its_metric(self, where: str, query: str) -> None:
        for metric, selector in SELECTOR.findall(query):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert labels <= EXPORTED[metric] | TARGET, where
        of_any = set().union(*(EXPORTED[metric] for metric in METRIC.findall(query)), TARGET)
        for grouping in GROUPING.findall(query):
            assert {label.strip() for label in grouping.split(",")} <= of_any, where

    def test_it_is_promql(self, where: str, query: str) -> None:
        promql = pytest.importorskip("promql_parser")
        if not where.startswith("variable"):
            promql.parse(query)


def test_the_dashboard_shows_every_metric_that_others_rely_on() -> None:
    used = {
        metric for where, query in queries() if where.startswith("panel") for metric in METRIC.findall(query)
    }
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in CONTRACT}
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in used}
    assert families <= shown


def test_panels_do_not_overlap_and_have_a_title() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert panel["title"]
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_alerts_say_how_urgent_they_are_and_what_to_do() -> None:
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names)
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert rule["annotations"]["description"], rule["alert"]


def test_the_scrape_configuration_keeps_the_names_of_instances() -> None:
    [job] = yaml.safe_load(SCRAPE.read_text())["scrape_configs"]
    assert job["honor_labels"] is True
    assert job["authorization"]["type"] == "Bearer"


def test_the_documentation_names_every_metric_and_no_other() -> None:
    written = set(METRIC.findall(DOCUMENT.read_text()))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in EXPORTED}
    assert families <= written
    assert written - families <= {"zapvisor_api_key"}

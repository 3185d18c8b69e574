"""The alert rules and the dashboard use metrics and labels that the service exports."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from service.http.problem_types import TYPES

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
DASHBOARD = json.loads((ROOT / "deploy/grafana/dashboards/touchstone.json").read_text())
FOREIGN = {"up", "process_resident_memory_bytes"}
SCRAPED = {"instance", "job"}  # labels that Prometheus adds


def queries() -> Iterator[str]:
    for group in RULES["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def series() -> dict[str, set[str]]:
    """Every series name with its labels, from docs/metrics.md, which a test holds to the service."""
    documented: dict[str, set[str]] = {}
    page = (ROOT / "docs/metrics.md").read_text()
    for name, kind, labels in re.findall(r"^\| `(touchstone_\w+)` \| (\w+) \|(.*?)\|", page, re.MULTILINE):
        suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[kind]
        for suffix in suffixes:
            documented[name + suffix] = set(re.findall(r"`(\w+)`", labels)) | ({"le"} if suffix == "_bucket" else set())
    return documented


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_queries_ask_for_what_the_service_has(query: str) -> None:
    known = series()
    names = set(re.findall(r"\b(?:touchstone_\w+|process_\w+|up)\b", query))
    assert names
    assert names <= known.keys() | FOREIGN
    labels = set().union(*(known.get(name, set()) for name in names)) | SCRAPED
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
    matched = set(re.findall(r"(\w+)\s*=~?", "".join(re.findall(r"\{([^}]*)\}", query))))
    assert grouped | matched <= labels
    for kinds in re.findall(r'type=~?"([^"]*)"', query):
        assert set(kinds.split("|")) <= TYPES.keys()
    assert query.count("(") == query.count(")")


def test_rules_have_what_an_alert_needs() -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"]


def test_the_dashboard_shows_every_metric_of_the_service_that_changes() -> None:
    shown = set(re.findall(r"touchstone_\w+", " ".join(queries())))
    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in shown}
    page = (ROOT / "docs/metrics.md").read_text()
    assert set(re.findall(r"^\| `(touchstone_\w+)`", page, re.MULTILINE)) == families


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells

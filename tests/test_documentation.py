"""Settings, routes, metrics, links and targets match the documentation."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from service.app import create_app
from service.settings import Settings
from service.state import AppState
from tests.helpers.http_service import settings

ROOT = Path(__file__).parent.parent


def test_every_setting_is_in_the_settings_page_with_its_default_and_meaning() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `TOUCHSTONE_{name.upper()}` |" in page, name
        assert field.description in page, name
    documented = dict(re.findall(r"^\| `TOUCHSTONE_(\w+)` \| *(.*?) *\|", page, re.MULTILINE))
    assert documented == {
        name.upper(): "" if field.default in (None, "") else f"`{field.default}`"
        for name, field in Settings.model_fields.items()
    }


def test_every_route_is_in_the_api_page_and_has_a_text(tmp_path: Path) -> None:
    running = AppState.start(settings(tmp_path))
    try:
        paths = create_app(running).openapi()["paths"]
    finally:
        running.stop()
    page = (ROOT / "docs/api.md").read_text()
    documented = {
        (method, path)
        for methods, path in re.findall(r"^\| ((?:`[A-Z]+` ?)+)\| `(/[^`]*)` \|", page, re.MULTILINE)
        for method in re.findall("[A-Z]+", methods)
    }
    assert documented == {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert all(operation["description"] for methods in paths.values() for operation in methods.values())


def test_every_metric_is_in_the_metrics_page_with_its_kind_labels_and_meaning(tmp_path: Path) -> None:
    running = AppState.start(settings(tmp_path))
    create_app(running)  # which adds the gauges of the state
    try:
        collected = [*running.metrics.registry.collect()]
    finally:
        running.stop()
    page = (ROOT / "docs/metrics.md").read_text()
    documented = {}
    for name, kind, labels, meaning in re.findall(
        r"^\| `(touchstone_\w+)` \|(.*?)\|(.*?)\|(.*?)\|$", page, re.MULTILINE
    ):
        documented[name] = (kind.strip(), tuple(re.findall(r"`(\w+)`", labels)), meaning.strip())
    # The labels of a gauge that has no series at the moment are not known here.
    assert {name: (kind, meaning) for name, (kind, _, meaning) in documented.items()} == {
        metric.name: (metric.type, metric.documentation)
        for metric in collected
        if metric.name.startswith("touchstone_")
    }
    for family in collected:
        for sample in family.samples if family.name in documented else ():
            assert sample.labels.keys() - {"le"} == set(documented[family.name][1]), family.name


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))],
    ids=lambda page: page.name,
)
def test_links_and_make_targets_in_the_documents_exist(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), link
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= targets


def test_the_change_log_has_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()

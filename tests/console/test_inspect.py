"""Inspect: a picture in, a verdict and its reasons out."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.console.accessibility import assert_accessible


def test_a_scratched_part_is_shown_as_anomalous(page: Page, scratched: Path) -> None:
    page.goto("/")
    page.get_by_label("Compare with").select_option("disc")
    page.get_by_label("Choose a picture").set_input_files(scratched)
    expect(page.get_by_text("Anomalous", exact=True)).to_be_visible()
    assert_accessible(page)

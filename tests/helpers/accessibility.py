"""Runs axe's accessibility checks on a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def assert_accessible(page: Page) -> None:
    """Fails with axe's own report where a page breaks one of its rules (WCAG 2 A and AA, and best practice)."""
    report = Axe().run(page)
    assert report.violations_count == 0, report.generate_report()

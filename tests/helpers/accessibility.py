"""Runs axe's accessibility checks on a page."""

from __future__ import annotations

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page

# What holds takes as long to say as to find out: only what does not is wanted.
_RUN = "axe.run({ resultTypes: ['violations'] }).then(({ violations }) => ({ violations }))"


def assert_accessible(page: Page) -> None:
    """Fails with axe's own report where a page breaks one of its rules (WCAG 2 A and AA, and best practice)."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE_SCRIPT)
    report = AxeResults(page.evaluate(_RUN))
    assert report.violations_count == 0, report.generate_report()

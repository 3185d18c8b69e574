"""The console in other languages: chosen, remembered, and laid out without breaking."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import TABLET, Watched, inspect
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

HISTORY = {"de": "Historie", "es": "Historial", "zh": "历史"}
TAGS = {"de": "de", "es": "es", "zh": "zh-Hans"}
VIEWS = (
    "/#/inspect",
    "/#/live?station=languages",
    "/#/operator?station=languages",
    "/#/review",
    "/#/history?station=languages",
    "/#/categories/disc/rejects",
    "/#/categories/disc/settings",
    "/#/categories/disc/testset",
    "/#/categories?new",
    "/#/system",
)


@pytest.fixture(scope="module", autouse=True)
def parts(server: ServerProcess) -> None:
    """Two inspections, of which one is a reject."""
    for seed in (2800, 2801):
        inspect(server, seed, "languages", scratched=seed == 2801)


@pytest.mark.parametrize("language", HISTORY)
def test_a_language_is_chosen_and_remembered(page: Page, language: str) -> None:
    page.goto("/#/history?station=languages")
    page.get_by_role("combobox", name="Language").select_option(language)
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text(HISTORY[language])
    expect(page.locator("html")).to_have_attribute("lang", TAGS[language])
    expect(page.locator("tbody tr")).to_have_count(2)
    assert_accessible(page)
    page.reload()
    expect(heading).to_have_text(HISTORY[language])
    page.locator(".bar select").select_option("en")
    expect(heading).to_have_text("History")


@pytest.mark.parametrize("size", [{"width": 1024, "height": 768}, TABLET], ids=["across", "tablet"])
def test_german_fits_on_a_tablet(page: Page, size: dict[str, int]) -> None:
    page.set_viewport_size(size)
    page.goto("/#/inspect")
    page.locator(".bar select").select_option("de")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    for address in VIEWS:
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_be_attached()
        expect(page.get_by_text("Wird geladen")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
        for place in ("nav", ".actions button"):
            cut = "all => all.filter((each) => each.scrollWidth > each.clientWidth + 1).map((each) => each.textContent)"
            assert page.locator(f"{place}:visible").evaluate_all(cut) == [], address
        assert_accessible(page)


def test_a_chinese_word_is_not_broken_in_the_review_queue(page: Page, server: ServerProcess) -> None:
    files = [("images", ("plate.png", part(2802, kind=1), "image/png"))]
    form = {"category": "disc", "station": "languages"}
    server.client.post("/detect", data=form, files=files).raise_for_status()
    page.goto("/#/review")
    page.locator(".bar select").select_option("zh")
    word = page.locator(".feed-row .verdict", has_text="未知零件").first
    expect(word).to_be_visible()
    box = word.bounding_box()
    assert box is not None
    assert box["height"] < 40


def test_texts_are_asked_for_again_where_the_service_was_too_busy_for_them(
    watched: tuple[Page, Watched],
) -> None:
    page, seen = watched
    seen.expected.add(503)
    answers = [{"status": 503, "json": {"type": "/problems/overloaded", "title": "Busy", "status": 503}}]
    page.route("**/strings/*.json", lambda route: route.fulfill(**answers.pop()) if answers else route.continue_())
    page.goto("/#/history")
    expect(page.get_by_role("heading", level=1)).to_have_text("History")

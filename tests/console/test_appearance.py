"""Every view is readable on a tablet, in the light and the dark theme."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from indexer.imaging.encode import encode_png
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import TABLET, inspect
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

VIEWS = {
    "/#/live?station=appearance": "Live",
    "/#/review": "Review",
    "/#/history?station=appearance": "History",
    "/#/categories": "Categories",
    "/#/categories/disc": "disc",
    "/#/categories/disc/rejects": "disc",
    "/#/categories/disc/settings": "disc",
    "/#/categories/disc/region": "disc",
    "/#/system": "System",
}


@pytest.fixture(scope="module", autouse=True)
def parts(server: ServerProcess) -> None:
    """Two inspections, of which one is a reject."""
    for seed in (2700, 2701):
        inspect(server, seed, "appearance", scratched=seed == 2701)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_view_is_accessible_on_a_tablet(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(TABLET)
    for address, heading in VIEWS.items():
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        if "live" not in address:  # which never stops listening
            page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            f"{address} is wider than the tablet"
        )
        assert_accessible(page)


@pytest.mark.parametrize("width", [1024, 1025])
def test_a_tablet_held_across_has_the_layout_of_a_tablet(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 768})
    for address, upper, lower in (
        ("/#/live?station=appearance", ".feed", ".feed-and-panel > .holder"),
        ("/#/categories/disc/region", ".two > section >> nth=0", ".two > section >> nth=1"),
    ):
        page.goto(address)
        expect(page.locator(lower)).to_be_visible()
        first, second = (page.locator(each).bounding_box() for each in (upper, lower))
        assert first is not None
        assert second is not None
        below = second["x"] < first["x"] + first["width"]  # a list that is still empty has no height to compare with
        assert below == (width == 1024), address


def test_nothing_is_wider_than_a_tablet_held_across(page: Page) -> None:
    page.set_viewport_size({"width": 1024, "height": 768})
    for address, heading in VIEWS.items():
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
        expect(page.get_by_text("Loading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address


@pytest.mark.parametrize("name", [f"{'Gehäuseoberteil ' * 7}lackiert", "W" * 128])
def test_nothing_is_cut_or_pushed_out_by_the_longest_names(page: Page, server: ServerProcess, name: str) -> None:
    station = "x" * 128
    server.teach(name, part(2710, kind=1))
    files = [("images", (f"{'f' * 180}.png", part(2711, kind=1), "image/png"))]
    form = {"category": name, "station": station, "part_id": "7" * 128}
    server.client.post("/detect", data=form, files=files).raise_for_status()
    page.set_viewport_size({"width": 1024, "height": 768})
    for address in (
        "/",
        "/#/live",
        "/#/review",
        f"/#/history?station={station}",
        "/#/categories",
        f"/#/categories/{quote(name)}",
        f"/#/categories?new={quote(name)}",
        "/#/categories/plate",  # of which a reference is said to be one of the other's
        "/#/system",
        "/operator",
    ):
        page.goto(address)
        expect(page.get_by_text("Loading")).to_have_count(0)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    image = page.locator(".last-part .warmed").bounding_box()
    assert image is not None
    assert image["height"] > 150, "the part's image has no room beside its names"
    page.goto("about:blank")
    server.client.delete(f"/categories/{name}").raise_for_status()


def test_a_long_narrow_image_leaves_the_page_as_long_as_others(page: Page, server: ServerProcess) -> None:
    narrow = np.full((3000, 20, 3), 90, np.uint8)
    narrow[::7] = 200
    for pixels in (narrow, narrow.transpose(1, 0, 2)):  # as a line-scan camera takes them
        files = [("images", ("strip.png", encode_png(np.ascontiguousarray(pixels)), "image/png"))]
        response = server.client.post("/detect", data={"category": "plate"}, files=files).raise_for_status()
        page.goto(f"/#/history/{response.json()['results'][0]['id']}")
        expect(page.get_by_role("img", name="This part")).to_be_visible()
        expect(page.locator(".stage img.part[src^=blob]")).to_be_attached()
        assert page.evaluate("document.documentElement.scrollHeight / innerHeight") < 5


@pytest.mark.parametrize("language", ["en-GB", "de-DE"])
def test_no_field_leaves_its_card(browser: Browser, server: ServerProcess, language: str) -> None:
    context = browser.new_context(
        base_url=str(server.client.base_url), viewport={"width": 1024, "height": 768}, locale=language
    )
    page = context.new_page()
    page.goto("/#/categories/disc/settings")
    expect(page.locator("#on-mismatch")).to_be_visible()
    outside = page.locator("form.card :is(input, select, textarea)").evaluate_all(
        """fields => fields.filter((field) => {
          const [right, end] = [field, field.closest(".card")].map((box) => box.getBoundingClientRect().right);
          return right > end;
        }).map(({ id }) => id)"""
    )
    assert outside == []
    weight = page.locator(".weights input").first
    assert weight.evaluate("(field) => field.clientWidth") >= 100
    context.close()

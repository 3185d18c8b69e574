"""Where there are more than 20 categories they are found by typing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import DESKTOP, TABLET
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that knows 22 products, each by one image, and has inspected a part of one."""
    with ServerProcess(tmp_path_factory.mktemp("many") / "data", ENCODER="filterbank").wait_until_live() as running:
        for number in range(22):
            running.teach(f"part-{number:03}", part(number))
        files = [("images", ("first.png", part(700), "image/png"))]
        running.client.post("/detect", data={"category": "part-017"}, files=files).raise_for_status()
        yield running


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_category_is_found_by_a_part_of_its_name(
    page: Page, scheme: Literal["light", "dark"], tmp_path: Path
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(DESKTOP if scheme == "light" else TABLET)
    page.goto("/#/categories")
    cards = page.get_by_role("article")
    expect(cards).to_have_count(22)
    page.get_by_label("Find a category").fill("T-01")
    expect(cards).to_have_count(10)
    expect(page.get_by_text("10 of 22")).to_be_visible()
    assert_accessible(page)

    page.goto("/#/history")
    category = page.get_by_label("Category")
    category.fill("018")
    category.press("Enter")
    expect(category).to_have_value("part-018")
    expect(page).to_have_url(r"/#/history?category=part-018", ignore_case=True)
    expect(page.get_by_role("cell", name="first.png")).to_have_count(0)
    category.fill("part-01")
    category.press("Enter")
    assert category.evaluate("field => field.validationMessage").startswith("There is no such category")
    expect(page).to_have_url(r"/#/history?category=part-018", ignore_case=True)
    category.fill("17")
    category.press("Enter")
    expect(page.get_by_role("cell", name="first.png")).to_be_visible()
    assert_accessible(page)

    (tmp_path / "part.png").write_bytes(part(701))
    page.goto("/#/inspect")
    product = page.locator("input#category")
    product.fill("21")
    product.press("Enter")
    page.get_by_label("Choose an image").set_input_files(tmp_path / "part.png")
    expect(page.locator(".facts")).to_contain_text("part-021")
    assert_accessible(page)

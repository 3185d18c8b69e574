"""The console shows a category's geometry, the cost of a smaller defect, and a change in progress."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import Watched
from tests.helpers.part_images import part, plate, shifted
from tests.helpers.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that was started with the paper's kind of crop, and goes on without; it knows discs and wide plates."""
    data = tmp_path_factory.mktemp("geometry") / "data"
    with ServerProcess(data, ENCODER="filterbank").wait_until_live() as before:
        before.teach("disc", *(part(seed) for seed in range(8)))
        before.wait_until_calibrated("disc")
        assert before.stop() == 0
    with ServerProcess(data, ENCODER="filterbank", RESIZE="", CROP="").wait_until_live() as running:
        running.teach("plate", *(plate(seed) for seed in range(8)))
        running.wait_until_calibrated("plate")
        yield running


def test_what_is_not_inspected_is_said_on_the_card_the_page_and_the_inspection(page: Page, tmp_path: Path) -> None:
    page.goto("/#/categories")
    card = page.get_by_role("article").filter(has=page.get_by_role("link", name="disc", exact=True))
    expect(card).to_contain_text("A border is not inspected: 23.4% of each image")
    whole = page.get_by_role("article").filter(has=page.get_by_role("link", name="plate", exact=True))
    expect(whole).not_to_contain_text("not inspected")
    page.goto("/#/categories/disc/region")
    seen = page.locator(".region-stage .seen")
    expect(seen).to_have_attribute("x", re.compile("^10"))  # 8 of 128, of 160 pixels
    path = tmp_path / "disc.png"
    path.write_bytes(part(100))
    page.goto("/#/inspect")
    page.get_by_label("Choose an image").set_input_files(path)
    expect(page.get_by_text("lies outside of the window")).to_be_visible()
    expect(page.locator(".world .outside")).to_have_count(1)
    expect(page.get_by_text("76.6%")).to_be_visible()
    assert_accessible(page)


def test_the_smallest_defect_is_said_its_cost_is_shown_and_the_category_changes(
    watched: tuple[Page, Watched], server: ServerProcess
) -> None:
    page, seen = watched
    seen.expected.add(422)  # for a defect that is too small
    page.goto("/#/categories/plate/settings")
    card = page.get_by_role("form", name="Resolution")
    expect(card).to_contain_text("All of every image is inspected.")
    save = card.get_by_role("button", name="Change the resolution")
    expect(save).to_be_disabled()
    card.get_by_label("Smallest defect that matters").fill("0.01")
    expect(card).to_contain_text("can be found")
    expect(save).to_be_disabled()
    card.get_by_label("Smallest defect that matters").fill("12")
    expect(card).to_contain_text(re.compile(r"Inspected at .* cells: about \d+ ms to encode"))
    expect(card).to_contain_text("for 8.")
    card.get_by_label("Unit of the smallest defect").select_option("millimetres")
    card.get_by_label("Smallest defect that matters").fill("0.6")
    card.get_by_label("Millimetres per pixel").fill("0.05")
    expect(card).to_contain_text(re.compile(r"Inspected at .* cells: about"))
    assert_accessible(page)
    save.click()
    expect(page.get_by_text("The references are being encoded again")).to_be_visible()
    expect(card.get_by_role("progressbar", name="References encoded")).to_have_count(0)
    rows, columns = server.client.get("/categories/plate").json()["geometry"]["grid"]
    expect(card).to_contain_text(f"{rows} × {columns} cells")
    assert rows * columns < 784
    expect(page.get_by_role("region", name="Status")).to_contain_text(f"{rows} × {columns} cells")


def test_a_border_of_before_is_inspected_after_a_change(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc/settings")
    card = page.get_by_role("form", name="Resolution")
    expect(card).to_contain_text("A border is not inspected: 23.4% of each image")
    card.get_by_label("Smallest defect that matters").fill("10")
    expect(card).to_contain_text(re.compile(r"Inspected at .* cells: about"))
    card.get_by_role("button", name="Change the resolution").click()
    expect(card).to_contain_text("All of every image is inspected.")
    assert server.client.get("/categories/disc").json()["geometry"]["inspected"]["fraction"] == 1.0


def test_a_new_product_gets_the_chosen_resolution_after_its_cost_is_confirmed(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    paths = []
    for seed in range(3):
        path = tmp_path / f"{seed}.png"
        path.write_bytes(plate(500 + seed))
        paths.append(path)
    page.goto("/#/categories?new")
    page.get_by_label("Name of the product").fill("sheet")
    page.get_by_label("Smallest defect that matters").fill("20")
    page.get_by_label("Choose an image").set_input_files(paths)
    expect(page.get_by_text(re.compile(r"Inspected at .* cells: about"))).to_be_visible()
    assert [category["name"] for category in server.client.get("/categories").json()["categories"]] == ["disc", "plate"]
    page.get_by_role("button", name="Add the images").click()
    expect(page.get_by_role("status").filter(has_text="3 of 3 done: 3 added")).to_be_visible()
    rows, columns = server.client.get("/categories/sheet").json()["geometry"]["grid"]
    assert rows * columns < 400


def test_onboarding_offers_to_compare_parts_that_lie_anywhere_with_all_places(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    paths = []
    for seed in range(8):
        path = tmp_path / f"weave-{seed}.png"
        path.write_bytes(shifted(seed))
        paths.append(path)
    page.goto("/#/categories?new")
    page.get_by_label("Name of the product").fill("weave")
    page.get_by_label("Choose an image").set_input_files(paths)
    notice = page.get_by_role("region", name="Position of the parts")
    notice.get_by_role("button", name="Compare with all places").click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    expect(notice).to_have_count(0)
    assert server.client.get("/categories/weave").json()["settings"]["rho"] == 255


def test_parts_that_lie_anywhere_are_noticed_and_compared_so_with_two_clicks(page: Page, server: ServerProcess) -> None:
    server.teach("web", *(shifted(seed) for seed in range(8)))
    server.wait_until_calibrated("web")
    page.goto("/#/categories/plate/settings")
    radius, refused = page.get_by_label("Neighbourhood (ρ), in cells"), page.get_by_text("Give 0 to 16 cells, or 255")
    expect(radius).to_have_value("1")
    for cells, wrong in (("17", True), ("255", False), ("254", True), ("16", False)):
        radius.fill(cells)
        expect(refused).to_have_count(int(wrong))
        expect(page.get_by_role("button", name="Save")).to_be_enabled(enabled=not wrong)
    assert_accessible(page)
    page.get_by_role("button", name="Reset").click()
    page.goto("/#/categories/web/settings")
    notice = page.get_by_role("region", name="Position of the parts")
    expect(notice).to_contain_text("8 references")
    assert_accessible(page)
    notice.get_by_role("button", name="Compare with all places").click()
    expect(notice).to_have_count(0)
    expect(page.get_by_label("Neighbourhood (ρ), in cells")).to_have_value("255")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    assert server.client.get("/categories/web").json()["settings"]["rho"] == 255
    page.reload()
    expect(page.get_by_label("Neighbourhood (ρ), in cells")).to_have_value("255")
    expect(notice).to_have_count(0)

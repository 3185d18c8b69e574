"""History: searched, paged, viewed, and exported as CSV."""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from indexer.catalogue.catalogue import Catalogue
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import DESKTOP, TABLET, Watched, inspect
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

PARTS = 52


@pytest.fixture(scope="module", autouse=True)
def parts(server: ServerProcess) -> None:
    """More parts of one station than a page shows; every tenth is scratched."""
    images = [(f"{3000 + at}.png", part(3000 + at, scratched=at % 10 == 0), "image/png") for at in range(PARTS)]
    form = {"category": "disc", "station": "archive"}
    server.client.post("/detect", data=form, files=[("images", image) for image in images]).raise_for_status()


@pytest.fixture(scope="module")
def classified(parts: None, server: ServerProcess) -> None:
    """Three of them are confirmed defects: two scratches and a dent."""
    server.client.patch("/categories/disc", json={"defect_classes": ["scratch", "dent"]}).raise_for_status()
    query = "/inspections?station=archive&verdict=anomalous"
    rejected = server.client.get(query).json()["inspections"][:3]
    for inspection, name in zip(rejected, ("scratch", "dent", "scratch"), strict=True):
        said = {"label": "defect", "defect_class": name}
        server.client.post(f"/inspections/{inspection['id']}/feedback", json=said).raise_for_status()


def test_pages_filters_and_search_find_what_was_inspected(page: Page, server: ServerProcess) -> None:
    page.goto("/#/history?station=archive")
    rows = page.locator("tbody tr")
    expect(page.get_by_text(f"1–50 of {PARTS}, newest first")).to_be_visible()
    expect(rows).to_have_count(50)
    expect(page.get_by_role("group", name=f"Scores of {PARTS} inspections")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_text(f"51–52 of {PARTS}, newest first")).to_be_visible()
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    page.get_by_role("button", name="Newer").click()
    expect(rows).to_have_count(50)
    rejected = server.client.get("/inspections?station=archive&verdict=anomalous").json()["inspections"]
    page.get_by_role("combobox", name="Verdict").select_option("anomalous")
    expect(rows).to_have_count(len(rejected))
    page.get_by_role("combobox", name="Verdict").select_option("")
    page.locator("h1").click()
    page.keyboard.press("/")
    page.keyboard.type("3007.PNG\n")
    expect(rows).to_have_count(1)
    expect(page.get_by_text("1–1 of 1, newest first")).to_be_visible()
    assert "text=3007.PNG" in page.url


def test_dots_of_single_inspections_open_them_with_keys_and_with_a_click_beside_them(
    page: Page, server: ServerProcess
) -> None:
    for seed in range(3200, 3204):
        inspect(server, seed, "dots", scratched=seed == 3201)
    page.emulate_media(color_scheme="dark")
    page.goto("/#/history?station=dots")
    chart = page.get_by_role("region", name="Scores over time")
    expect(chart.get_by_role("link")).to_have_count(4)
    expect(chart.get_by_text("threshold", exact=True)).to_be_visible()
    expect(chart.get_by_text("multiple of its own threshold")).to_have_count(0)
    assert_accessible(page)
    dot = chart.locator("a[tabindex='0']")
    dot.press("ArrowLeft")
    expect(dot).to_be_focused()
    dot.press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("3202.png")
    page.keyboard.press("b")
    page.set_viewport_size(TABLET)
    reject = chart.get_by_role("link", name="Anomalous")
    reject.click()
    expect(heading).to_have_text("3201.png")
    page.keyboard.press("b")
    box = reject.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] - 5, box["y"] - 5)
    expect(heading).to_have_text("3201.png")


def test_of_many_inspections_a_stretch_of_time_leads_to_its_own(
    watched: tuple[Page, Watched], server: ServerProcess
) -> None:
    page, seen = watched
    seen.expected.add(404)  # the images of copied inspections
    catalogue = Catalogue.open(f"sqlite:///{server.data}/catalogue.sqlite")
    last = catalogue.inspections.get(inspect(server, 3300, "many"))
    ago = [timedelta(minutes=minutes) for minutes in range(1, 450)]
    catalogue.inspections.record([replace(last, id=f"{each.seconds:032x}", at=last.at - each) for each in ago])
    catalogue.close()
    page.goto("/#/history?station=many")
    chart = page.get_by_role("region", name="Scores over time")
    expect(chart.get_by_role("group", name="Scores of 450 inspections")).to_be_visible()
    stretches = chart.get_by_role("link")
    expect(stretches).to_have_count(80)
    assert_accessible(page)
    stretches.last.press("Home")
    expect(stretches.first).to_be_focused()
    stretches.first.press("Enter")
    expect(page.get_by_text(re.compile("^1–[67] of [67], newest first"))).to_be_visible()
    expect(chart.get_by_role("link", name="Normal, score").first).to_be_visible()


def test_several_products_are_shown_as_multiples_of_their_thresholds(page: Page, server: ServerProcess) -> None:
    for category, kind in (("disc", 0), ("plate", 1)):
        files = [("images", (f"{category}.png", part(3100, kind=kind), "image/png"))]
        form = {"category": category, "station": "mixed"}
        server.client.post("/detect", data=form, files=files).raise_for_status()
    page.goto("/#/history?station=mixed")
    chart = page.get_by_role("region", name="Scores over time")
    expect(chart).to_contain_text("each score is a multiple of its own threshold")
    expect(chart.get_by_role("link")).to_have_count(2)
    assert_accessible(page)


@pytest.fixture
def in_may(browser: Browser, server: ServerProcess) -> Iterator[Page]:
    """A page where it is May: that is so in all of its context, which is its own."""
    context = browser.new_context(base_url=str(server.client.base_url), viewport=DESKTOP, locale="en-GB")
    page = context.new_page()
    seen = Watched(page, str(server.client.base_url))
    page.clock.set_fixed_time("2026-05-06T08:10:00+01:00")
    yield page
    seen.print_state()
    context.close()
    assert not seen.errors
    assert not seen.foreign


def test_a_shift_is_one_click_and_its_times_are_remembered(in_may: Page) -> None:
    page = in_may
    page.goto("/#/history?station=archive")
    since, until = page.get_by_label("From", exact=True), page.get_by_label("Before", exact=True)
    page.get_by_role("button", name="Last shift").click()
    expect(page.get_by_role("button", name="Last shift")).to_have_attribute("aria-pressed", "true")
    night = since.input_value()
    assert (night[-5:], until.input_value()[-5:]) == ("22:00", "06:00")
    page.get_by_label("Shifts begin at").fill("7:30, 19:30")
    page.get_by_label("Shifts begin at").press("Enter")
    expect(page.get_by_role("button", name="Last shift")).to_have_attribute("aria-pressed", "false")
    page.get_by_label("Shifts begin at").fill("half past seven")
    page.get_by_label("Shifts begin at").press("Tab")
    expect(page.get_by_role("alert")).to_have_text("Give times such as 06:00, 14:00, 22:00.")
    assert_accessible(page)
    page.reload()
    expect(page.get_by_label("Shifts begin at")).to_have_value("7:30, 19:30")
    expect(since).to_have_value(night)
    page.get_by_role("button", name="This shift").click()
    assert since.input_value()[-5:] in ("07:30", "19:30")
    expect(until).to_have_value("")
    page.get_by_role("button", name="Yesterday").click()
    assert (since.input_value()[-5:], until.input_value()[-5:]) == ("00:00", "00:00")


def test_an_inspection_opens_and_the_list_is_as_it_was_when_one_comes_back(page: Page) -> None:
    page.goto("/#/history?station=archive&text=3010")
    row = page.get_by_role("link", name="Anomalous", exact=True)
    row.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("3010.png")
    expect(page.get_by_text("Distance of the worst patch")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("b")
    expect(row).to_be_visible()


@pytest.mark.usefixtures("classified")
def test_confirmed_defects_are_charted_by_class_and_lead_to_their_parts(page: Page) -> None:
    page.goto("/#/history?station=archive")
    chart = page.get_by_role("region", name="Confirmed defects by class")
    expect(
        chart.get_by_role("img", name="Pareto chart of 3 confirmed defects: scratch is the most frequent")
    ).to_be_visible()
    expect(chart.get_by_role("listitem")).to_have_text(
        [re.compile("scratch.*2 · 66.7"), re.compile("dent.*together 100")]
    )
    assert_accessible(page)
    chart.get_by_role("link", name="dent").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("Defect confirmed: dent")
    expect(page.get_by_role("combobox", name="Defect class")).to_have_value("dent")
    page.goto("/#/history?station=nowhere")
    expect(page.get_by_text("No matching inspections.").first).to_be_visible()
    expect(chart).to_have_count(0)


@pytest.mark.usefixtures("classified")
def test_table_and_labelled_images_are_downloaded_with_the_filters(page: Page) -> None:
    page.goto("/#/history?station=archive")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download as CSV").click()
    with started.value.path().open(newline="") as file:
        stations = [row["station"] for row in csv.DictReader(file)]
    assert stations == ["archive"] * PARTS
    for format, start in (("PDF", b"%PDF"), ("HTML", b"<!doctype html>")):
        with page.expect_download() as started:
            page.get_by_role("button", name=f"Report as {format}").click()
        assert started.value.path().read_bytes().startswith(start)
    with page.expect_download() as started:
        page.get_by_role("button", name="Download labelled images").click()
    with zipfile.ZipFile(started.value.path()) as archive:
        assert sum(name.startswith("disc/test/scratch/") for name in archive.namelist()) == 2


def test_a_later_page_is_there_when_one_comes_back_to_it(page: Page) -> None:
    page.goto("/#/history?station=archive")
    where = page.get_by_text(f"1–50 of {PARTS}, newest first")
    expect(where).to_be_visible()
    page.get_by_role("button", name="Older").click()
    second = page.get_by_text(f"51–52 of {PARTS}, newest first")
    expect(second).to_be_visible()
    page.locator("tbody tr").first.get_by_role("link").click()
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    page.go_back()
    expect(second).to_be_visible()
    page.reload()
    expect(second).to_be_visible()
    page.get_by_role("button", name="Newer").click()
    expect(where).to_be_visible()

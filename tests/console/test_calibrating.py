"""Every view shows that a category is being calibrated, and is updated when that is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that knows two discs."""
    with ServerProcess(tmp_path_factory.mktemp("calibrating") / "data") as running:
        running.wait_until_live()
        running.teach("disc", part(0), part(1))
        running.client.patch("/categories/disc", json={"false_reject_rate": 0.02}).raise_for_status()
        running.wait_until_calibrated("disc")
        yield running


@contextmanager
def busy(server: ServerProcess) -> Iterator[None]:
    """As long as this lasts parts are inspected, before which a calibration steps aside."""
    done = threading.Event()

    def line() -> None:
        files = [("images", (f"{seed}.png", part(seed), "image/png")) for seed in range(800, 808)]
        with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60) as client:
            while not done.is_set():
                client.post("/detect", data={"category": "disc"}, files=files).raise_for_status()

    threads = [threading.Thread(target=line) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_no_view_speaks_of_too_few_references_during_a_calibration(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    image = tmp_path / "part.png"
    image.write_bytes(part(900))
    page.goto("/#/inspect")
    page.get_by_label("Product").select_option("disc")
    other = page.context.new_page()
    other.goto("/#/system")
    expect(other.get_by_text("Ready to inspect")).to_be_visible()
    with busy(server):
        server.teach("disc", *(part(seed) for seed in range(2, 64)))
        page.get_by_label("Choose an image").set_input_files(image)
        verdict = page.get_by_role("region", name="Verdict")
        expect(verdict).to_contain_text("The category is being calibrated")
        other.goto("/#/categories")
        expect(other.get_by_text("Calibrating, ")).to_be_visible()
        expect(other.get_by_text("few references")).to_have_count(0)
        other.goto("/#/categories/disc")
        expect(other.get_by_role("region", name="Status")).to_contain_text("Calibrating, ")
        expect(other.get_by_text("few references")).to_have_count(0)
        other.close()
        expect(verdict).to_contain_text("The category is being calibrated")
        expect(page.get_by_text("few references")).to_have_count(0)
    expect(verdict).to_contain_text("It is calibrated now.")
    verdict.get_by_role("button", name="Inspect again").click()
    expect(verdict).to_contain_text("Normal")


def test_what_stands_there_before_the_answer_is_true_of_any_category(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    image = tmp_path / "part.png"
    image.write_bytes(part(901, kind=1))
    server.teach("plate", part(0, kind=1))
    page.route("**/categories/plate", lambda route: None)  # which is not answered
    page.goto("/#/inspect")
    page.get_by_label("Product").select_option("plate")
    page.get_by_label("Choose an image").set_input_files(image)
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text("There is no calibrated threshold for this false-reject rate yet")
    expect(page.get_by_text("few references")).to_have_count(0)


def test_what_is_drawn_on_stays_where_it_is_when_a_calibration_ends(page: Page, server: ServerProcess) -> None:
    """The facts above it take another line then."""
    server.teach("cup", part(0))
    page.goto("/#/categories/cup/region")
    stage, facts = page.locator(".region-stage"), page.locator(".standing")
    stage.hover()
    before = stage.bounding_box()
    assert before is not None
    page.get_by_role("button", name="Rectangle").click()
    for seeds, outside in ((range(1, 5), False), (range(5, 9), True)):
        page.mouse.move(before["x"] + 200, before["y"] + 200)
        if outside:  # while a rectangle is drawn, beyond the edge
            page.mouse.down()
            page.mouse.move(before["x"] - 20, before["y"] - 20)
        again = part(seeds[0]) + bytes(seeds[0])  # is a duplicate
        server.teach("cup", *(part(seed) for seed in seeds), again)
        server.wait_until_calibrated("cup")
        page.wait_for_timeout(2500)
        assert stage.bounding_box() == before
        if outside:
            page.mouse.up()
        page.get_by_role("heading", level=1).hover()
        count = server.client.get("/categories/cup").json()["references"]
        expect(facts.get_by_text(str(count), exact=True)).to_be_visible()
        page.reload()
        before = stage.bounding_box()
        assert before is not None
        page.get_by_role("button", name="Rectangle").click()

"""A category's labelled test set: what escapes and what is rejected though good, under a threshold to be moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.part_images import varied
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that knows 24 discs and takes four images in one request."""
    with ServerProcess(tmp_path_factory.mktemp("test-set") / "data", MAX_IMAGES="4") as running:
        running.wait_until_live()
        for start in range(0, 24, 4):
            running.teach("disc", *(varied(seed) for seed in range(start, start + 4)))
        running.client.patch("/categories/disc", json={"false_reject_rate": 0.05}).raise_for_status()
        running.wait_until_calibrated("disc")
        yield running


def test_a_test_set_is_given_evaluated_and_explained_and_evaluated_again_after_a_change(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    for kind, scratched in (("good", False), ("defective", True)):
        for number in range(4):
            (tmp_path / f"{kind}-{number}.png").write_bytes(varied(100 + number, scratched=scratched))
    page.goto("/#/categories/disc/testset")
    page.get_by_label("Choose good parts").set_input_files(sorted(tmp_path.glob("good-*")))
    page.get_by_label("Choose defective parts").set_input_files(sorted(tmp_path.glob("defective-*")))
    expect(page.get_by_text("4 good and 4 defective images.")).to_be_visible()
    result = page.get_by_role("region", name="Result")
    expect(result).to_contain_text("0 / 4")
    figures = result.locator(".figures strong")
    expect(figures.nth(0)).to_have_text("100%")
    assert_accessible(page)

    slider = page.get_by_label("Threshold, to be tried")
    slider.focus()
    slider.press("End")  # beyond every score: all defects would escape
    expect(figures.nth(0)).to_have_text("0%")
    escapes = page.get_by_role("region", name="Escapes")
    expect(escapes.get_by_role("listitem")).to_have_count(4)
    escapes.get_by_role("button", name="Explain defective-0.png").click()
    dialog = page.get_by_role("dialog", name="defective-0.png")
    expect(dialog.get_by_role("region", name="Verdict")).to_contain_text("Anomalous")
    page.wait_for_timeout(500)
    assert_accessible(page)
    dialog.get_by_role("button", name="Close").click()

    server.client.patch("/categories/disc", json={"threshold": 2.0}).raise_for_status()
    expect(result).to_contain_text("escapes +4, false rejects 0", timeout=60_000)
    expect(page.get_by_role("group", name="Evaluations")).to_contain_text("4 (+4)")
    escapes.get_by_role("button", name="Take out").first.click()
    expect(page.get_by_text("4 good and 3 defective images.")).to_be_visible()
    assert server.client.get("/inspections").json()["inspections"] == []

    reference = server.client.get("/references", params={"category": "disc"}).json()["references"][0]["id"]
    server.client.patch("/categories/disc", json={"threshold": 2.0}).raise_for_status()  # which lets everything pass
    server.client.delete(f"/references/{reference}").raise_for_status()
    page.get_by_role("button", name="Roll back to").last.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("2.0000 → calibrated")
    expect(dialog).to_contain_text("1 reference that was removed since is restored.")
    assert_accessible(page)
    dialog.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("Rolled back. The test set is evaluated again.")).to_be_visible()
    category = server.client.get("/categories/disc").json()
    assert (category["settings"]["threshold"], category["references"]) == (None, 24)


def test_each_image_that_is_not_added_is_listed_with_its_reason(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    for seed in range(5):  # more than there are notices at a time
        (tmp_path / f"reference-{seed}.png").write_bytes(varied(seed))
    (tmp_path / "good.png").write_bytes(varied(150))
    page.goto("/#/categories/disc/testset")
    page.get_by_label("Choose good parts").set_input_files(sorted(tmp_path.iterdir()))
    refused = page.get_by_role("list", name="5 images were not added")
    expect(refused.get_by_role("listitem")).to_have_count(5)
    expect(refused).to_contain_text("It is a reference")
    expect(page.get_by_text("1 image added to the test set.")).to_be_visible()
    assert_accessible(page)


def hold_posts(route: Route, held: list[Route]) -> None:
    if route.request.method == "POST":
        held.append(route)
    else:
        route.continue_()


def test_good_and_defective_images_chosen_together_are_sent_and_leaving_asks_until_all_are(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"good-{number}.png").write_bytes(varied(160 + number))
        (tmp_path / f"defective-{number}.png").write_bytes(varied(170 + number, scratched=True))
    (tmp_path / "good-9.png").write_bytes(b"")
    held: list[Route] = []
    before = len(server.client.get("/categories/disc/test-images").json()["images"])
    page.goto("/#/categories/disc/testset")
    page.route("**/test-images", lambda route: hold_posts(route, held))
    page.get_by_label("Choose good parts").set_input_files(sorted(tmp_path.glob("good-*")))
    page.get_by_label("Choose defective parts").set_input_files(sorted(tmp_path.glob("defective-*")))
    eventually(lambda: held or page.wait_for_timeout(20), "the page sends good parts")
    held.pop().continue_()
    expect(page.get_by_text("3 images added to the test set.")).to_be_visible()
    eventually(lambda: held or page.wait_for_timeout(20), "the page sends defective parts")
    page.get_by_role("link", name="History").click()
    page.get_by_role("dialog", name="Leave before all images are sent?").get_by_role("button", name="Stay").click()
    expect(page.get_by_role("list", name="1 image was not added")).to_contain_text("good-9.png")
    held.pop().continue_()
    expect(page.get_by_text("3 images added to the test set.", exact=False)).to_be_visible()
    eventually(
        lambda: len(server.client.get("/categories/disc/test-images").json()["images"]) == before + 6, "all are there"
    )
    expect(page.get_by_label("Images sent")).to_be_hidden()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History")

"""Inspect: an image is uploaded; the verdict and its evidence are shown."""

from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import TABLET, Watched
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

_TRANSFER = """([kind, name, data]) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type: "image/png" }));
    const place = kind === "paste" ? document.body : document.querySelector(".drop");
    const event = kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
        : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
    place.dispatchEvent(event);
}"""


def inspected(page: Page, image: Path, category: str = "disc") -> None:
    page.goto("/")
    page.get_by_label("Product").select_option(category)
    page.get_by_label("Choose an image").set_input_files(image)
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()


def test_a_scratched_part_is_shown_with_its_reasons(page: Page, server: ServerProcess, scratched: Path) -> None:
    inspected(page, scratched)
    [latest] = server.client.get("/inspections", params={"limit": 1}).json()["inspections"]
    card = page.get_by_role("region", name="Verdict")
    expect(card).to_contain_text("Anomalous")
    expect(card).to_contain_text(f"Score {latest['score']:.4f} · threshold {latest['threshold']:.4f}")
    expect(card.get_by_role("img", name="times the threshold")).to_be_visible()
    expect(card).to_contain_text("p = ")
    expect(page.locator(".region polygon")).to_have_count(len(latest["regions"]))
    reference = latest["regions"][0]["nearest_patch"]["reference_id"]
    expect(page.get_by_role("img", name=f"Reference {reference}, same position")).to_be_visible()
    expect(page.get_by_text("Distance of the worst patch")).to_be_visible()
    expect(page.locator(".thumb")).to_have_count(len(latest["references"]))
    expect(page.get_by_text("Search", exact=True)).to_be_visible()
    expect(page.locator(".stage img.heat[src^=blob]")).to_be_visible()
    assert_accessible(page)


def test_another_reference_can_be_compared_with(page: Page, server: ServerProcess, scratched: Path) -> None:
    inspected(page, scratched)
    [latest] = server.client.get("/inspections", params={"limit": 1}).json()["inspections"]
    nearest = latest["regions"][0]["nearest_patch"]["reference_id"]
    other = next(
        reference["reference_id"] for reference in latest["references"] if reference["reference_id"] != nearest
    )
    page.get_by_role("button", name=f"Reference {other} similarity").click()
    expect(page.get_by_role("img", name=f"Reference {other}, same position")).to_be_visible()
    page.get_by_role("button", name="Region 1").click()
    expect(page.get_by_role("img", name=f"Reference {nearest}, same position")).to_be_visible()


def test_the_image_is_zoomed_moved_and_warmed_by_keys_and_pointer(page: Page, scratched: Path) -> None:
    inspected(page, scratched)
    stage = page.get_by_role("group", name="Image.")
    stage.focus()
    for key in ("+", "+", "ArrowLeft"):
        page.keyboard.press(key)
    expect(stage).to_have_attribute("data-zoom", "1.96")
    page.keyboard.press("0")
    expect(stage).to_have_attribute("data-zoom", "1")
    stage.hover()
    page.mouse.wheel(0, -120)
    expect(stage).to_have_attribute("data-zoom", "1.4")
    heat = page.locator("img.heat")
    page.get_by_label("Heat map").fill("25")
    expect(heat).to_have_css("opacity", "0.25")
    page.keyboard.press("h")
    expect(heat).to_have_css("opacity", "0")
    page.keyboard.press("h")
    expect(heat).to_have_css("opacity", "0.25")


def test_the_image_is_zoomed_by_two_fingers(page: Page, scratched: Path) -> None:
    page.set_viewport_size(TABLET)
    inspected(page, scratched)
    stage = page.get_by_role("group", name="Image.")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None)):
        points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expect(stage).to_have_attribute("data-zoom", "2")


def test_an_image_is_taken_from_the_clipboard_and_from_a_drop(page: Page) -> None:
    page.goto("/")
    page.get_by_label("Product").select_option("plate")
    for kind in ("paste", "drop"):
        page.evaluate(_TRANSFER, [kind, f"{kind}.png", base64.b64encode(part(77, kind=1)).decode()])
        expect(page.get_by_text(f"{kind}.png", exact=True)).to_be_visible()
        expect(page.get_by_role("region", name="Verdict")).to_contain_text("Not calibrated")


def test_the_camera_s_image_is_inspected(page: Page) -> None:
    page.context.grant_permissions(["camera"])
    page.goto("/")
    expect(page.get_by_role("button", name="Use the camera")).to_be_visible()
    page.keyboard.press("c")
    page.get_by_role("button", name="Take the image").click()
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    expect(page.get_by_text("camera-")).to_be_visible()


def test_a_file_that_is_no_image_is_refused_with_what_to_do(watched: tuple[Page, Watched], tmp_path: Path) -> None:
    page, seen = watched
    seen.expected.add(415)
    broken = tmp_path / "notes.png"
    broken.write_text("no image")
    page.goto("/")
    page.get_by_label("Choose an image").set_input_files(broken)
    expect(page.get_by_role("alert")).to_contain_text("PNG, JPEG, TIFF, BMP and WebP images can be used.")
    assert_accessible(page)


def test_everything_can_be_touched_on_a_tablet(page: Page, scratched: Path) -> None:
    page.set_viewport_size(TABLET)
    inspected(page, scratched)
    expect(page.get_by_text("Distance of the worst patch")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for target in page.locator("button:visible, a:visible, select:visible, label.button").all():
        box = target.bounding_box()
        assert box is not None
        assert box["height"] >= 44, target.inner_text()


def test_another_product_chosen_after_the_verdict_inspects_the_part_again(page: Page, scratched: Path) -> None:
    inspected(page, scratched)
    facts = page.locator(".told dl.facts")
    expect(facts).to_contain_text("disc")
    page.get_by_label("Product").select_option("plate")
    expect(facts).to_contain_text("plate")
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("It matches disc better")
    page.get_by_label("Product").select_option("")
    expect(facts).to_contain_text("disc")


def test_a_part_can_be_tried_out_without_a_record(page: Page, server: ServerProcess, scratched: Path) -> None:
    before = server.client.get("/inspections").json()
    page.goto("/")
    page.get_by_label("Record in the history").uncheck()
    page.get_by_label("Product").select_option("disc")
    page.get_by_label("Choose an image").set_input_files(scratched)
    card = page.get_by_role("region", name="Verdict")
    expect(card).to_contain_text("Anomalous")
    expect(card).to_contain_text("Not recorded")
    expect(page.get_by_role("button", name="Confirm")).to_have_count(0)
    assert server.client.get("/inspections").json() == before
    page.reload()
    expect(page.get_by_label("Record in the history")).not_to_be_checked()
    page.get_by_label("Record in the history").check()

"""Live: parts as they are recorded, the yield, and labels."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
from playwright.sync_api import Page, expect

from indexer.imaging.encode import encode_jpeg
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import TABLET, inspect, report_station, watch
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually


def test_parts_appear_as_they_are_inspected_and_rejects_come_forward(page: Page, server: ServerProcess) -> None:
    inspect(server, 2000, "early")
    watch(page, "early")
    rows = page.get_by_role("list", name="The latest inspections").get_by_role("listitem")
    expect(rows).to_have_count(1)
    inspect(server, 2001, "early", scratched=True)
    inspect(server, 2002, "elsewhere")
    for seed in range(2003, 2013):
        inspect(server, seed, "early")
    expect(rows).to_have_count(12)
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Anomalous")
    shares = [
        inspection["verdict"] == "normal"
        for inspection in server.client.get("/inspections?station=early").json()["inspections"]
    ]
    share = f"{round(1000 * sum(shares) / len(shares)) / 10:g}%"
    expect(page.get_by_role("region", name="Yield")).to_contain_text(share)
    expect(page.get_by_role("img", name=re.compile("Running yield over 12 parts"))).to_be_visible()
    assert_accessible(page)
    page.get_by_role("combobox", name="Verdict").select_option("anomalous")
    expect(rows).to_have_count(len(shares) - sum(shares))


def test_one_key_marks_as_good_and_another_undoes_it(page: Page, server: ServerProcess) -> None:
    inspection = inspect(server, 2100, "fine")
    watch(page, "fine")
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    before = server.references()
    page.keyboard.press("g")
    expect(page.get_by_text("this will not be rejected again")).to_be_visible()
    expect(page.get_by_role("button", name="Mark as good")).to_have_attribute("aria-pressed", "true")
    [promoted] = server.references().keys() - before.keys()
    assert server.client.get(f"/inspections/{inspection}").json()["promoted_reference_id"] == promoted
    page.keyboard.press("u")
    expect(page.get_by_text("Feedback undone.")).to_be_visible()
    assert server.references() == before
    assert server.client.get(f"/inspections/{inspection}").json()["label"] is None


def test_one_key_confirms_a_defect_and_the_undo_beside_the_notice_takes_it_back(
    page: Page, server: ServerProcess
) -> None:
    inspection = inspect(server, 2200, "defect", scratched=True)
    watch(page, "defect")
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    page.keyboard.press("d")
    expect(page.get_by_role("list", name="The latest inspections")).to_contain_text("Defect confirmed")
    assert server.client.get(f"/inspections/{inspection}").json()["label"] == "defect"
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Feedback undone.")).to_be_visible()
    assert server.client.get(f"/inspections/{inspection}").json()["label"] is None


def test_keyboard_navigation_stops_following_rejects(page: Page, server: ServerProcess) -> None:
    for seed in (2300, 2301):
        inspect(server, seed, "walk")
    watch(page, "walk")
    rows = page.get_by_role("list", name="The latest inspections").get_by_role("button")
    expect(rows).to_have_count(2)
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(rows.nth(0)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("j")
    expect(rows.nth(1)).to_have_attribute("aria-pressed", "true")
    inspect(server, 2302, "walk", scratched=True)
    expect(rows).to_have_count(3)
    expect(rows.nth(2)).to_have_attribute("aria-pressed", "true")


def test_a_reject_does_not_come_forward_while_a_comment_is_being_typed(page: Page, server: ServerProcess) -> None:
    first = inspect(server, 2400, "typing", scratched=True)
    watch(page, "typing")
    rows = page.get_by_role("list", name="The latest inspections").get_by_role("button")
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    page.get_by_role("button", name="Confirm defect").click()
    comment = page.get_by_role("textbox", name="Comment")
    comment.press_sequentially("near the ")
    second = inspect(server, 2401, "typing", scratched=True)
    expect(rows).to_have_count(2)
    page.wait_for_timeout(1000)  # after which keys would be meant for the second part
    page.keyboard.type("edge, good otherwise\n")
    expect(page.get_by_text("Comment saved.")).to_be_visible()
    stored = server.client.get(f"/inspections/{first}").json()
    assert (stored["label"], stored["comment"]) == ("defect", "near the edge, good otherwise")
    assert server.client.get(f"/inspections/{second}").json()["label"] is None
    comment.blur()
    third = inspect(server, 2402, "typing", scratched=True)
    expect(rows.nth(0)).to_have_attribute("aria-pressed", "true")
    assert server.client.get(f"/inspections/{third}").json()["label"] is None


def send_frame(server: ServerProcess, station: str, side: int, age_s: float) -> bool:
    """Send a frame as a line agent does; whether somebody watches."""
    data = encode_jpeg(np.full((side // 2, side, 3), 120, np.uint8), 70)
    files = {"images": ("frame.jpg", data, "image/jpeg")}
    answer = server.client.put(f"/stations/{station}/frame", data={"age_s": str(age_s)}, files=files)
    watched: bool = answer.raise_for_status().json()["watched"]
    return watched


def test_a_stations_camera_is_shown_beside_its_verdicts_with_its_age(page: Page, server: ServerProcess) -> None:
    inspect(server, 2500, "seen")
    report_station(server, "seen", sends_frames=True)
    assert not send_frame(server, "seen", 320, 0)
    watch(page, "seen")
    camera = page.locator("details.camera")
    image = camera.get_by_role("img", name="Camera of seen")
    expect(camera).to_contain_text("Waiting for the camera's image")

    def is_fresh(side: int) -> bool:
        assert send_frame(server, "seen", side, 0)
        width = image.evaluate("image => image.naturalWidth")
        return width == side and camera.get_by_role("status").inner_text() == ""

    for side in (320, 400):  # the second takes the place of the first
        eventually(partial(is_fresh, side), "an image that is not old")
        expect(camera).to_contain_text("s old")
    assert_accessible(page)
    assert send_frame(server, "seen", 400, 60)
    expect(camera.get_by_role("status")).to_contain_text("No newer image has come")
    expect(camera).to_contain_text("6")
    assert_accessible(page)
    page.set_viewport_size(TABLET)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    camera.locator("summary").click()  # closed: nobody watches
    expect(image).to_be_hidden()
    page.reload()
    expect(page.get_by_role("list", name="The latest inspections").get_by_role("listitem")).to_have_count(1)
    expect(camera).to_be_visible()
    expect(image).to_be_hidden()  # as it was left
    camera.locator("summary").click()
    expect(image).to_be_visible()

    report_station(server, "blind", sends_frames=False)
    page.get_by_role("textbox", name="Station").fill("blind")
    page.keyboard.press("Enter")
    expect(camera).to_contain_text("This station has no camera")
    page.get_by_role("textbox", name="Station").fill("without-agent")
    page.keyboard.press("Enter")
    expect(camera).to_be_hidden()

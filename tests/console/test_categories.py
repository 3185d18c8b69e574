"""Categories: adding a product, its false-reject rate, settings, inspected area and references."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from indexer.imaging.encode import encode_png
from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import TABLET, Watched
from tests.helpers.part_images import part, plain, varied
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that knows 24 discs, two alike, and has inspected three good ones and a scratched one."""
    with ServerProcess(tmp_path_factory.mktemp("categories") / "data", MAX_IMAGE_BYTES="1000000") as running:
        running.wait_until_live()
        running.teach("disc", *(part(seed) for seed in range(24)))
        running.client.patch("/categories/disc", json={"false_reject_rate": 0.05}).raise_for_status()
        running.wait_until_calibrated("disc")
        for seed in range(800, 804):
            image = part(seed, scratched=seed == 803)
            files = [("images", (f"{seed}.png", image, "image/png"))]
            running.client.post("/detect", data={"category": "disc"}, files=files).raise_for_status()
        yield running


def images(page: Page) -> Locator:
    return page.locator(".images > li.image")


def test_categories_are_shown_with_what_is_known_of_them(page: Page) -> None:
    page.goto("/#/categories")
    card = page.get_by_role("article").filter(has=page.get_by_role("link", name="disc", exact=True))
    expect(card).to_contain_text("24 references")
    expect(card).to_contain_text("Calibrated")
    expect(card.locator("img[src^=blob]")).to_have_count(4)
    assert_accessible(page)
    page.get_by_role("link", name="disc", exact=True).click()
    expect(page.get_by_role("region", name="Status")).to_contain_text("Calibration scores")
    expect(images(page)).to_have_count(24)
    assert_accessible(page)


def test_a_product_is_taught_from_images_to_a_false_reject_rate(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    paths = []
    contents = [*(varied(index) for index in range(12)), plain(3), b"no image", bytes(1_000_001)]
    for index, data in enumerate(contents):
        path = tmp_path / f"ring-{index:02d}.png"
        path.write_bytes(data)
        paths.append(path)
    page.goto("/#/categories")
    page.get_by_role("link", name="Add product").click()
    page.get_by_label("Choose an image").set_input_files(paths[:1])
    expect(page.get_by_role("alert").filter(has_text="Give a name")).to_be_visible()
    assert_accessible(page)
    page.get_by_label("Name of the product").fill("ring")
    page.get_by_label("Choose an image").set_input_files(paths)
    expect(
        page.get_by_role("status").filter(has_text="15 of 15 done: 12 added, 0 duplicates, 1 held back, 2 rejected")
    ).to_be_visible()
    page.get_by_text("Every file").click()
    expect(page.locator(".files li")).to_have_count(15)
    expect(page.locator(".files li").nth(13)).to_contain_text("Rejected")

    found = images(page).filter(has_text="ring-12.png")
    expect(found).to_contain_text("Too dark")
    expect(images(page).filter(has_text="ring-13.png")).to_contain_text("This is not a JPEG")
    expect(images(page).filter(has_text="ring-14.png")).to_contain_text("The file exceeds the limit of 1 MB")
    page.get_by_role("heading", name="3. False rejects").wait_for()
    expect(page.get_by_label("False-reject rate: drag")).to_be_visible()
    assert_accessible(page)
    expect(page.locator("output")).to_contain_text("of 12 references")
    expect(page.locator("#notices")).to_contain_text("12 references support a false-reject rate of 7.7% at best")
    expect(page.get_by_text("It takes 19 for 5%, 49 for 2%, 99 for 1%.")).to_be_visible()
    found.get_by_role("button", name="Leave out").click()
    expect(found).to_have_count(0)
    page.get_by_label("Choose an image").set_input_files(paths[:1])  # what comes later brings nothing back
    expect(page.get_by_role("status").filter(has_text="16 of 16 done: 12 added, 1 duplicates")).to_be_visible()
    expect(found).to_have_count(0)
    assert server.client.get("/categories/ring").json()["references"] == 12
    for kind, data, said in (("good", varied(700), "Passed"), ("bad", varied(701, scratched=True), "Found")):
        (tmp_path / f"{kind}.png").write_bytes(data)
        page.get_by_label(f"Choose a {kind} part").set_input_files(tmp_path / f"{kind}.png")
        expect(page.get_by_role("region", name=f"A {kind} part")).to_contain_text(said)
    assert_accessible(page)
    assert server.client.get("/inspections", params={"category": "ring"}).json()["inspections"] == []

    page.get_by_label("Choose an image").set_input_files(paths[12:13])  # to be decided otherwise
    found.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("output")).to_contain_text("of 13 references")
    expect(page.locator("#notices")).to_contain_text("13 references support a false-reject rate of 7.1% at best")
    assert server.client.get("/categories/ring").json()["calibration"]["rate_supported"]
    slider = page.get_by_label("False-reject rate: drag")
    slider.focus()
    expect(page.locator("output")).to_contain_text("0 of 13 references lie beyond")
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    expect(page.locator("output")).to_contain_text("2 of 13 references lie beyond")
    expect(images(page).filter(has_text="Score")).to_have_count(2)
    page.get_by_role("button", name="Use this rate").click()
    expect(page.locator("#notices")).to_contain_text("of good parts are rejected now")
    server.wait_until_calibrated("ring")
    stored = server.client.get("/categories/ring").json()
    scores = server.client.get("/categories/ring/scores").json()["scores"]
    assert stored["settings"]["false_reject_rate"] == pytest.approx(3 / 14, abs=1e-5)
    assert sum(score > stored["calibration"]["threshold"] for score in scores) == 2
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("ring")
    page.goto("about:blank")  # which asks for the category no more
    server.client.delete("/categories/ring").raise_for_status()  # what others teach shows the same product


def test_too_few_images_to_check_for_outliers_are_reported(page: Page, server: ServerProcess, tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"pin-{index}.png").write_bytes(varied(index))
    page.goto("/#/categories")
    page.get_by_role("link", name="Add product").click()
    page.get_by_label("Name of the product").fill("pin")
    page.get_by_label("Choose an image").set_input_files(sorted(tmp_path.iterdir()))
    expect(page.get_by_text("Too few images to check for outliers: 5 more needed.")).to_be_visible()
    page.goto("about:blank")  # which asks for the category no more
    server.client.delete("/categories/pin").raise_for_status()


def test_images_go_to_a_product_of_the_same_name_only_when_that_is_confirmed(
    watched: tuple[Page, Watched], server: ServerProcess, tmp_path: Path
) -> None:
    page, seen = watched
    server.teach("cam", varied(500))
    (tmp_path / "cam.png").write_bytes(varied(501))
    page.goto("/#/categories?new")
    name = page.get_by_label("Name of the product")
    name.fill("cam")
    page.get_by_label("Choose an image").set_input_files(tmp_path / "cam.png")
    expect(page.get_by_text("There is a product “cam” already.")).to_be_visible()
    expect(name).to_be_editable()
    assert server.client.get("/categories/cam").json()["references"] == 1
    page.get_by_role("button", name="Add the images").click()
    expect(page.get_by_role("status").filter(has_text="1 of 1 done")).to_be_visible()
    assert len(server.client.get("/references", params={"category": "cam"}).json()["references"]) == 2

    seen.expected.add(404)
    page.goto("/#/categories/cam")
    expect(page.get_by_role("heading", name="cam")).to_be_visible()
    server.client.delete("/categories/cam").raise_for_status()  # as in another tab
    expect(page.get_by_role("alert")).to_contain_text("has been removed meanwhile")


def test_leaving_while_images_are_being_sent_asks_first(page: Page, tmp_path: Path) -> None:
    (tmp_path / "late.png").write_bytes(varied(502))
    page.goto("/#/categories?new=disc")
    page.route("**/references", lambda route: None)  # which is never answered
    page.get_by_label("Choose an image").set_input_files(tmp_path / "late.png")
    expect(page.get_by_text("Sending…")).to_be_visible()
    page.get_by_role("link", name="History").click()
    dialog = page.get_by_role("dialog", name="Leave before all images are sent?")
    dialog.get_by_role("button", name="Stay").click()
    expect(page.get_by_text("Sending…")).to_be_visible()
    page.get_by_role("link", name="History").click()
    dialog.get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History")


def test_images_that_could_not_be_sent_are_sent_again_at_a_button(
    watched: tuple[Page, Watched], server: ServerProcess, tmp_path: Path
) -> None:
    page, seen = watched
    seen.expected.add(507)
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(varied(510 + number))
    full = {"type": "/problems/storage-full", "title": "Storage full", "status": 507, "detail": "The disk is full."}
    page.route("**/references", lambda route: route.fulfill(status=507, json=full))
    page.goto("/#/categories?new")
    page.get_by_label("Name of the product").fill("again")
    page.get_by_label("Choose an image").set_input_files(sorted(tmp_path.glob("*.png")))
    expect(page.get_by_text("3 images could not be sent.")).to_be_visible()
    page.unroute("**/references")
    page.get_by_role("button", name="Send failed images again").click()
    expect(page.get_by_role("status").filter(has_text="3 of 3 done: 3 added")).to_be_visible()
    expect(page.get_by_role("button", name="Send failed images again")).to_be_hidden()
    page.goto("about:blank")  # which asks nothing about what is removed now
    server.client.delete("/categories/again").raise_for_status()


def test_a_dark_image_makes_no_duplicates_of_the_others(page: Page, server: ServerProcess, tmp_path: Path) -> None:
    good = [varied(index) for index in range(7)]
    again = cv2.imdecode(np.frombuffer(good[0], np.uint8), cv2.IMREAD_COLOR)
    again[0, 0] += 1
    contents = {f"nut-{index}.png": data for index, data in enumerate(good)}
    contents |= {"dark.png": darkened(good[3]), "again.png": encode_png(np.ascontiguousarray(again[..., ::-1]))}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    page.goto("/#/categories?new")
    page.get_by_label("Name of the product").fill("nut")
    page.get_by_label("Choose an image").set_input_files([tmp_path / name for name in ("dark.png", "nut-0.png")])
    expect(page.get_by_role("status").filter(has_text="2 of 2 done")).to_be_visible()
    rest = [tmp_path / name for name in contents if name not in ("dark.png", "nut-0.png")]
    page.get_by_label("Choose an image").set_input_files(rest)
    expect(page.get_by_role("status").filter(has_text="7 added, 0 duplicates, 2 held back")).to_be_visible()
    expect(images(page).filter(has_text="dark.png")).to_contain_text("Too dark")
    alike = images(page).filter(has_text="Duplicate")
    expect(alike).to_have_count(1)
    expect(alike).to_contain_text("again.png")
    alike.scroll_into_view_if_needed()
    expect(alike.locator(".finding img[src^=blob]").first).to_be_visible()
    page.get_by_role("button", name="Add all 2").click()
    expect(page.get_by_role("status").filter(has_text="9 added, 0 duplicates, 0 held back")).to_be_visible()
    expect(images(page).filter(has_text="Duplicate")).to_have_count(0)
    page.goto("about:blank")  # which asks for the category no more
    server.client.delete("/categories/nut").raise_for_status()


def test_a_duplicate_in_one_request_is_named_by_its_file(page: Page, server: ServerProcess, tmp_path: Path) -> None:
    image = cv2.imdecode(np.frombuffer(varied(50), np.uint8), cv2.IMREAD_COLOR)
    (tmp_path / "first.png").write_bytes(varied(50))
    image[0, 0] += 1
    (tmp_path / "second.png").write_bytes(encode_png(np.ascontiguousarray(image[..., ::-1])))
    page.goto("/#/categories?new")
    page.get_by_label("Name of the product").fill("cap")
    page.get_by_label("Choose an image").set_input_files([tmp_path / "first.png", tmp_path / "second.png"])
    found = images(page).filter(has_text="Duplicate")
    expect(found).to_contain_text("Shows the same part as 'first.png'")
    expect(found.locator(".finding img")).to_be_visible()
    page.goto("about:blank")  # which asks for the category no more
    server.client.delete("/categories/cap").raise_for_status()


def darkened(data: bytes) -> bytes:
    """The same image with hardly any light."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return encode_png(np.ascontiguousarray((image // 16)[..., ::-1]))


def counted(server: ServerProcess) -> int:
    """The references of the disc that count: some lie so alike that they count once."""
    return int(server.client.get("/categories/disc").json()["calibration"]["references"])


def test_the_line_through_the_scores_is_dragged(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc/rejects")
    told = page.locator("output")
    expect(told).to_contain_text(f"0 of {counted(server)} references lie beyond")
    box = page.locator("svg.histogram").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + 40, steps=4)
    page.mouse.up()
    beyond = re.search(rf"; (\d+) of {counted(server)}", told.inner_text())
    assert beyond is not None
    assert int(beyond[1]) > 1
    expect(images(page)).to_have_count(int(beyond[1]))


def test_settings_show_what_they_would_change_before_they_are_saved(page: Page, server: ServerProcess) -> None:
    before = server.client.get("/categories/disc").json()["settings"]
    page.goto("/#/categories/disc/settings")
    would = page.get_by_role("region", name="What this would change")
    expect(would).to_contain_text("Change something")
    page.get_by_label("Manual threshold").fill("2")
    expect(would).to_contain_text("1 of the last 4 parts would get another verdict")
    expect(images(page)).to_contain_text("Anomalous")
    page.get_by_label("Manual threshold").fill("")
    expect(would).to_contain_text("Change something")
    page.get_by_label("References compared with").fill("3")
    expect(would).to_contain_text("searched again")
    expect(would).to_contain_text(f"{counted(server)} references, scored anew")
    assert_accessible(page)
    assert server.client.get("/categories/disc").json()["settings"] == before
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    assert server.client.get("/categories/disc").json()["settings"] == {**before, "k": 3}
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_label("References compared with")).to_have_value("150")
    assert server.client.get("/categories/disc").json()["settings"] == before
    page.get_by_label("References compared with").fill("0")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    page.get_by_role("button", name="Reset").click()
    weights = page.get_by_label(re.compile("Weight of "))
    weights.first.fill("2")  # all or none
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    for index in range(weights.count()):
        weights.nth(index).fill("1")
    page.get_by_label("Pooled share of the map").fill("0.5")
    expect(would).to_contain_text("scored anew")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    after = server.client.get("/categories/disc").json()["settings"]
    assert after == {**before, "pooled_share": 0.005, "layer_weights": [1.0] * weights.count()}
    page.get_by_role("button", name="Undo").last.click()
    expect(weights.first).to_have_value("")
    assert server.client.get("/categories/disc").json()["settings"] == before


def hold_patches(page: Page) -> list[Route]:
    """The changes of discs that the page sends from now on, which wait to be let go."""
    held: list[Route] = []

    def hold_back(route: Route) -> None:
        if route.request.method == "PATCH":
            held.append(route)
        else:
            route.continue_()

    page.route("**/categories/disc", hold_back)
    return held


def let_go(page: Page, held: list[Route]) -> None:
    """Let a change go on once the page has sent it, which it may do after it has asked for what is stored."""
    eventually(lambda: held or page.wait_for_timeout(20), "the page sends its change")
    held.pop().continue_()


def areas(server: ServerProcess) -> list[list[list[float]]] | None:
    region = server.client.get("/categories/disc").json()["settings"]["region_of_interest"]
    return None if region is None else region["polygons"]


def test_the_inspected_area_is_drawn_with_mouse_and_keyboard(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc/region")
    expect(page.get_by_text("The whole image is inspected")).to_be_visible()
    page.get_by_role("button", name="Add an area").click()
    corner = page.get_by_role("button", name="Corner 1 of 4, area 1")
    corner.focus()
    for key in ("ArrowLeft", "ArrowUp", "Shift+ArrowUp"):
        page.keyboard.press(key)
    expect(corner).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=re.compile("Corner . of 5"))).to_have_count(5)
    page.get_by_role("button", name="Corner 2 of 5, area 1").focus()
    page.keyboard.press("Delete")
    expect(page.get_by_role("button", name=re.compile("Corner . of 4"))).to_have_count(4)
    stage = page.locator(".region-stage").bounding_box()
    assert stage is not None
    page.mouse.move(stage["x"] + stage["width"] * 0.7, stage["y"] + stage["height"] * 0.7)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.8, stage["y"] + stage["height"] * 0.9, steps=3)
    page.mouse.up()
    # The mark in the middle of the lower edge becomes a corner where it is let go, until that is undone.
    page.mouse.move(stage["x"] + stage["width"] * 0.55, stage["y"] + stage["height"] * 0.8)
    page.mouse.down()
    page.mouse.move(stage["x"] + stage["width"] * 0.55, stage["y"] + stage["height"] * 0.95, steps=3)
    page.mouse.up()
    expect(page.get_by_role("button", name=re.compile("Corner . of 5"))).to_have_count(5)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name=re.compile("Corner . of 4"))).to_have_count(4)
    would = page.get_by_role("region", name="What this would change")
    expect(would).to_contain_text("searched again")
    assert_accessible(page)
    assert areas(server) is None
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    drawn = areas(server)
    assert drawn is not None
    assert drawn[0][0] == pytest.approx([0.29, 0.288])
    assert drawn[0][2] == pytest.approx([0.8, 0.9], abs=0.01)
    page.locator("#notices").get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The whole image is inspected")).to_be_visible()
    assert areas(server) is None


def test_the_inspected_area_is_drawn_with_a_finger(page: Page, server: ServerProcess) -> None:
    page.set_viewport_size(TABLET)
    page.goto("/#/categories/disc/region")
    page.get_by_role("button", name="Add an area").click()
    stage = page.locator(".region-stage").bounding_box()
    assert stage is not None
    touch = page.context.new_cdp_session(page)
    # 15 pixels beside the corner: a finger is wider than a corner.
    start = (stage["x"] + stage["width"] * 0.3 - 15, stage["y"] + stage["height"] * 0.3)
    for kind, dx in (("touchStart", 0.0), ("touchMove", 20.0), ("touchMove", 40.0), ("touchEnd", None)):
        points = [] if dx is None else [{"x": start[0] + dx, "y": start[1]}]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    drawn = areas(server)
    assert drawn is not None
    assert drawn[0][0] == pytest.approx([0.3 + 40 / stage["width"], 0.3], abs=0.01)
    page.get_by_role("button", name="Inspect everywhere").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    assert areas(server) is None


def drag(page: Page, *points: tuple[float, float]) -> None:
    """Draw on the stage from point to point, in fractions of the image."""
    page.locator(".region-stage").scroll_into_view_if_needed()
    stage = page.locator(".region-stage").bounding_box()
    assert stage is not None
    places = [(stage["x"] + stage["width"] * x, stage["y"] + stage["height"] * y) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def test_areas_are_ignored_drawn_undone_and_not_lost_by_leaving(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    server.wait_until_calibrated("disc")  # of which the page tells in lines above the drawing, which would move it
    page.goto("/#/categories/disc/region")
    page.get_by_role("button", name="Next reference").click()
    expect(page.get_by_text("1.png, 2 of 24")).to_be_visible()
    page.get_by_role("button", name="Rectangle").click()
    drag(page, (0.05, 0.05), (0.95, 0.95))
    page.get_by_role("button", name="Ignore", exact=True).click()
    page.get_by_role("button", name="Ellipse").click()
    drag(page, (0.1, 0.1), (0.3, 0.4))
    page.get_by_role("button", name="Brush").click()
    page.get_by_label("Brush width").fill("8")
    drag(page, (0.6, 0.7), (0.8, 0.8), (0.8, 0.6))
    expect(page.get_by_text("1 area is inspected. 2 areas are ignored. Not saved yet.")).to_be_visible()
    assert_accessible(page)
    page.keyboard.press("Control+z")
    expect(page.get_by_text("1 area is inspected. 1 area is ignored.")).to_be_visible()
    page.keyboard.press("Control+y")
    expect(page.get_by_text("2 areas are ignored")).to_be_visible()

    page.get_by_role("link", name="Settings", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("not saved")
    assert_accessible(page)
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    expect(page).to_have_url(re.compile("/disc/region$"))
    expect(page.get_by_text("2 areas are ignored")).to_be_visible()

    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    region = server.client.get("/categories/disc").json()["settings"]["region_of_interest"]
    assert (len(region["polygons"]), len(region["ignored"])) == (1, 2)
    assert region["polygons"][0][2] == pytest.approx([0.95, 0.95], abs=0.01)
    assert len(region["ignored"][0]) == 32
    server.wait_until_calibrated("disc")

    (tmp_path / "part.png").write_bytes(part(900))
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(TABLET)
    page.goto("/#/inspect")
    page.get_by_label("Choose an image").set_input_files(tmp_path / "part.png")
    expect(page.locator(".world .roi.ignored")).to_have_count(2)
    assert_accessible(page)

    half = np.zeros((60, 80), np.uint8)
    half[:, :40] = 255
    (tmp_path / "mask.png").write_bytes(encode_png(half))
    page.goto("/#/categories/disc/region")
    page.get_by_label("Use a mask image").set_input_files(tmp_path / "mask.png")
    expect(page.get_by_text("1 area is inspected.", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    page.get_by_role("button", name="Inspect everywhere").click()
    page.get_by_role("link", name="References", exact=True).click()
    dialog.get_by_role("button", name="Leave").click()
    expect(images(page)).to_have_count(24)
    assert [len(corners) for corners in areas(server) or ()] == [4]
    server.client.patch("/categories/disc", json={"region_of_interest": None}).raise_for_status()
    server.wait_until_calibrated("disc")


def test_what_is_typed_while_settings_are_saved_is_kept(page: Page, server: ServerProcess) -> None:
    before = server.client.get("/categories/disc").json()["settings"]
    held = hold_patches(page)
    page.goto("/#/categories/disc/settings")
    page.get_by_label("References compared with").fill("7")
    page.get_by_role("button", name="Save").click()
    page.get_by_label("Pooled share of the map").fill("3")
    let_go(page, held)
    expect(page.locator("#notices")).to_contain_text("Saved")
    expect(page.get_by_label("Pooled share of the map")).to_have_value("3")
    expect(page.get_by_role("button", name="Save")).to_be_enabled()
    assert server.client.get("/categories/disc").json()["settings"] == {**before, "k": 7}
    server.client.patch("/categories/disc", json={"k": before["k"]}).raise_for_status()
    server.wait_until_calibrated("disc")


def test_what_is_drawn_while_a_region_is_saved_is_kept(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc/region")
    page.get_by_role("button", name="Add an area").click()
    expect(page.get_by_text("1 area is inspected. Not saved yet.")).to_be_visible()
    held = hold_patches(page)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Add an area").click()
    expect(page.get_by_text("2 areas are inspected.")).to_be_visible()
    let_go(page, held)
    expect(page.locator("#notices")).to_contain_text("Saved")
    expect(page.get_by_text("2 areas are inspected. Not saved yet.")).to_be_visible()
    page.keyboard.press("Control+z")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    assert len(areas(server) or ()) == 1
    server.client.patch("/categories/disc", json={"region_of_interest": None}).raise_for_status()
    server.wait_until_calibrated("disc")


def test_what_another_tab_has_drawn_is_replaced_only_when_that_is_confirmed(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc/region")
    page.get_by_role("button", name="Add an area").click()
    elsewhere = [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]
    change = {"region_of_interest": {"polygons": [elsewhere], "ignored": []}}
    server.client.patch("/categories/disc", json=change).raise_for_status()
    page.get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog", name="Replace what somebody else has drawn?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("1 area is inspected. Not saved yet.")).to_be_visible()
    assert areas(server) == [elsewhere]
    page.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Replace").click()
    expect(page.locator("#notices")).to_contain_text("Saved")
    assert [len(corners) for corners in areas(server) or ()] == [4]
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_text("Undone.")).to_be_visible()
    assert areas(server) == [elsewhere]
    server.client.patch("/categories/disc", json={"region_of_interest": None}).raise_for_status()
    server.wait_until_calibrated("disc")


def test_a_reference_is_taken_back_and_brought_back(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc")
    first = images(page).first
    expect(images(page)).to_have_count(24)
    first.get_by_role("button", name="Remove").press("Enter")
    expect(images(page)).to_have_count(23)
    expect(images(page).first.get_by_role("button", name="Remove")).to_be_focused()
    assert server.client.get("/categories/disc").json()["references"] == 23
    page.get_by_role("button", name="Undo").click()
    expect(images(page)).to_have_count(24)
    assert server.client.get("/categories/disc").json()["references"] == 24
    first.get_by_role("button", name="Remove").click()
    expect(images(page)).to_have_count(23)
    assert server.client.get("/categories/disc").json()["references"] == 23
    page.get_by_role("button", name="Removed", exact=True).click()
    expect(images(page)).to_have_count(1)  # the first one is in use again
    assert_accessible(page)
    images(page).get_by_role("button", name="Restore").click()
    expect(page.get_by_text("No references were removed")).to_be_visible()
    page.get_by_role("button", name="In use").click()
    expect(images(page)).to_have_count(24)


def test_a_reference_removed_while_the_list_is_sorted_anew_is_brought_back(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc")
    expect(images(page)).to_have_count(24)
    held: list[Route] = []
    page.route(
        "**/references/*", lambda route: held.append(route) if route.request.method == "DELETE" else route.continue_()
    )
    images(page).first.get_by_role("button", name="Remove").click()
    eventually(lambda: held or page.wait_for_timeout(20), "the page removes it")
    page.get_by_label("Order").select_option("newest")
    page.wait_for_timeout(300)
    held.pop().continue_()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Reference restored.")).to_be_visible()
    assert server.client.get("/categories/disc").json()["references"] == 24


def test_references_are_found_sorted_enlarged_and_removed_together(page: Page, server: ServerProcess) -> None:
    page.goto("/#/categories/disc")
    page.get_by_label("Order").select_option("File name")
    expect(images(page).nth(2)).to_contain_text("10.png")
    scores = server.client.get("/categories/disc/scores").json()
    page.get_by_label("Order").select_option("Most unlike the others")
    outlier = server.client.get(f"/references/{scores['references'][-1]}").json()
    expect(images(page).first).to_contain_text(outlier["filename"])
    expect(images(page).first).to_contain_text("Score among the others: 0.")
    page.get_by_label("Order").select_option("File name")
    page.get_by_label("File name or number").fill("2.PNG")
    page.keyboard.press("Enter")
    expect(images(page)).to_have_count(3)
    page.get_by_role("button", name="Enlarge 22.png").click()
    dialog = page.get_by_role("dialog", name="22.png")
    expect(dialog.locator("img.part")).to_have_js_property("naturalWidth", 160)
    dialog.get_by_role("button", name="Zoom in").click()
    expect(dialog.locator(".stage")).to_have_attribute("data-zoom", "1.4")
    assert_accessible(page)
    dialog.get_by_role("button", name="Close").click()
    page.get_by_label("Select 12.png").check()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.get_by_role("button", name="Select all shown").click()
    page.set_viewport_size(TABLET)
    page.emulate_media(color_scheme="dark")
    assert_accessible(page)
    page.get_by_role("button", name="Remove selected").click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text("Remove 3 references?")
    question.get_by_role("button", name="Remove selected").click()
    expect(page.get_by_text("No reference has this name or number.")).to_be_visible()
    assert server.client.get("/categories/disc").json()["references"] == 21
    page.locator("#notices").get_by_role("button", name="Undo").click()
    expect(images(page)).to_have_count(3)
    assert server.client.get("/categories/disc").json()["references"] == 24
    server.wait_until_calibrated("disc")


def test_two_clicks_or_a_held_key_take_one_reference_back(page: Page, server: ServerProcess) -> None:
    server.teach("clip", *(varied(seed) for seed in range(6)))
    page.goto("/#/categories/clip")
    button = images(page).first.get_by_role("button", name="Remove")
    box = button.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(x, y)
    expect(images(page)).to_have_count(5)
    page.mouse.down(click_count=2)  # on the next one, which has come there
    page.mouse.up(click_count=2)
    expect(button).to_be_focused()
    page.keyboard.down("Enter")
    expect(images(page)).to_have_count(4)
    expect(button).to_be_focused()
    page.keyboard.down("Enter")  # as a key that is held says it again
    page.keyboard.up("Enter")
    page.wait_for_timeout(500)
    expect(images(page)).to_have_count(4)
    assert server.client.get("/categories/clip").json()["references"] == 4
    page.goto("about:blank")  # which asks for the category no more
    server.client.delete("/categories/clip").raise_for_status()


def test_a_category_is_removed_after_a_question_and_brought_back_with_its_settings(
    page: Page, server: ServerProcess
) -> None:
    server.teach("short-lived", *(part(seed) for seed in range(300, 320)))
    server.client.patch("/categories/short-lived", json={"k": 7}).raise_for_status()
    page.goto("/#/categories/short-lived")
    page.get_by_role("button", name="Remove category").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    assert_accessible(page)
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    assert server.client.get("/categories/short-lived").status_code == 200
    page.get_by_role("button", name="Remove category").click()
    dialog.get_by_role("button", name="Remove category").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Categories")
    assert server.client.get("/categories/short-lived").status_code == 404

    removed = page.get_by_role("region", name="Removed categories")
    expect(removed).to_contain_text("20 references")
    assert_accessible(page)
    removed.get_by_role("button", name="Restore short-lived").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("short-lived")
    expect(images(page)).to_have_count(20)
    back = server.client.get("/categories/short-lived").json()
    assert (back["references"], back["settings"]["k"]) == (20, 7)

    page.get_by_role("button", name="Remove category").click()
    dialog.get_by_role("button", name="Remove category").click()
    # Before this view is shown, the last notice is of the first removal.
    expect(page.get_by_role("heading", level=1)).to_have_text("Categories")
    page.locator("#notices").get_by_role("button", name="Undo").last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("short-lived")
    expect(images(page)).to_have_count(20)
    expect(page.get_by_role("region", name="Removed categories")).to_have_count(0)
    page.goto("about:blank")  # which asks for the category no more
    server.client.delete("/categories/short-lived").raise_for_status()


def test_drift_is_flagged_on_screen_until_its_test_begins_anew(page: Page, server: ServerProcess) -> None:
    server.teach("wheel", *(varied(seed) for seed in range(24)))
    server.wait_until_calibrated("wheel")
    page.goto("/#/categories/wheel")
    where = page.get_by_role("region", name="Status")
    expect(where).to_contain_text("Calibration scores")
    expect(where).not_to_contain_text("Drifting")
    files = [("images", (f"{seed}.png", varied(seed, scratched=True), "image/png")) for seed in range(900, 932)]
    server.client.post("/detect", data={"category": "wheel"}, files=files).raise_for_status()
    expect(where).to_contain_text("Many defects")
    expect(where).not_to_contain_text("Drifting")
    server.client.post("/categories/wheel/drift/restart").raise_for_status()
    files = [("images", (f"{seed}.png", darkened(varied(seed)), "image/png")) for seed in range(950, 982)]
    server.client.post("/detect", data={"category": "wheel"}, files=files).raise_for_status()
    expect(where).to_contain_text("Drifting: the scene no longer looks like the references")
    assert_accessible(page)
    page.goto("/#/categories")
    card = page.get_by_role("article").filter(has=page.get_by_role("link", name="wheel", exact=True))
    expect(card).to_contain_text("Drifting")
    page.goto("/#/live")
    page.get_by_role("link", name="Show the parts").click()
    expect(page.get_by_text("Most of each image differs from the references")).to_be_visible()
    expect(images(page)).to_have_count(12)
    assert_accessible(page)
    where.get_by_role("button", name="Restart the drift test").click()
    expect(page.locator("#notices")).to_contain_text("The drift test was restarted")
    expect(where).not_to_contain_text("Drifting")
    assert server.client.get("/categories/wheel").json()["drift"] is None


def test_the_threshold_follows_the_pointer_in_every_drag_at_every_width(page: Page, server: ServerProcess) -> None:
    scores = server.client.get("/categories/disc/scores").json()["scores"]
    drawing = page.locator("svg.histogram")
    line = drawing.locator("g.cut circle")
    told = page.locator("output")
    for width in (820, 1024, 1280, 1440, 1920):
        page.goto("about:blank")
        page.set_viewport_size({"width": width, "height": 900})
        page.goto("/#/categories/disc/rejects")
        expect(told).to_contain_text("Rate")
        expect(page.get_by_text("cannot be promised")).to_have_count(0)  # 24 scores are enough for the disc's 5 %
        for target in (scores[-1], scores[-5], scores[-9], scores[-3]):
            box = drawing.bounding_box()
            held = line.bounding_box()
            assert box is not None
            assert held is not None
            span = scores[-1] - scores[0]
            x = box["x"] + box["width"] * (target - scores[0] + 0.05 * span) / (1.13 * span)
            page.mouse.move(held["x"] + held["width"] / 2, held["y"] + held["height"] / 2)
            page.mouse.down()
            page.mouse.move(x + 40, box["y"] + 60, steps=3)
            page.mouse.move(x, box["y"] + 160, steps=3)
            page.mouse.up()
            expect(told).to_contain_text(f"threshold {target:.4f}")
            dropped = line.bounding_box()
            assert dropped is not None
            assert dropped["x"] + dropped["width"] / 2 == pytest.approx(x, abs=1.5), width


def test_a_part_in_a_preview_leads_to_its_inspection(page: Page) -> None:
    page.goto("/#/categories/disc/settings")
    page.get_by_label("Manual threshold").fill("2")
    images(page).get_by_role("link").click()
    page.get_by_role("dialog", name="Leave without saving?").get_by_role("button", name="Leave").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("803.png")
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Anomalous")


def test_every_link_leads_to_a_page_and_a_wrong_address_says_so(page: Page) -> None:
    seen: set[str] = set()
    kinds: Counter[str] = Counter()
    waiting = ["/#/categories"]
    while waiting:
        address = waiting.pop()
        seen.add(address)
        kind = re.sub(r"[0-9a-f]{32}|\d+", "…", address)
        kinds[kind] += 1
        if kinds[kind] > 3:  # as many images and inspections as there are have this address, and their page
            continue
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.get_by_text("Loading")).to_have_count(0)
        expect(page.get_by_role("heading", level=1)).not_to_have_text("Page not found")
        links = page.eval_on_selector_all("a[href^='#/']", "links => links.map(link => link.getAttribute('href'))")
        waiting += sorted({f"/{link}" for link in links} - seen - set(waiting))
    assert len(seen) > 10
    for address in ("/#/inspect%", "/#/toString", "/#/nothing/here"):
        page.goto(address)
        expect(page.get_by_role("heading", level=1)).to_have_text("Page not found")
    page.goto("/#/categories/disc/toString")
    expect(images(page)).to_have_count(24)


def test_show_more_clicked_twice_shows_what_is_there_once(page: Page, server: ServerProcess) -> None:
    server.teach("screw", *(varied(seed) for seed in range(64)))

    def late(route: Route) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    page.goto("/#/categories/screw")
    expect(images(page)).to_have_count(60)
    page.route("**/references?*", late)
    page.get_by_role("button", name="Show more").dblclick()
    expect(images(page)).to_have_count(64)
    names = images(page).locator(".name").all_inner_texts()
    assert len(set(names)) == 64
    # Leaving a list that is still being read leaves nothing of it in the next.
    for name in ("Removed", "In use", "Removed", "In use"):
        page.get_by_role("button", name=name, exact=True).click()
    expect(images(page)).to_have_count(60)
    page.wait_for_timeout(1000)
    expect(images(page)).to_have_count(60)
    page.unroute("**/references?*")
    page.goto("about:blank")  # which asks for the category no more
    server.client.delete("/categories/screw").raise_for_status()

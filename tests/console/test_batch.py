"""Many images in Inspect: a folder, a ZIP archive or several files, with nothing left out in silence."""

from __future__ import annotations

import base64
import csv
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import TABLET, Watched
from tests.helpers.part_images import part
from tests.helpers.server_process import ServerProcess

_DROP = """(files) => {
    const transfer = new DataTransfer();
    for (const [name, data] of files) {
        const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: "image/png" }));
    }
    const event = new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
    document.querySelector(".drop").dispatchEvent(event);
}"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of images in folders, packed and stored, and of what cannot be inspected."""
    path = tmp_path / "lot 7.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.mkdir("good")
        for number in range(3):
            packed.writestr(f"good/{number}.png", part(3000 + number), zipfile.ZIP_DEFLATED)
        packed.writestr("bad/größe.png", part(3010, scratched=True), zipfile.ZIP_STORED)
        packed.writestr("notes.txt", "no image", zipfile.ZIP_DEFLATED)
        packed.writestr("empty.png", b"")
        packed.writestr("other.png", part(3011), zipfile.ZIP_BZIP2)
        packed.writestr("broken.png", part(3012), zipfile.ZIP_STORED)
        begin = packed.getinfo("broken.png").header_offset
    data = bytearray(path.read_bytes())
    data[begin + 200] ^= 1
    path.write_bytes(data)
    return path


def rows(page: Page) -> Locator:
    return page.get_by_role("group", name="Inspected images").locator("tbody tr")


def finished(page: Page, total: int) -> None:
    expect(page.get_by_text(f"{total} of {total} done")).to_be_visible()


def sort_by(page: Page, column: str) -> list[str]:
    page.get_by_role("columnheader").get_by_role("button", name=column).click()
    return rows(page).get_by_role("rowheader").all_inner_texts()


def test_an_archive_is_inspected_sorted_exported_and_links_to_each_inspection(
    watched: tuple[Page, Watched], server: ServerProcess, archive: Path, tmp_path: Path
) -> None:
    page, seen = watched
    seen.expected |= {415, 422}
    page.goto("/")
    page.get_by_label("Product").select_option("disc")
    page.get_by_label("Choose an image").set_input_files(archive)
    finished(page, 8)
    expect(page.get_by_text("3 normal, 1 not normal, 4 not inspected.")).to_be_visible()
    for name, remark in (
        ("notes.txt", "cannot be decoded|not an image|format"),
        ("other.png", "compressed in a way that browsers cannot unpack"),
        ("broken.png", "damaged in the archive"),
    ):
        line = rows(page).filter(has_text=name)
        expect(line).to_contain_text("Not inspected")
        if "|" not in remark:
            expect(line).to_contain_text(remark)
    assert_accessible(page)

    assert sort_by(page, "Score")[3] == "lot 7.zip/bad/größe.png"
    assert sort_by(page, "Score")[0] == "lot 7.zip/bad/größe.png"
    expect(page.get_by_role("columnheader", name="Score")).to_have_attribute("aria-sort", "descending")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    download.value.save_as(tmp_path / "batch.csv")
    with (tmp_path / "batch.csv").open(encoding="utf-8", newline="") as file:
        [first, *others] = list(csv.DictReader(file))
    assert (first["file"], first["verdict"], first["category"]) == ("lot 7.zip/bad/größe.png", "anomalous", "disc")
    assert len(others) == 7
    recorded = server.client.get(f"/inspections/{first['inspection']}").json()
    assert (recorded["filename"], recorded["score"]) == ("größe.png", float(first["score"]))
    assert int(first["regions"]) == len(recorded["regions"])
    rows(page).first.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("größe.png")


def test_a_folder_is_inspected_without_a_record_in_the_dark_on_a_tablet(
    page: Page, server: ServerProcess, tmp_path: Path
) -> None:
    before = server.client.get("/inspections", params={"limit": 1}).json()["inspections"]
    folder = tmp_path / "shift"
    (folder / "late").mkdir(parents=True)
    for number in range(3):
        (folder / "late" / f"{number}.png").write_bytes(part(3100 + number))
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(TABLET)
    page.goto("/")
    page.get_by_label("Product").select_option("disc")
    page.get_by_label("Record in the history").uncheck()
    page.get_by_label("Choose a folder").set_input_files(folder)
    finished(page, 3)
    expect(page.get_by_text("Product: disc. Not recorded.")).to_be_visible()
    assert sort_by(page, "File") == [f"shift/late/{number}.png" for number in range(3)]
    expect(rows(page).get_by_role("link")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
    assert server.client.get("/inspections", params={"limit": 1}).json()["inspections"] == before


def test_dropped_files_are_stopped_and_go_on_and_no_image_is_inspected_twice(page: Page, server: ServerProcess) -> None:
    page.goto("/")
    page.get_by_label("Product").select_option("disc")
    files = [(f"dropped-{number:02d}.png", base64.b64encode(part(3200 + number)).decode()) for number in range(12)]
    page.evaluate(_DROP, files)
    expect(rows(page).filter(has_text="Waiting")).not_to_have_count(12)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Go on").click()
    finished(page, 12)
    query = {"text": "dropped-", "limit": 100}
    found = sorted(
        inspection["filename"] for inspection in server.client.get("/inspections", params=query).json()["inspections"]
    )
    assert found == [name for name, _ in files]


def test_leaving_while_images_are_inspected_asks_first(page: Page, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(part(3300 + number))
    page.goto("/")
    page.route("**/detect", lambda route: None)  # which is never answered
    page.get_by_label("Choose an image").set_input_files(sorted(tmp_path.iterdir()))
    expect(rows(page)).to_have_count(2)
    page.get_by_role("link", name="History").click()
    dialog = page.get_by_role("dialog", name="Leave before all images are sent?")
    dialog.get_by_role("button", name="Stay").click()
    expect(rows(page)).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History")

"""Takes screenshots of every view of the console, for desktop and tablet, with the demo's rendered products."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
from playwright.sync_api import Browser, Page, sync_playwright

from clients.demo.factory import PRODUCTS, defect_kinds, render_defective, render_good, test_seed
from clients.demo.server import encode_png
from tests.helpers.browser import DESKTOP, TABLET, chromium
from tests.helpers.oidc_provider import OidcProvider
from tests.helpers.server_process import ServerProcess

_REFERENCES = 25
_PARTS = 60  # inspected for history; every fifth is defective
_MOST_BYTES = 150_000  # of a JPEG file, for which the first of these is taken that keeps to it
_QUALITIES = (78, 66, 54)


def furnish(server: ServerProcess) -> None:
    """Teach the server the demo's products and let it inspect what a morning brings."""
    if server.client.get("/categories").json()["categories"]:
        return
    for product in PRODUCTS:
        server.teach(product, *(encode_png(render_good(product, seed).image) for seed in range(_REFERENCES)))
        server.client.patch(f"/categories/{product}", json={"false_reject_rate": 0.05}).raise_for_status()
    for product in PRODUCTS:
        server.wait_until_calibrated(product)
    for index in range(_PARTS):
        inspect(server, index)


def inspect(server: ServerProcess, number: int) -> None:
    """Let the server inspect one part of the morning."""
    product = PRODUCTS[number % len(PRODUCTS)]
    seed = test_seed(0, number)
    bad = number % 5 == number // 5 % 5
    made = (
        render_defective(product, seed, defect_kinds(product)[number % len(defect_kinds(product))])
        if bad
        else render_good(product, seed)
    )
    files = [("images", (f"{product}-{number:04d}.png", encode_png(made.image), "image/png"))]
    data = {"category": product, "station": f"press-{1 + number % 3}", "part_id": f"P{40000 + number}"}
    server.client.post("/detect", data=data, files=files).raise_for_status()


def inspected(page: Page, server: ServerProcess, folder: Path) -> None:
    """Inspect, with a defective board."""
    part = folder / "board-with-a-part-missing.png"
    part.write_bytes(encode_png(render_defective("board", test_seed(0, 10_000), "missing").image))
    page.goto("/")
    page.get_by_label("Product").select_option("board")
    page.get_by_label("Choose an image").set_input_files(part)
    page.get_by_text("Distance of the worst patch").wait_for()


def batch(page: Page, server: ServerProcess, folder: Path) -> None:
    """Inspect, with a folder of boards and a file that is no image."""
    paths = _boards(folder, good=9, defective=5)
    paths.append(folder / "notes.png")
    paths[-1].write_bytes(b"no image")
    page.goto("/")
    page.get_by_label("Product").select_option("board")
    page.get_by_label("Choose an image").set_input_files(paths)
    page.get_by_text(f"{len(paths)} of {len(paths)} done").wait_for()


def confirming(page: Page, server: ServerProcess, folder: Path) -> None:
    """What calling a part of another product good would do, before it is done."""
    part = folder / "bracket-among-boards.png"
    part.write_bytes(encode_png(render_good("bracket", test_seed(0, 10_001)).image))
    page.goto("/")
    page.get_by_label("Product").select_option("board")
    page.get_by_label("Choose an image").set_input_files(part)
    page.get_by_role("button", name="Mark as good").click()
    page.get_by_role("dialog").locator("img[src^=blob]").nth(1).wait_for()


def _boards(folder: Path, good: int, defective: int) -> list[Path]:
    """Files of boards that the server has not seen."""
    kinds = defect_kinds("board")
    made = {f"good-{number}": render_good("board", test_seed(2, number)) for number in range(good)}
    for number in range(defective):
        kind = kinds[number % len(kinds)]
        made[f"{kind}-{number}"] = render_defective("board", test_seed(2, 100 + number), kind)
    paths = [folder / f"board-{name}.png" for name in made]
    for path, rendered in zip(paths, made.values(), strict=True):
        path.write_bytes(encode_png(rendered.image))
    return paths


def show_camera(page: Page, server: ServerProcess) -> None:
    """Send what press-1's camera sees, as its agent would, until the page shows it and nothing older."""
    _, frame = cv2.imencode(".jpg", render_good("bracket", test_seed(0, 20_000)).image[..., ::-1])
    files = [("images", ("frame.jpg", frame.tobytes(), "image/jpeg"))]
    shown = page.locator("details.camera:not(.stale) img[src^=blob]")
    for _ in range(60):
        server.client.put("/stations/press-1/frame", data={"age_s": "0"}, files=files).raise_for_status()
        page.wait_for_timeout(700)
        if shown.count():
            page.locator("details.camera").scroll_into_view_if_needed()
            return
    raise AssertionError("the camera's image was not shown")


def live(page: Page, server: ServerProcess, folder: Path) -> None:
    """Live, while parts of a station come, with its camera."""
    report_station(server)
    page.goto("/#/live?station=press-1")
    page.get_by_text("Live", exact=True).nth(1).wait_for()
    for index in range(_PARTS, _PARTS + 18):
        inspect(server, index)
    page.get_by_text("Distance of the worst patch").wait_for()
    show_camera(page, server)


def operator(page: Page, server: ServerProcess, folder: Path) -> None:
    """The operator's screen of a station, a reject on it, and its camera."""
    report_station(server)
    page.goto("/operator?station=press-1")
    page.locator("p.state.live").wait_for()
    page.locator("details.camera summary").click()
    page.locator(".reject").first.click()
    page.locator(".last-part .warmed img[src^=blob]").nth(1).wait_for()
    show_camera(page, server)


def history(page: Page, server: ServerProcess, folder: Path) -> None:
    """History, of everything."""
    page.goto("/#/history")
    page.get_by_text("newest first").wait_for()


def review(page: Page, server: ServerProcess, folder: Path) -> None:
    """What waits for review: board parts of every verdict, with a wide band around the threshold."""
    server.client.patch("/categories/board", json={"review_band": 0.5}).raise_for_status()
    for index in range(6):
        image = encode_png(render_good("board", test_seed(1, 60 + index)).image)
        form = {"category": "board", "station": "press-1", "part_id": f"B{index + 1:03d}"}
        server.client.post("/detect", data=form, files=[("images", ("board.png", image))]).raise_for_status()
    page.goto("/#/review")
    page.locator(".stage img.heat[src^=blob]").wait_for()
    for key in ("j", "s"):
        page.keyboard.press(key)


def categories(page: Page, server: ServerProcess, folder: Path) -> None:
    """Categories, as cards."""
    page.goto("/#/categories")
    page.locator("article img[src^=blob]").nth(4 * len(PRODUCTS) - 1).wait_for()


def onboarding(page: Page, server: ServerProcess, folder: Path) -> None:
    """The wizard, after images of boards of the other hand, one of the hand that is known, and one that is none."""
    if "board, left" in {category["name"] for category in server.client.get("/categories").json()["categories"]}:
        server.client.delete("/categories/board, left").raise_for_status()
    made = [render_good("board", test_seed(1, index)).image[:, ::-1].copy() for index in range(20)]
    paths = []
    for index, image in enumerate([*made, made[4] // 8, render_good("board", test_seed(1, 50)).image]):
        paths.append(folder / f"board-{index:02d}.png")
        paths[-1].write_bytes(encode_png(image))
    paths.append(folder / "notes.png")
    paths[-1].write_bytes(b"no image")
    page.goto("/#/categories?new")
    page.get_by_label("Name of the product").fill("board, left")
    page.get_by_label("Choose an image").set_input_files(paths)
    slider = page.get_by_label("False-reject rate: drag")
    slider.wait_for(timeout=300_000)
    page.locator("h2").nth(0).scroll_into_view_if_needed()
    page.mouse.wheel(0, 240)


def references(page: Page, server: ServerProcess, folder: Path) -> None:
    """The references of boards."""
    page.goto("/#/categories/board")
    page.locator("li.image img[src^=blob]").nth(8).wait_for()


def testset(page: Page, server: ServerProcess, folder: Path) -> None:
    """A labelled test set of boards and how its evaluation went."""
    page.goto("/#/categories/board/testset")
    if not server.client.get("/categories/board/evaluations").json()["evaluations"]:
        paths = _boards(folder, good=10, defective=10)
        page.get_by_label("Choose good parts").set_input_files(paths[:10])
        page.get_by_label("Choose defective parts").set_input_files(paths[10:])
        page.get_by_text("10 good and 10 defective images.").wait_for()
    page.get_by_role("region", name="Result").locator(".figures strong").first.wait_for(timeout=120_000)


def rating(page: Page, server: ServerProcess, folder: Path) -> None:
    """The false-reject rate of boards, four references beyond it."""
    page.goto("/#/categories/board/rejects")
    slider = page.get_by_label("False-reject rate: drag")
    for _ in range(4):
        slider.press("ArrowRight")


def settings(page: Page, server: ServerProcess, folder: Path) -> None:
    """Settings, with a preview of another rate."""
    page.goto("/#/categories/board/settings")
    page.get_by_label("False-reject rate, in %").fill("25")
    page.get_by_text("would get another verdict").wait_for()


def area(page: Page, server: ServerProcess, folder: Path) -> None:
    """The inspected area, half drawn."""
    page.goto("/#/categories/board/region")
    page.get_by_role("button", name="Add an area").click()
    corner = page.get_by_role("button", name="Corner 1 of 4")
    corner.focus()
    for _ in range(12):
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.get_by_text("searched again").wait_for(timeout=300_000)


def report_station(server: ServerProcess) -> None:
    """Report a station whose gate has lost its connection."""
    now = datetime.now(UTC).isoformat()
    [last] = server.client.get("/inspections", params={"station": "press-1", "limit": 1}).json()["inspections"]
    part = {"part_id": last["part_id"], "captured_at": last["at"], "decision": "reject", "verdict": last["verdict"]}
    working: dict[str, Any] = {
        "error": None,
        "last_error": None,
        "last_error_at": None,
        "count": 20,
        "last_at": last["at"],
    }
    lost: dict[str, Any] = {"error": "no connection", "last_error": "no connection", "last_error_at": now, "count": 17}
    components = [
        {**working, "role": "source", "name": "camera"},
        {**working, **lost, "role": "gate", "name": "modbus:192.0.2.20:502/0"},
        {**working, "role": "sink", "name": "mqtt:192.0.2.4:1883/line/press-1/record"},
    ]
    report: dict[str, Any] = {"started_at": now, "parts": 20, "last_part": {**part, "inspection_id": last["id"]}}
    report |= {"components": components, "sends_frames": True}
    server.client.put("/stations/press-1", json=report).raise_for_status()


def system(page: Page, server: ServerProcess, folder: Path) -> None:
    """System, as an administrator sees it."""
    if not server.client.get("/keys").json()["keys"]:
        for name, role in (("press-1", "line"), ("press-2", "line"), ("line lead", "engineer")):
            server.client.post("/keys", json={"name": name, "role": role}).raise_for_status()
    report_station(server)
    page.goto("/#/system")
    page.get_by_text("settings.changed").first.wait_for()


def sign_in(page: Page, server: ServerProcess, folder: Path) -> None:
    """The question for a key, of a service with an identity provider; it stays when that service is gone."""
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        provider = stack.enter_context(OidcProvider(temporary))
        keyed = stack.enter_context(ServerProcess(temporary / "data", ACCESS="keys", **provider.settings))
        page.goto(f"http://127.0.0.1:{keyed.wait_until_live().port}/")
        page.get_by_role("button", name="Sign in with Plant directory").wait_for()


VIEWS: dict[str, Callable[[Page, ServerProcess, Path], None]] = {
    "inspect": inspected,
    "batch": batch,
    "confirming": confirming,
    "live": live,
    "operator": operator,
    "review": review,
    "categories": categories,
    "onboarding": onboarding,
    "references": references,
    "testset": testset,
    "rating": rating,
    "settings": settings,
    "area": area,
    "history": history,
    "system": system,
    "sign-in": sign_in,
}


DARK = ("inspect", "live", "operator")


def photograph(browser: Browser, server: ServerProcess, folder: Path, out: Path, only: str | None) -> None:
    """Every view at both sizes, as JPEG files in `out`; those in DARK also dark."""
    for name, show in VIEWS.items():
        if only not in (None, name):
            continue
        for size, viewport in (("desktop", DESKTOP), ("tablet", TABLET)):
            for scheme in ("light", "dark") if size == "desktop" and name in DARK else ("light",):
                page = browser.new_page(
                    base_url=str(server.client.base_url),
                    viewport=viewport,
                    color_scheme=scheme,
                    locale="en-GB",
                    timezone_id="Europe/Berlin",
                )
                show(page, server, folder)
                page.wait_for_timeout(1500)
                path = out / f"{name}-{size}{'-dark' if scheme == 'dark' else ''}.jpg"
                for quality in _QUALITIES:
                    page.screenshot(path=path, quality=quality)
                    if path.stat().st_size < _MOST_BYTES:
                        break
                page.close()
                print(f"{path} {path.stat().st_size // 1024} KB")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.console.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/console"), help="folder for the images")
    parser.add_argument("--data", type=Path, help="a data folder to keep between runs (default: a temporary one)")
    parser.add_argument("--only", choices=tuple(VIEWS), help="one view")
    options = parser.parse_args()
    os.environ.setdefault("TOUCHSTONE_MIN_FREE_BYTES", "0")
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        geometry = {"RESIZE": "448", "CROP": "448"}  # the default, not that of the tests
        with ServerProcess(options.data or folder / "data", **geometry) as server, sync_playwright() as driver:
            furnish(server.wait_until_live())
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = driver.chromium.launch(executable_path=chromium(), args=arguments)
            photograph(browser, server, folder, options.out, options.only)
            browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Every flow of the console while each answer takes three seconds, and with the service restarted in its middle."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import DESKTOP, Watched, inspect
from tests.helpers.http_service import files
from tests.helpers.part_images import part, textured, varied
from tests.helpers.server_process import ServerProcess
from tests.helpers.waiting import eventually

# The first answer to each request of a page comes three seconds late; those of images and of the stream as ever.
SLOW_ANSWERS = """(() => {
  const [real, late] = [window.fetch, (window.late = new Set())];
  window.fetch = async (input, options = {}) => {
    const answer = await real(input, options);
    const { pathname } = new URL(input, location);
    const request = `${options.method ?? "GET"} ${pathname}`;
    if (late.has(request) || /(image|[.]png|stream)$/.test(pathname)) return answer;
    late.add(request);
    await new Promise((resolve, reject) => {
      setTimeout(resolve, 3000);
      options.signal?.addEventListener("abort", () => reject(options.signal.reason));
    });
    return answer;
  };
})()"""


@dataclass(frozen=True)
class Visit:
    """A page that a flow is walked on, the service at the beginning, and a folder for files."""

    page: Page
    server: ServerProcess
    folder: Path

    def stored(self, path: str) -> Any:
        """What the service answers now, which may be another process than at first."""
        return httpx.get(f"http://127.0.0.1:{self.server.port}{path}").json()

    def file(self, name: str, data: bytes) -> Path:
        """A file to be chosen in the page."""
        path = self.folder / name
        path.write_bytes(data)
        return path


# A flow opens a view, yields while the others do, sees that it is there, yields, acts, yields, and sees the result.
Flow = Callable[[Visit], Iterator[None]]


def onboard(visit: Visit) -> Iterator[None]:
    page = visit.page
    page.goto("/#/categories?new")
    yield
    expect(page.get_by_label("Name of the product")).to_be_visible()
    yield
    page.get_by_label("Name of the product").fill("ring")
    images = [visit.file(f"ring-{index}.png", varied(index)) for index in range(4)]
    page.get_by_label("Choose an image").set_input_files(images)
    yield
    expect(page.get_by_role("status").filter(has_text="4 of 4 done: 4 added")).to_be_visible()


def inspect_a_part(visit: Visit) -> Iterator[None]:
    page = visit.page
    page.goto("/")
    yield
    expect(page.get_by_label("Product").get_by_role("option", name="disc")).to_be_attached()
    yield
    page.get_by_label("Product").select_option("disc")
    page.get_by_label("Choose an image").set_input_files(visit.file("one.png", part(4000)))
    yield
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()


def give_feedback(visit: Visit) -> Iterator[None]:
    page = visit.page
    inspect(visit.server, 4001, "feedback", scratched=True)
    page.goto("/#/live?station=feedback")
    yield
    expect(page.get_by_role("region", name="Verdict")).to_be_visible()
    yield
    page.keyboard.press("d")
    yield
    expect(page.get_by_role("list", name="The latest inspections")).to_contain_text("Defect confirmed")


def review(visit: Visit) -> Iterator[None]:
    page = visit.page
    image = files(part(50, kind=1))
    visit.server.client.post("/detect", data={"category": "disc"}, files=image).raise_for_status()
    page.goto("/#/review")
    yield
    rows = page.get_by_role("list", name="Parts that wait for review").get_by_role("listitem")
    expect(rows.first).to_be_visible()
    waiting = rows.count()
    yield
    page.keyboard.press("d")
    yield
    expect(rows).to_have_count(waiting - 1)


def give_a_test_set(visit: Visit) -> Iterator[None]:
    page = visit.page
    page.goto("/#/categories/disc/testset")
    yield
    tuning = page.get_by_role("region", name="Would other settings do better?")
    expect(tuning).to_contain_text("at least 16 good and 8 defective images")
    yield
    page.get_by_label("Choose good parts").set_input_files(visit.file("good.png", varied(100)))
    yield
    expect(page.locator("main")).to_contain_text(re.compile(r"\b1 good"))
    expect(tuning.get_by_role("button")).to_be_disabled()


def search_the_history(visit: Visit) -> Iterator[None]:
    page = visit.page
    inspect(visit.server, 4002, "archive")
    page.goto("/#/history")
    yield
    expect(page.locator("main")).to_contain_text(re.compile(r"1–\d+ of"))
    yield
    page.get_by_role("textbox", name="Station").fill("archive")
    page.keyboard.press("Enter")
    yield
    expect(page.locator("main")).to_contain_text("1–1 of 1")


def change_settings(visit: Visit) -> Iterator[None]:
    page = visit.page
    page.goto("/#/categories/plate/settings")
    yield
    expect(page.get_by_label("References compared with")).to_be_visible()
    yield
    page.get_by_label("References compared with").fill("3")
    page.get_by_role("button", name="Save").click()
    yield
    # Not by the notice, which is gone after ten seconds: other pages may take longer than that.
    eventually(lambda: visit.stored("/categories/plate")["settings"]["k"] == 3, "the setting is stored")
    expect(page.get_by_label("References compared with")).to_have_value("3")


def draw_a_region(visit: Visit) -> Iterator[None]:
    page = visit.page
    page.goto("/#/categories/plate/region")
    yield
    expect(page.get_by_text("The whole image is inspected")).to_be_visible()
    yield
    page.get_by_role("button", name="Add an area").click()
    page.get_by_role("button", name="Save").click()
    yield
    eventually(lambda: visit.stored("/categories/plate")["settings"]["region_of_interest"], "the area is stored")


def create_a_key(visit: Visit) -> Iterator[None]:
    page = visit.page
    page.goto("/#/system")
    yield
    keys = page.get_by_role("region", name="API keys")
    expect(page.get_by_role("region", name="Health")).to_contain_text("Ready to inspect")
    expect(keys).to_contain_text("There are no keys")
    yield
    keys.get_by_label("Name").fill("press-9")
    keys.get_by_role("button", name="Create key").dblclick()
    yield
    expect(keys.locator("code")).to_have_text(re.compile("^ts_"))
    expect(keys.get_by_role("row", name="press-9")).to_have_count(1)
    assert len(visit.stored("/keys")["keys"]) == 1


def judge_at_the_line(visit: Visit) -> Iterator[None]:
    page = visit.page
    inspect(visit.server, 4003, "operator", scratched=True)
    page.goto("/operator?station=operator")
    yield
    verdict = page.get_by_role("region", name="Verdict")
    expect(verdict).to_contain_text("4003.png")
    yield
    page.keyboard.press("F2")
    yield
    expect(verdict).to_contain_text("Defect confirmed")


def tune(visit: Visit) -> Iterator[None]:
    page = visit.page
    page.goto("/#/categories/rod/testset")
    yield
    card = page.get_by_role("region", name="Would other settings do better?")
    start = card.get_by_role("button", name="Look for better settings")
    expect(start).to_be_enabled()
    start.click()
    better = card.get_by_text("Other settings separate good and defective parts better.")
    expect(card.get_by_role("progressbar").or_(better)).to_be_visible()  # done while its first answer was on its way
    yield
    yield  # the others' notices would be gone by the time it is done
    expect(better).to_be_visible()
    expect(card).to_contain_text(re.compile(r"by \+0\.\d+ \(98% interval \+0\.\d+ to \+\d"))
    card.get_by_role("button", name="Apply these settings").click()
    expect(card).to_contain_text("have changed since: look again")
    assert visit.stored("/categories/rod")["settings"]["pooled_share"] < 0.5
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone.")).to_be_visible()
    assert visit.stored("/categories/rod")["settings"]["pooled_share"] == 0.5


FLOWS: tuple[Flow, ...] = (
    onboard,
    inspect_a_part,
    give_feedback,
    review,
    give_a_test_set,
    search_the_history,
    change_settings,
    draw_a_region,
    create_a_key,
    judge_at_the_line,
    tune,  # the last, so that it has only begun when the service is restarted
)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a service that knows 12 discs, 4 plates, and 6 rods with a test set to be tuned on."""
    data = tmp_path_factory.mktemp("slow") / "data"
    with ServerProcess(data) as running:
        running.wait_until_live()
        for name, kind, amount in (("disc", 0, 12), ("plate", 1, 4)):
            running.teach(name, *(part(seed, kind=kind) for seed in range(amount)))
            running.client.patch(f"/categories/{name}", json={"false_reject_rate": 0.2}).raise_for_status()
            running.wait_until_calibrated(name)
        running.teach("rod", *(textured(seed) for seed in range(6)))
        running.client.patch("/categories/rod", json={"false_reject_rate": 0.2, "pooled_share": 0.5}).raise_for_status()
        for defective, seeds in ((False, range(100, 116)), (True, range(200, 208))):
            images = files(*(textured(seed, dotted=defective) for seed in seeds))
            body = {"defective": str(defective).lower()}
            running.client.post("/categories/rod/test-images", data=body, files=images).raise_for_status()
        running.wait_until_calibrated("rod")
    return data


@pytest.fixture
def data(taught: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(taught, tmp_path / "data")


def walk(
    browser: Browser, server: ServerProcess, folder: Path, script: str | None, halfway: Callable[[], object]
) -> None:
    """Walk all flows at once, each on a page of its own. halfway: called once every view is there."""
    url = f"http://127.0.0.1:{server.port}"
    context = browser.new_context(base_url=url, viewport=DESKTOP, locale="en-GB")
    if script is not None:
        context.add_init_script(script)
    folder.mkdir()
    walks: dict[str, tuple[Watched, Iterator[None]]] = {}
    for flow in FLOWS:
        page = context.new_page()
        walks[flow.__name__] = (Watched(page, f"{url}/"), flow(Visit(page, server, folder)))
    for step in range(4):
        for watched, steps in walks.values():
            watched.away = step >= 1 and script is None
            next(steps, None)
        if step == 1:
            halfway()
    for name, (watched, _) in walks.items():
        assert script is None or watched.page.evaluate("late.size") >= 2, name
        assert not watched.errors, name
        assert not watched.foreign, name
    context.close()


def test_every_flow_is_walked_though_answers_take_three_seconds(browser: Browser, data: Path, tmp_path: Path) -> None:
    with ServerProcess(data) as server:
        server.wait_until_live()
        walk(browser, server, tmp_path / "files", SLOW_ANSWERS, lambda: None)


def test_every_flow_goes_on_when_the_service_is_restarted_in_its_middle(
    browser: Browser, data: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(data)).wait_until_live()

        def restart() -> None:
            tuning = server.client.get("/categories/rod/tuning").json()["tuning"]
            assert tuning["finished_at"] is None, "there is nothing for the restart to interrupt"
            server.kill()
            again = ServerProcess(data, port=server.port)
            stack.enter_context(again).wait_until_live()

        walk(browser, server, tmp_path / "files", None, restart)

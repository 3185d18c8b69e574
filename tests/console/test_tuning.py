"""Better settings are looked for on a test set, applied, and undone, in the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.http_service import files
from tests.helpers.part_images import textured
from tests.helpers.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A service that knows 10 discs, with a test set, under a share of the map that hides small defects."""
    with ServerProcess(tmp_path_factory.mktemp("tuning") / "data") as running:
        running.wait_until_live()
        running.teach("disc", *(textured(seed) for seed in range(10)))
        changes = {"false_reject_rate": 0.1, "pooled_share": 0.5}
        running.client.patch("/categories/disc", json=changes).raise_for_status()
        running.wait_until_calibrated("disc")
        yield running


def add_test_images(server: ServerProcess, *images: bytes, defective: bool) -> None:
    body = {"defective": str(defective).lower()}
    server.client.post("/categories/disc/test-images", data=body, files=files(*images)).raise_for_status()


def test_better_settings_are_found_applied_with_one_click_and_undone(page: Page, server: ServerProcess) -> None:
    add_test_images(server, *(textured(seed) for seed in range(100, 116)), defective=False)
    page.goto("/#/categories/disc/testset")
    card = page.get_by_role("region", name="Would other settings do better?")
    expect(card).to_contain_text("at least 16 good and 8 defective images")
    expect(card.get_by_role("button")).to_be_disabled()
    add_test_images(server, *(textured(seed, dotted=True) for seed in range(200, 208)), defective=True)
    card.get_by_role("button", name="Look for better settings").click()
    expect(card.get_by_role("progressbar")).to_be_visible()
    expect(card).to_contain_text("Other settings separate good and defective parts better.")
    expect(card).to_contain_text("Pooled share of the map, in %: 50 →")
    assert_accessible(page)
    card.get_by_role("button", name="Apply these settings").click()
    expect(card).to_contain_text("have changed since: look again")
    assert server.client.get("/categories/disc").json()["settings"]["pooled_share"] < 0.5
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone.")).to_be_visible()
    assert server.client.get("/categories/disc").json()["settings"]["pooled_share"] == 0.5

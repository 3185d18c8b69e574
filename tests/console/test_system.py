"""System: health, versions, stations, API keys, and the audit trail."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.helpers.accessibility import assert_accessible
from tests.helpers.browser import TABLET, inspect, report_station
from tests.helpers.server_process import ServerProcess


def test_health_versions_and_memory_are_those_of_the_service(page: Page, server: ServerProcess) -> None:
    page.goto("/#/system")
    version = server.client.get("/version").json()
    expect(page.get_by_role("region", name="Health")).to_contain_text("Ready to inspect")
    running = page.get_by_role("region", name="Versions")
    for text in (version["touchstone"], version["encoder"]["name"], version["engine"], version["codec"]):
        expect(running).to_contain_text(text)
    memory = page.get_by_role("region", name="Memory and disk")
    expect(memory).to_contain_text(re.compile(r"Codes of references[1-9].* [kM]B"))
    expect(memory).to_contain_text(re.compile(r"Disk, free\d.* of \d.* [GT]B"))


def test_a_key_is_made_shown_once_and_revoked(page: Page, server: ServerProcess) -> None:
    page.goto("/#/system")
    keys = page.get_by_role("region", name="API keys")
    keys.get_by_label("Name").fill("press-9")
    keys.get_by_label("Role").select_option("engineer")
    keys.get_by_role("button", name="Create key").dblclick()
    expect(keys.locator("code")).to_have_text(re.compile("^ts_"))
    row = keys.get_by_role("row", name="press-9")
    expect(row).to_contain_text("valid")
    assert_accessible(page)
    row.get_by_role("button", name="Revoke the key of press-9").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke", exact=True).click()
    expect(row).to_contain_text("revoked")
    [stored] = [key for key in server.client.get("/keys").json()["keys"] if key["name"] == "press-9"]
    assert stored["revoked_at"] is not None


def test_the_audit_trail_tells_what_was_different(page: Page) -> None:
    page.goto("/#/system")
    audit = page.get_by_role("region", name="Audit trail")
    audit.get_by_label("Action").fill("settings.changed")
    audit.get_by_label("Action").press("Enter")
    rows = audit.get_by_role("row", name="settings.changed disc")
    expect(rows.filter(has_text="false_reject_rate: 0.01 → 0.05").last).to_be_visible()
    expect(audit.get_by_role("cell", name="references.added")).to_have_count(0)


def test_storage_tells_what_is_kept_of_each_category(page: Page, server: ServerProcess) -> None:
    page.goto("/#/system")
    storage = page.get_by_role("region", name="Storage")
    found = {category["name"]: category for category in server.client.get("/storage").json()["categories"]}
    expect(storage.get_by_role("row", name="disc")).to_contain_text(str(found["disc"]["others"]["inspections"]))
    expect(storage).to_contain_text("365 days")


def report(server: ServerProcess, error: str | None, inspection_id: str) -> None:
    """Report a station whose gate has an error, or had one."""
    now = datetime.now(UTC).isoformat()
    gate: dict[str, Any] = {
        "role": "gate",
        "name": "modbus:192.0.2.20:502/0",
        "error": error,
        "count": 7,
        "last_at": now,
    }
    gate |= {"last_error": "192.0.2.20: no connection", "last_error_at": now}
    source = {"role": "source", "name": "camera", "count": 7, "last_at": now}
    source |= dict.fromkeys(("error", "last_error", "last_error_at"))
    part = {"part_id": "P7", "captured_at": now, "decision": "reject", "verdict": "anomalous"}
    part["inspection_id"] = inspection_id
    components = [source, gate]
    report_station(server, "press-4", sends_frames=True, parts=7, last_part=part, components=components)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_stations_show_what_fails_and_lead_to_their_last_part(page: Page, server: ServerProcess, scheme: Any) -> None:
    inspection_id = inspect(server, 2900, "press-4")
    report(server, "192.0.2.20: no connection", inspection_id)
    page.emulate_media(color_scheme=scheme)
    page.goto("/#/system")
    stations = page.get_by_role("region", name="Stations")
    expect(stations.get_by_role("rowheader", name="press-4")).to_contain_text("Failing")
    expect(stations.get_by_role("row", name="Gate modbus")).to_contain_text("no connection")
    expect(stations.get_by_role("row", name="Source camera")).to_contain_text("Working7")
    expect(page.locator(".loading")).to_have_count(0)  # what else the page shows fades in
    assert_accessible(page)
    report(server, None, inspection_id)
    expect(stations.get_by_role("rowheader", name="press-4")).to_contain_text("Working")
    expect(stations.get_by_role("row", name="Gate modbus")).to_contain_text("no connection")
    page.set_viewport_size(TABLET)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page)
    camera = stations.get_by_role("rowheader", name="press-4").get_by_role("link", name="Watch the camera")
    expect(camera).to_have_attribute("href", "#/live?station=press-4")
    stations.get_by_role("link", name="Last part P7: rejected").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("2900.png")

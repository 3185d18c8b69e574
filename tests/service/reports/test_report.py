"""Reports of a lot or a shift as HTML and PDF: what they count, show, leave out and escape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from reportlab import rl_config
from starlette.testclient import TestClient

from indexer.domain.inspection import Inspection, InspectionFilter
from indexer.domain.inspection_counts import InspectionCounts
from indexer.domain.pareto import Pareto
from service.reports.fonts import REGULAR, is_shown, register_fonts, runs
from service.reports.html import render_html
from service.reports.pdf import render_pdf
from service.reports.report import Report, ReportedPart
from tests.helpers.http_service import check_problem, inspect, onboard, running_service, say
from tests.helpers.part_images import part

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with five inspections of a station: a good one, an escape, a false reject, two defects."""
    with running_service(tmp_path_factory.mktemp("data")) as client:
        onboard(client, "disc", *(part(seed) for seed in range(9)))
        client.patch(
            "/categories/disc", json={"defect_classes": ["Kratzer <tief>"], "threshold": 1.9}
        ).raise_for_status()
        inspect(client, part(100), category="disc", station="s1")
        escape = inspect(client, part(101), category="disc", station="s1")
        say(client, escape, "defect", comment="seen at the customer's").raise_for_status()
        client.patch("/categories/disc", json={"threshold": 0.0}).raise_for_status()
        false_reject = inspect(client, part(102), category="disc", station="s1")
        say(client, false_reject, "good", confirm=True).raise_for_status()
        for seed in (103, 104):
            inspected = inspect(client, part(seed, scratched=True), category="disc", station="s1", part_id=f"SN{seed}")
        say(client, inspected, "defect", defect_class="Kratzer <tief>").raise_for_status()
        yield client


def figures(page: str) -> dict[str, str]:
    """The rows of names and numbers in a page."""
    return dict(re.findall(r'<th scope="row">([^<]+)</th><td class="number">([^<]+)</td>', page))


def test_a_shift_is_counted_and_its_defective_parts_are_shown(shift: TestClient) -> None:
    response = shift.get("/inspections/report", params={"station": "s1", "format": "html", "time_zone": "Asia/Tokyo"})
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert 'filename="report.html"' in response.headers["content-disposition"]
    page = response.text
    assert figures(page) == {
        "Inspections": "5",
        "Normal": "2",
        "Anomalous": "3",
        "Unknown part": "0",
        "Not calibrated": "0",
        "Defects confirmed": "2",
        "of these, passed (escapes)": "1",
        "Marked as good": "1",
        "of these, rejected (false rejects)": "1",
    }
    assert "40.00 %" in page
    assert page.count("data:image/jpeg;base64,") == 6, "image and heat map of three parts"
    assert "Kratzer &lt;tief&gt;" in page
    assert "<tief>" not in page
    assert "customer&#39;s" in page
    assert "SN104" in page
    assert " JST" in page
    assert "left out" not in page
    assert not re.search(r"(src|href)=\"(?!data:)|<script", page), "the page needs nothing else and does nothing"


def test_what_does_not_fit_is_counted(shift: TestClient) -> None:
    page = shift.get("/inspections/report", params={"station": "s1", "format": "html", "limit": 1}).text
    assert "The newest 1 of 3 are shown; 2 older ones are left out." in page
    assert "SN104" in page
    assert "SN103" not in page
    empty = shift.get("/inspections/report", params={"station": "none", "format": "html"}).text
    assert "not known" in empty
    assert "No defect is confirmed." in empty


def test_the_report_is_a_pdf_too(shift: TestClient) -> None:
    response = shift.get("/inspections/report", params={"station": "s1"})
    assert (response.status_code, response.headers["content-type"]) == (200, "application/pdf")
    assert response.content.startswith(b"%PDF-")
    assert response.content.count(b"/Subtype /Image") == 6


@pytest.mark.parametrize(
    "query", [{"time_zone": "Mars/Olympus"}, {"time_zone": "../etc"}, {"limit": 501}, {"format": "doc"}]
)
def test_what_no_report_can_be_is_refused(shift: TestClient, query: dict[str, Any]) -> None:
    check_problem(shift.get("/inspections/report", params=query), 422, "invalid-request")


def report(*names: str, count: int = 1) -> Report:
    """A report of parts with these file names, without images."""
    parts = tuple(
        ReportedPart(
            Inspection(str(index), NOON - timedelta(minutes=index), name, "anomalous", 0.5, 1, 160, 144), None, None
        )
        for index, name in enumerate(names * count)
    )
    counts = InspectionCounts({("anomalous", None): len(parts), ("uncalibrated", "defect"): 1})
    return Report(InspectionFilter(), UTC, NOON, counts, Pareto.from_counts([(None, 1)]), parts)


def test_parts_whose_images_were_pruned_are_listed_without(shift: TestClient) -> None:
    page = render_html(report("a.png")).decode()
    assert page.count("no longer stored") == 2
    assert "The newest 1 of 2 are shown" in page
    assert "Without a class" in page


def test_a_pdf_goes_on_over_many_pages_and_its_text_may_be_of_any_length() -> None:
    made = render_pdf(report("x" * 255, "部品" * 100, "ordinary.png", count=20))
    assert len(re.findall(rb"/Type /Page\b", made)) > 5


def test_names_are_in_fonts_that_have_their_letters() -> None:
    register_fonts()
    assert list(runs("Größe 12 Łódź.png", REGULAR)) == [(None, "Größe 12 Łódz.png")]
    assert list(runs("划痕_1", REGULAR)) == [("STSong-Light", "划痕"), (None, "_1")]
    assert [font for font, _ in runs("부품", REGULAR)] == ["HYSMyeongJo-Medium"]
    assert list(runs("🙂ṩ", REGULAR)) == [(None, "?s")]
    assert list(runs("ไทย ⅐", REGULAR)) == [(None, "??? ?")]  # no 1 for a seventh


@pytest.mark.parametrize(
    ("name", "shown"), [("Größe ṩ 部品?.png", True), ("ชิ้นส่วน.png", False), ("good 🙂?.png", False)]
)
def test_a_pdf_says_when_it_has_no_font_for_a_name(monkeypatch: pytest.MonkeyPatch, name: str, shown: bool) -> None:
    monkeypatch.setattr(rl_config, "pageCompression", 0)
    register_fonts()
    assert is_shown(name, REGULAR) is shown

    def paragraphs(name: str) -> int:
        return render_pdf(report(name)).count(b"BT ")

    assert paragraphs(name) - paragraphs("plain.png") == int(not shown)  # the sentence that says so

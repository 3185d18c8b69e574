"""The review queue in the catalogue: what waits, decisions, and how they are taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.errors import InspectionNotFound
from indexer.domain.inspection import Inspection
from indexer.domain.review import ReviewReason
from tests.helpers.catalogue_rows import GEOMETRY, images, segment

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def record(catalogue: Catalogue, index: int, review: ReviewReason | None, category: str = "bolt") -> Inspection:
    inspection = Inspection(
        id=f"{index:08d}-0000-4000-8000-000000000000",
        at=NOON + timedelta(seconds=index),
        filename=f"{index}.png",
        verdict="unfamiliar" if review == "unfamiliar" else "anomalous",
        score=1.03 if review == "near_threshold" else 3.0,
        threshold=1.0,
        version=3,
        width=640,
        height=480,
        category=category,
        review=review,
    )
    catalogue.inspections.record([inspection])
    return inspection


def waiting(catalogue: Catalogue, category: str | None = None, reason: ReviewReason | None = None) -> list[int]:
    items = catalogue.review.page(category, reason).items
    assert catalogue.review.count(category, reason) == len(items)
    return [int(inspection.id[:8]) for inspection in items]


def approve(catalogue: Catalogue, memory_id: int, inspection: Inspection) -> Inspection:
    [reference] = images(inspection.id)
    return catalogue.inspections.promote(inspection.id, segment(1), reference, memory_id, GEOMETRY)


def references(catalogue: Catalogue) -> int:
    return sum(category.references for category in catalogue.categories.list())


def test_what_waits_is_listed_newest_first_and_filtered(catalogue: Catalogue) -> None:
    reasons: tuple[ReviewReason | None, ...] = ("near_threshold", None, "unfamiliar", "near_threshold")
    for index, reason in enumerate(reasons):
        record(catalogue, index, reason, "nut" if index == 3 else "bolt")
    assert waiting(catalogue) == [3, 2, 0]
    assert waiting(catalogue, "bolt") == [2, 0]
    assert waiting(catalogue, reason="near_threshold") == [3, 0]
    assert waiting(catalogue, "nut", "unfamiliar") == []
    first = catalogue.review.page(limit=2)
    rest = catalogue.review.page(cursor=first.next_cursor, limit=2)
    assert [int(item.id[:8]) for item in (*first.items, *rest.items)] == [3, 2, 0]
    assert rest.next_cursor is None


def test_a_decision_takes_a_part_out_of_the_queue_and_is_taken_back(catalogue: Catalogue, memory_id: int) -> None:
    part = record(catalogue, 1, "near_threshold")
    assert approve(catalogue, memory_id, part).reviewed_at is not None
    assert (waiting(catalogue), references(catalogue)) == ([], 1)
    assert catalogue.review.reopen(part.id) == part
    assert (waiting(catalogue), references(catalogue)) == ([1], 0)
    assert catalogue.inspections.set_label(part.id, "defect").reviewed_at is not None
    assert waiting(catalogue) == []
    assert catalogue.inspections.set_label(part.id, None) == part
    dismissed = catalogue.review.dismiss(part.id)
    assert (dismissed.label, dismissed.waits, waiting(catalogue)) == (None, False, [])
    assert catalogue.review.dismiss(part.id) == dismissed
    assert catalogue.review.reopen(part.id) == part == catalogue.review.reopen(part.id)
    assert [entry.action for entry in catalogue.audit.entries(target=part.id).items].count("review.dismissed") == 1
    for act in (catalogue.review.dismiss, catalogue.review.reopen, catalogue.review.propose):
        with pytest.raises(InspectionNotFound):
            act("x")


def test_an_operator_s_good_waits_and_makes_a_reference_once_it_is_approved(
    catalogue: Catalogue, memory_id: int
) -> None:
    part = record(catalogue, 1, None)
    proposed = catalogue.review.propose(part.id)
    assert (proposed.label, proposed.promoted_reference_id, proposed.review) == ("good", None, "feedback")
    assert proposed.defect, "its image is kept as that of a reject until it is decided"
    assert catalogue.review.propose(part.id) == proposed
    assert (waiting(catalogue, reason="feedback"), references(catalogue)) == ([1], 0)

    approved = approve(catalogue, memory_id, part)
    assert (approved.waits, approved.defect, references(catalogue)) == (False, False, 1)
    reopened = catalogue.review.reopen(part.id)
    assert (reopened.label, reopened.waits, references(catalogue)) == ("good", True, 0)
    dismissed = catalogue.review.dismiss(part.id)
    assert (dismissed.label, dismissed.waits, dismissed.defect) == ("good", False, False)
    catalogue.review.reopen(part.id)
    assert catalogue.inspections.set_label(part.id, "defect").waits is False
    assert catalogue.review.reopen(part.id).label == "good"
    assert catalogue.inspections.set_label(part.id, None) == part, "the operator takes it back"
    assert waiting(catalogue) == []


@pytest.mark.parametrize("reason", ["near_threshold", "unfamiliar"])
def test_an_operator_who_takes_good_back_leaves_the_part_where_it_was(
    catalogue: Catalogue, reason: ReviewReason
) -> None:
    part = record(catalogue, 1, reason)
    assert catalogue.review.propose(part.id).review == "feedback"
    assert catalogue.inspections.set_label(part.id, None) == part
    assert waiting(catalogue, reason=reason) == [1]


def test_the_queue_is_read_from_an_index_that_holds_only_what_waits(catalogue: Catalogue, database: str) -> None:
    if not database.startswith("sqlite"):
        pytest.skip("PostgreSQL plans by statistics that so few rows do not have")
    queue = "FROM inspection WHERE review IS NOT NULL AND reviewed_at IS NULL"
    engine = create_engine(database)
    with engine.connect() as connection:
        for condition in ("", " AND category = 'bolt'", " AND review = 'feedback'"):
            for query in (
                f"SELECT count(*) {queue}{condition}",
                f"SELECT * {queue}{condition} ORDER BY at DESC, id DESC",
            ):
                plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())
                assert "INDEX ix_inspection_waiting" in plan, query
                assert ("COVERING" in plan) == ("count" in query), query
                assert "TEMP B-TREE" not in plan, query
    engine.dispose()

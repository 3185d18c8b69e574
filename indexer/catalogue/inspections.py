"""The history of inspections, with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal, cast

from sqlalchemy import ColumnElement, Connection, exists, func, insert, or_, select

from indexer.catalogue.calibrations import count_drift
from indexer.catalogue.categories import check_not_removed
from indexer.catalogue.inspection_rows import find_inspection, inspection_of, inspection_page, values_of
from indexer.catalogue.labels import has_label, is_promoted, remove_promoted, store_label
from indexer.catalogue.live_references import live_digests
from indexer.catalogue.queries import FEW, batches, page_by_page
from indexer.catalogue.reference_changes import append_references
from indexer.catalogue.tables import CategoryRow, InspectionRow
from indexer.catalogue.transactions import Transactions
from indexer.catalogue.trend import read_trend
from indexer.domain.category import CategorySettings
from indexer.domain.errors import RequestKeyReused
from indexer.domain.inspection import DefectDetails, Inspection, InspectionFilter, Label
from indexer.domain.inspection_counts import InspectionCounts
from indexer.domain.page import Page
from indexer.domain.pareto import Pareto
from indexer.domain.reference import NewReference
from indexer.domain.review import ReviewReason, review_reason
from indexer.domain.snapshot import SegmentFile
from indexer.domain.trend import Trend


class Inspections:
    """The inspections of one data folder."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def record(self, inspections: Sequence[Inspection]) -> dict[str, Inspection]:
        """Keep the answers to the images of one request, all or none: see `record_requests`. RequestKeyReused."""
        [outcome] = self.record_requests([inspections])
        if isinstance(outcome, RequestKeyReused):
            raise outcome
        return outcome

    def record_requests(
        self, requests: Sequence[Sequence[Inspection]]
    ) -> list[dict[str, Inspection] | RequestKeyReused]:
        """Keep the answers to the images of several requests, of all or of none, in one transaction.

        Of each request, in order: those whose id is there already, by id, which stay as they are, since the same
        request was answered before. RequestKeyReused, of which nothing is kept, where it was another request that had
        the key.
        """

        def write() -> list[dict[str, Inspection] | RequestKeyReused]:
            with self._transactions.writing() as connection:
                return [_record(connection, inspections) for inspections in requests]

        def find(connection: Connection) -> list[dict[str, Inspection] | RequestKeyReused] | None:
            outcomes = [_find_recorded(connection, inspections) for inspections in requests]
            return None if None in outcomes else [outcome for outcome in outcomes if outcome is not None]

        return self._transactions.certainly(write, find) if any(requests) else [{} for _ in requests]

    def of_request(self, key: str) -> dict[str, Inspection]:
        """The inspections that answer a request, by id. key: its `request_key`."""
        with self._transactions.reading() as connection:
            rows = connection.execute(select(InspectionRow.__table__).where(InspectionRow.request_key == key))
            return {row.id: inspection_of(row) for row in rows}

    def get(self, inspection_id: str) -> Inspection:
        """One inspection. Raises InspectionNotFound."""
        with self._transactions.reading() as connection:
            return find_inspection(connection, inspection_id)

    def page(
        self, matching: InspectionFilter | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[Inspection]:
        """Inspections newest first. Raises InvalidCursor."""
        with self._transactions.reading() as connection:
            return inspection_page(connection, _conditions(matching or InspectionFilter()), cursor, limit)

    def times(self, since: datetime) -> dict[str, datetime]:
        """The time of every inspection from a time on, by id."""
        statement = select(InspectionRow.id, InspectionRow.at).where(InspectionRow.at >= since)
        with self._transactions.reading() as connection:
            return {row.id: row.at for row in connection.execute(statement)}

    def iterate(self, matching: InspectionFilter | None = None) -> Iterator[Inspection]:
        """Every matching inspection, newest first, read page by page so that no transaction stays open."""
        return page_by_page(lambda cursor: self.page(matching, cursor, FEW))

    def trend(self, matching: InspectionFilter | None = None, points: int = 60) -> Trend:
        """How the matching inspections went over time, in at most `points` buckets."""
        with self._transactions.reading() as connection:
            return read_trend(connection, _conditions(matching or InspectionFilter()), points)

    def counts(self, matching: InspectionFilter | None = None) -> InspectionCounts:
        """The matching inspections, counted by verdict and label."""
        columns = InspectionRow.verdict, InspectionRow.label
        statement = (
            select(*columns, func.count()).where(*_conditions(matching or InspectionFilter())).group_by(*columns)
        )
        with self._transactions.reading() as connection:
            return InspectionCounts(
                {(row[0], cast(Label | None, row[1])): row[2] for row in connection.execute(statement)}
            )

    def defects(self, matching: InspectionFilter, limit: int) -> tuple[Inspection, ...]:
        """The newest matching inspections that count as defects: by their label, else by their verdict."""
        statement = (
            select(InspectionRow.__table__)
            .where(InspectionRow.defect, *_conditions(matching))
            .order_by(InspectionRow.at.desc(), InspectionRow.id.desc())
            .limit(limit)
        )
        with self._transactions.reading() as connection:
            return tuple(map(inspection_of, connection.execute(statement)))

    def pareto(self, matching: InspectionFilter | None = None) -> Pareto:
        """The confirmed defects among the matching inspections, counted by class."""
        statement = (
            select(InspectionRow.defect_class, func.count())
            .where(InspectionRow.label == "defect", *_conditions(matching or InspectionFilter()))
            .group_by(InspectionRow.defect_class)
        )
        with self._transactions.reading() as connection:
            return Pareto.from_counts([(row[0], row[1]) for row in connection.execute(statement)])

    def set_label(
        self, inspection_id: str, label: Literal["defect"] | None, changes: DefectDetails | None = None
    ) -> Inspection:
        """Store the label `defect` with what else is said of it, or remove all of that. Raises InspectionNotFound.

        The reference that the image became is removed in the same transaction, unless another inspection of the same
        image is labelled good. The label decides a review; without one the inspection waits again if its verdict or
        score asks for it.
        """

        def write() -> Inspection:
            with self._transactions.writing() as connection:
                before = find_inspection(connection, inspection_id)
                if not has_label(before, label, changes):
                    review = before.review
                    if label is None and review == "feedback":
                        review = _detected_reason(connection, before)
                    store_label(connection, before, label, None, changes, review=review, decided=label is not None)
                    remove_promoted(connection, before)
                return find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = find_inspection(connection, inspection_id)
            return inspection if has_label(inspection, label, changes) else None

        return self._transactions.certainly(write, find)

    def promote(
        self,
        inspection_id: str,
        segment: SegmentFile,
        reference: NewReference,
        memory_id: int,
        geometry_json: str,
        confirmed: Sequence[str] = (),
    ) -> Inspection:
        """Store the label `good` and add the image as a reference of its category, in one transaction.

        segment: of one row. confirmed: the warnings that were confirmed. If the image is a live reference already, only
        the label is stored, and the inspection names the reference if feedback added it; the segment then stays
        unregistered. Raises InspectionNotFound, CategoryNotFound when the category was removed, ValueError without a
        category, and as `References.append`.
        """

        def write() -> Inspection:
            with self._transactions.writing() as connection:
                before = find_inspection(connection, inspection_id)
                if before.category is None:
                    raise ValueError(f"inspection {inspection_id} has no category")
                check_not_removed(connection, before.category)
                appended = append_references(
                    connection, before.category, segment, [reference], memory_id, geometry_json
                )
                [promoted] = appended.reference_ids
                is_own = not appended.duplicates or is_promoted(connection, promoted)
                if before.label != "good" or before.waits or (is_own and before.promoted_reference_id != promoted):
                    reference_id = promoted if is_own else None
                    store_label(
                        connection,
                        before,
                        "good",
                        reference_id,
                        confirmed=confirmed,
                        review=before.review,
                        decided=True,
                    )
                return find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = find_inspection(connection, inspection_id)
            live = inspection.category and live_digests(connection, inspection.category, [reference.image_sha256])
            return inspection if inspection.label == "good" and live and not inspection.waits else None

        return self._transactions.certainly(write, find)


def _conditions(matching: InspectionFilter) -> list[ColumnElement[bool]]:
    conditions = [
        getattr(InspectionRow, name) == value
        for name in ("category", "verdict", "station", "part_id", "label", "defect_class")
        if (value := getattr(matching, name)) is not None
    ]
    if matching.since is not None:
        conditions.append(InspectionRow.at >= matching.since)
    if matching.until is not None:
        conditions.append(InspectionRow.at < matching.until)
    if matching.text is not None:
        requested = (InspectionRow.filename, InspectionRow.part_id, InspectionRow.station)
        conditions.append(or_(*(column.icontains(matching.text, autoescape=True) for column in requested)))
    return conditions


def _record(connection: Connection, inspections: Sequence[Inspection]) -> dict[str, Inspection] | RequestKeyReused:
    """Insert those of one request that are not there yet; the others, by id."""
    if (reused := _reused_key(connection, inspections)) is not None:
        return reused
    recorded_before = _recorded(connection, (inspection.id for inspection in inspections))
    if fresh := [inspection for inspection in inspections if inspection.id not in recorded_before]:
        connection.execute(insert(InspectionRow), [values_of(inspection) for inspection in fresh])
        count_drift(connection, fresh)
    return recorded_before


def _find_recorded(
    connection: Connection, inspections: Sequence[Inspection]
) -> dict[str, Inspection] | RequestKeyReused | None:
    """What `_record` returned for a request, if it was committed; None otherwise.

    Those of another attempt, by its map's name, were there before.
    """
    if (reused := _reused_key(connection, inspections)) is not None:
        return reused
    recorded = _recorded(connection, (inspection.id for inspection in inspections))
    if len(recorded) < len(inspections):
        return None
    return {
        inspection.id: recorded[inspection.id]
        for inspection in inspections
        if recorded[inspection.id].map_name != inspection.map_name
    }


def _recorded(connection: Connection, ids: Iterable[str]) -> dict[str, Inspection]:
    statement = select(InspectionRow.__table__)
    return {
        row.id: inspection_of(row)
        for batch in batches(ids)
        for row in connection.execute(statement.where(InspectionRow.id.in_(batch)))
    }


def _detected_reason(connection: Connection, inspection: Inspection) -> ReviewReason | None:
    """Why its verdict or score has an inspection wait for review, by its category's settings of now."""
    stored = connection.scalar(select(CategoryRow.settings).where(CategoryRow.name == inspection.category))
    band = (CategorySettings() if stored is None else CategorySettings.from_json(stored)).review_band
    return review_reason(inspection.verdict, inspection.score, inspection.threshold, band)


def _reused_key(connection: Connection, inspections: Sequence[Inspection]) -> RequestKeyReused | None:
    """The error where inspections under a request's key answer one of other content."""
    if not inspections or inspections[0].request_key is None:
        return None
    other_inspections = exists().where(
        InspectionRow.request_key == inspections[0].request_key,
        InspectionRow.request_digest != inspections[0].request_digest,
    )
    if connection.scalar(select(other_inspections)):
        return RequestKeyReused("the key was used for a request with other content")
    return None

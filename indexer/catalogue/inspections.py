"""The history of inspections, with their labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Connection, Row, exists, func, insert, literal, or_, select, tuple_, update

from indexer.catalogue.audit import note
from indexer.catalogue.base import UtcDateTime
from indexer.catalogue.calibrations import count_drift
from indexer.catalogue.categories import check_not_removed
from indexer.catalogue.engine import Transactions
from indexer.catalogue.live_references import live_digests
from indexer.catalogue.queries import FEW, batches, now, page_by_page, page_of
from indexer.catalogue.reference_changes import append_references, remove_references
from indexer.catalogue.tables import CategoryRow, InspectionRow
from indexer.catalogue.trend import read_trend
from indexer.domain.category import CategorySettings
from indexer.domain.errors import InspectionNotFound, InvalidCursor, RequestKeyReused
from indexer.domain.inspection import DefectDetails, Inspection, InspectionFilter, Label
from indexer.domain.inspection_counts import InspectionCounts
from indexer.domain.page import Page
from indexer.domain.pareto import Pareto
from indexer.domain.reference import NewReference
from indexer.domain.review import ReviewReason, review_reason
from indexer.domain.snapshot import SegmentFile
from indexer.domain.trend import Trend

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Inspections:
    """The inspections of one data folder."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def record(self, inspections: Sequence[Inspection]) -> dict[str, Inspection]:
        """Keep the answers to the images of one request, all or none.

        Those whose id is there already stay as they are, and are returned by id: the same request was answered before.
        RequestKeyReused when it was another request that had the key.
        """
        if not inspections:
            return {}
        ids = [inspection.id for inspection in inspections]

        def write() -> dict[str, Inspection]:
            with self._transactions.writing() as connection:
                _check_request(connection, inspections[0])
                recorded_before = _recorded(connection, ids)
                if fresh := [inspection for inspection in inspections if inspection.id not in recorded_before]:
                    connection.execute(insert(InspectionRow), [_inspection_values(inspection) for inspection in fresh])
                    count_drift(connection, fresh)
                return recorded_before

        def find(connection: Connection) -> dict[str, Inspection] | None:
            """Those of another attempt, by its map's name, were there before."""
            recorded = _recorded(connection, ids)
            if len(recorded) < len(ids):
                return None
            return {
                inspection.id: recorded[inspection.id]
                for inspection in inspections
                if recorded[inspection.id].map_name != inspection.map_name
            }

        return self._transactions.certainly(write, find)

    def of_request(self, key: str) -> dict[str, Inspection]:
        """The inspections that answer a request, by id. key: its `request_key`."""
        with self._transactions.reading() as connection:
            rows = connection.execute(select(InspectionRow.__table__).where(InspectionRow.request_key == key))
            return {row.id: _inspection(row) for row in rows}

    def get(self, inspection_id: str) -> Inspection:
        """One inspection. Raises InspectionNotFound."""
        with self._transactions.reading() as connection:
            return _find_inspection(connection, inspection_id)

    def page(
        self, matching: InspectionFilter | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[Inspection]:
        """Inspections newest first. Raises InvalidCursor."""
        return self._page(_conditions(matching or InspectionFilter()), cursor, limit)

    def _page(self, conditions: Iterable[ColumnElement[bool]], cursor: str | None, limit: int) -> Page[Inspection]:
        statement = select(InspectionRow.__table__).order_by(InspectionRow.at.desc(), InspectionRow.id.desc())
        statement = statement.where(*conditions)
        if cursor is not None:
            at, last = _read_cursor(cursor)
            before = tuple_(literal(at, UtcDateTime()), literal(last))
            statement = statement.where(tuple_(InspectionRow.at, InspectionRow.id) < before)
        with self._transactions.reading() as connection:
            inspections = [_inspection(row) for row in connection.execute(statement.limit(limit + 1))]
        return page_of(inspections, limit, lambda last: f"{(last.at - _EPOCH) // _MICROSECOND}-{last.id}")

    def iterate(self, matching: InspectionFilter | None = None) -> Iterator[Inspection]:
        """Every matching inspection, newest first, read page by page so that no transaction stays open."""
        return page_by_page(lambda cursor: self.page(matching, cursor, FEW))

    def trend(self, matching: InspectionFilter | None = None, points: int = 60) -> Trend:
        """How the matching inspections went over time, in at most `points` stretches."""
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
            return tuple(map(_inspection, connection.execute(statement)))

    def pareto(self, matching: InspectionFilter | None = None) -> Pareto:
        """The confirmed defects among the matching inspections, counted by class."""
        statement = (
            select(InspectionRow.defect_class, func.count())
            .where(InspectionRow.label == "defect", *_conditions(matching or InspectionFilter()))
            .group_by(InspectionRow.defect_class)
        )
        with self._transactions.reading() as connection:
            return Pareto.from_counts([(row[0], row[1]) for row in connection.execute(statement)])

    def waiting(
        self,
        category: str | None = None,
        reason: ReviewReason | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Inspection]:
        """The inspections that wait for review, newest first; None matches all. Raises InvalidCursor."""
        return self._page(_waiting(category, reason), cursor, limit)

    def count_waiting(self, category: str | None = None, reason: ReviewReason | None = None) -> int:
        """How many inspections wait for review; None matches all."""
        with self._transactions.reading() as connection:
            statement = select(func.count()).select_from(InspectionRow).where(*_waiting(category, reason))
            return connection.execute(statement).scalar_one()

    def propose(self, inspection_id: str) -> Inspection:
        """Store an operator's label `good`, which waits for review. Raises InspectionNotFound.

        One that is labelled good already stays as it is.
        """

        def write() -> Inspection:
            with self._transactions.writing() as connection:
                before = _find_inspection(connection, inspection_id)
                if before.label != "good":
                    _label(connection, before, "good", None, review="feedback")
                    _remove_promoted(connection, before)
                return _find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = _find_inspection(connection, inspection_id)
            return inspection if inspection.label == "good" else None

        return self._transactions.certainly(write, find)

    def dismiss(self, inspection_id: str) -> Inspection:
        """Take an inspection out of the review queue without a label; one that an operator gave stays.

        Raises InspectionNotFound.
        """

        def write() -> Inspection:
            with self._transactions.writing() as connection:
                before = _find_inspection(connection, inspection_id)
                if before.waits:
                    _update(connection, replace(before, reviewed_at=now()))
                    note(connection, "review.dismissed", before.id, {"review": before.review})
                return _find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = _find_inspection(connection, inspection_id)
            return None if inspection.waits else inspection

        return self._transactions.certainly(write, find)

    def reopen(self, inspection_id: str) -> Inspection:
        """Put an inspection back into the review queue, as it was before it was decided. Raises InspectionNotFound.

        The reference that it became is removed. One that never was in the queue stays as it is.
        """

        def write() -> Inspection:
            with self._transactions.writing() as connection:
                before = _find_inspection(connection, inspection_id)
                if before.reviewed_at is not None:
                    label: Label | None = "good" if before.review == "feedback" else None
                    _label(connection, before, label, None, review=before.review)
                    _remove_promoted(connection, before)
                return _find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = _find_inspection(connection, inspection_id)
            return inspection if inspection.reviewed_at is None else None

        return self._transactions.certainly(write, find)

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
                before = _find_inspection(connection, inspection_id)
                if before.label != label or _details(before, label, changes) != _details(before, label):
                    review = before.review
                    if label is None and review == "feedback":
                        review = _detected_reason(connection, before)
                    _label(connection, before, label, None, changes, review=review, decided=label is not None)
                    _remove_promoted(connection, before)
                return _find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = _find_inspection(connection, inspection_id)
            if inspection.label != label or _details(inspection, label, changes) != _details(inspection, label):
                return None
            return inspection

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
                before = _find_inspection(connection, inspection_id)
                if before.category is None:
                    raise ValueError(f"inspection {inspection_id} has no category")
                check_not_removed(connection, before.category)
                appended = append_references(
                    connection, before.category, segment, [reference], memory_id, geometry_json
                )
                [promoted] = appended.reference_ids
                is_own = not appended.duplicates or _is_promoted(connection, promoted)
                if before.label != "good" or before.waits or (is_own and before.promoted_reference_id != promoted):
                    reference_id = promoted if is_own else None
                    _label(
                        connection,
                        before,
                        "good",
                        reference_id,
                        confirmed=confirmed,
                        review=before.review,
                        decided=True,
                    )
                return _find_inspection(connection, inspection_id)

        def find(connection: Connection) -> Inspection | None:
            inspection = _find_inspection(connection, inspection_id)
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


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    at, _, last = cursor.partition("-")
    try:
        return _EPOCH + int(at) * _MICROSECOND, last
    except (ValueError, OverflowError):
        raise InvalidCursor("not a cursor of inspections") from None


def _inspection_values(inspection: Inspection) -> dict[str, Any]:
    values = {field.name: getattr(inspection, field.name) for field in fields(Inspection)}
    values["defect"] = inspection.defect
    return {
        **values,
        "regions": list(inspection.regions),
        "references": list(inspection.references),
        "notices": list(inspection.notices),
    }


def _inspection(row: Row[Any]) -> Inspection:
    values = {field.name: getattr(row, field.name) for field in fields(Inspection)}
    tuples = {name: tuple(values[name]) for name in ("regions", "references", "notices")}
    return Inspection(**{**values, **tuples})


def _recorded(connection: Connection, ids: Iterable[str]) -> dict[str, Inspection]:
    statement = select(InspectionRow.__table__)
    return {
        row.id: _inspection(row)
        for batch in batches(ids)
        for row in connection.execute(statement.where(InspectionRow.id.in_(batch)))
    }


def _label(
    connection: Connection,
    before: Inspection,
    label: Label | None,
    promoted: int | None,
    changes: DefectDetails | None = None,
    confirmed: Sequence[str] = (),
    *,
    review: ReviewReason | None,
    decided: bool = False,
) -> None:
    """Store a label. review: why the inspection is in the review queue, or was, where that is `decided`."""
    at, details = now(), _details(before, label, changes)
    labelled = replace(
        before,
        label=label,
        labelled_at=None if label is None else at,
        promoted_reference_id=promoted,
        review=review,
        reviewed_at=at if decided and review is not None else None,
        **details,
    )
    _update(connection, labelled)
    earlier: dict[str, Any] = {"label": before.label, "promoted_reference_id": before.promoted_reference_id}
    present: dict[str, Any] = {"label": label, "promoted_reference_id": promoted}
    if details != (earlier_details := _details(before, before.label)):
        earlier |= earlier_details
        present |= details
    if labelled.waits:
        present["waits"] = True
    if confirmed:
        present["confirmed"] = list(confirmed)
    note(connection, "inspection.labelled", before.id, earlier, present)


def _details(before: Inspection, label: Label | None, changes: DefectDetails | None = None) -> DefectDetails:
    """What is said of an inspection that gets a label: nothing unless it is a defect."""
    if label != "defect":
        return {"defect_class": None, "comment": None}
    return {"defect_class": before.defect_class, "comment": before.comment, **(changes or {})}


def _update(connection: Connection, inspection: Inspection) -> None:
    """Store what people say of an inspection."""
    judged = (
        "label",
        "labelled_at",
        "promoted_reference_id",
        "defect_class",
        "comment",
        "review",
        "reviewed_at",
        "defect",
    )
    values = {name: getattr(inspection, name) for name in judged}
    connection.execute(update(InspectionRow).where(InspectionRow.id == inspection.id).values(values))


def _remove_promoted(connection: Connection, before: Inspection) -> None:
    """Remove the reference that an inspection became, unless another one that is called good names it."""
    promoted = before.promoted_reference_id
    if promoted is not None and not _is_promoted(connection, promoted):
        remove_references(connection, [promoted])


def _detected_reason(connection: Connection, inspection: Inspection) -> ReviewReason | None:
    """Why an inspection waits whatever people say, by its category's settings of now."""
    stored = connection.scalar(select(CategoryRow.settings).where(CategoryRow.name == inspection.category))
    band = (CategorySettings() if stored is None else CategorySettings.from_json(stored)).review_band
    return review_reason(inspection.verdict, inspection.score, inspection.threshold, band)


def _waiting(category: str | None, reason: ReviewReason | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [InspectionRow.review.is_not(None), InspectionRow.reviewed_at.is_(None)]
    if category is not None:
        conditions.append(InspectionRow.category == category)
    if reason is not None:
        conditions.append(InspectionRow.review == reason)
    return conditions


def _is_promoted(connection: Connection, reference_id: int) -> bool:
    """Whether an inspection that is called good names a reference as the one it became."""
    named = (InspectionRow.promoted_reference_id == reference_id, InspectionRow.label == "good")
    return bool(connection.scalar(select(exists().where(*named))))


def _check_request(connection: Connection, inspection: Inspection) -> None:
    """Raise RequestKeyReused when inspections under the same key answer a request of other content."""
    if inspection.request_key is not None:
        other_inspections = exists().where(
            InspectionRow.request_key == inspection.request_key,
            InspectionRow.request_digest != inspection.request_digest,
        )
        if connection.scalar(select(other_inspections)):
            raise RequestKeyReused("the key was used for a request with other content")


def _find_inspection(connection: Connection, inspection_id: str) -> Inspection:
    row = connection.execute(select(InspectionRow.__table__).where(InspectionRow.id == inspection_id)).one_or_none()
    if row is None:
        raise InspectionNotFound(f"there is no inspection {inspection_id}")
    return _inspection(row)

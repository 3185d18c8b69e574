"""Stores the labels that people give inspections, with the reference that an image labelled good became."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, exists, select, update

from indexer.catalogue.audit import note
from indexer.catalogue.queries import now
from indexer.catalogue.reference_changes import remove_references
from indexer.catalogue.tables import InspectionRow
from indexer.domain.inspection import DefectDetails, Inspection, Label
from indexer.domain.review import ReviewReason


def store_label(
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
    update_inspection(connection, labelled)
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


def has_label(inspection: Inspection, label: Label | None, changes: DefectDetails | None = None) -> bool:
    """Whether a label is stored already, with what `changes` say of the defect."""
    return inspection.label == label and _details(inspection, label, changes) == _details(inspection, label)


def _details(before: Inspection, label: Label | None, changes: DefectDetails | None = None) -> DefectDetails:
    """Class and comment of an inspection once it has a label: none unless that is `defect`."""
    if label != "defect":
        return {"defect_class": None, "comment": None}
    return {"defect_class": before.defect_class, "comment": before.comment, **(changes or {})}


def update_inspection(connection: Connection, inspection: Inspection) -> None:
    """Store an inspection's label, with all that depends on it, and its review."""
    columns = (
        "label",
        "labelled_at",
        "promoted_reference_id",
        "defect_class",
        "comment",
        "review",
        "reviewed_at",
        "defect",
    )
    values = {name: getattr(inspection, name) for name in columns}
    connection.execute(update(InspectionRow).where(InspectionRow.id == inspection.id).values(values))


def remove_promoted(connection: Connection, before: Inspection) -> None:
    """Remove the reference that an inspection became, unless another one that is called good names it."""
    promoted = before.promoted_reference_id
    if promoted is not None and not is_promoted(connection, promoted):
        remove_references(connection, [promoted])


def is_promoted(connection: Connection, reference_id: int) -> bool:
    """Whether an inspection that is called good names a reference as the one it became."""
    named = (InspectionRow.promoted_reference_id == reference_id, InspectionRow.label == "good")
    return bool(connection.scalar(select(exists().where(*named))))

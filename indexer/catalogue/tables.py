"""Every table of the catalogue; those of API keys and the audit trail come from a module of their own."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from indexer.catalogue.access_tables import AuditRow as AuditRow  # also here: `Base.metadata` has every table
from indexer.catalogue.access_tables import KeyRow as KeyRow
from indexer.catalogue.base import Base as Base
from indexer.catalogue.base import Id, UtcDateTime

_LIVE = text("removed_at IS NULL")
_ACTIVE = text("active")
_WITH_IMAGE = text("stored_bytes IS NOT NULL")
_PROMOTED = text("promoted_reference_id IS NOT NULL")
_LABELLED = text("label IS NOT NULL")
_FINISHED = text("name IS NOT NULL")
_REQUESTED = text("name IS NULL")
_WAITING = text("review IS NOT NULL AND reviewed_at IS NULL")


class IdentityRow(Base):
    """The id of this catalogue, one row once a data folder has it, too; not in backups: what is restored is another."""

    __tablename__ = "identity"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)


class CorrectionRow(Base):
    """By its name, a correction of what earlier versions noted wrongly, once it is complete; see `Corrections`."""

    __tablename__ = "correction"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)


class MemoryRow(Base):
    """A feature space in which references are encoded; one is served."""

    __tablename__ = "memory"
    __table_args__ = (
        Index("ix_memory_one_active", "active", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    space_json: Mapped[str] = mapped_column(Text)
    codec: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    active: Mapped[bool]


class CategoryRow(Base):
    """A kind of part with its settings."""

    __tablename__ = "category"
    __table_args__ = (UniqueConstraint("name"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    removed_version: Mapped[int | None]  # of its last removal, also once it is restored


class ChangeRow(Base):
    """One commit that changes what detection sees; its number is the version of the whole system."""

    __tablename__ = "change"

    version: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(String(16))
    memory_id: Mapped[int | None] = mapped_column(ForeignKey("memory.id"))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class ReferenceRow(Base):
    """An image of a good part; ids are never used twice."""

    __tablename__ = "reference"
    __table_args__ = (
        Index(
            "ix_reference_one_live",
            "category_id",
            "image_sha256",
            unique=True,
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
        Index("ix_reference_added_version", "added_version"),
        Index("ix_reference_removed_version", "removed_version"),
        Index("ix_reference_image_sha256", "image_sha256"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"))
    image_sha256: Mapped[str] = mapped_column(String(64))
    image_suffix: Mapped[str] = mapped_column(String(16))
    filename: Mapped[str] = mapped_column(Text)
    width: Mapped[int]
    height: Mapped[int]
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)
    added_version: Mapped[int] = mapped_column(ForeignKey("change.version"))
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    removed_version: Mapped[int | None] = mapped_column(ForeignKey("change.version"))
    appearance: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON, server_default="[]")
    image_bytes: Mapped[int | None] = mapped_column(BigInteger)
    encoding: Mapped[str | None] = mapped_column(Text)
    reading: Mapped[str | None] = mapped_column(Text)
    inspection_id: Mapped[str | None] = mapped_column(String(36))


class SegmentRow(Base):
    """A segment file; retired once nothing needs it, so that a sweep deletes the file."""

    __tablename__ = "segment"
    __table_args__ = (UniqueConstraint("name"), Index("ix_segment_memory_id", "memory_id"))

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    memory_id: Mapped[int] = mapped_column(ForeignKey("memory.id"))
    name: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    retired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class CategoryGeometryRow(Base):
    """How a category's images are scaled and cropped before a memory's encoder sees them.

    Beside the active one a category may have one whose references are still being encoded. geometry: JSON of
    `InputGeometry`. activated_version: of the snapshot that it is active from, None before. error: why its references
    cannot be encoded.
    """

    __tablename__ = "category_geometry"
    __table_args__ = (
        Index(
            "ix_category_geometry_one_active",
            "memory_id",
            "category_id",
            unique=True,
            sqlite_where=_ACTIVE,
            postgresql_where=_ACTIVE,
        ),
        Index("ix_category_geometry_category_id", "category_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    memory_id: Mapped[int] = mapped_column(ForeignKey("memory.id"))
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"))
    geometry: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    active: Mapped[bool]
    activated_version: Mapped[int | None] = mapped_column(BigInteger)
    error: Mapped[str | None] = mapped_column(Text)


class CoresetRow(Base):
    """A coreset of a category: one that is asked for, or a finished one, which has all the columns from memory_id on.

    share, bound: see `CoresetTarget`. error: why it cannot be made. reference_count: it was made from so many. radii:
    by layer. made_version: of the snapshot that it was finished with.
    """

    __tablename__ = "coreset"
    __table_args__ = (
        UniqueConstraint("name"),
        Index(
            "ix_coreset_one_finished",
            "category_id",
            unique=True,
            sqlite_where=_FINISHED,
            postgresql_where=_FINISHED,
        ),
        Index(
            "ix_coreset_one_requested",
            "category_id",
            unique=True,
            sqlite_where=_REQUESTED,
            postgresql_where=_REQUESTED,
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"))
    share: Mapped[float | None] = mapped_column(Double)
    bound: Mapped[float | None] = mapped_column(Double)
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(Text)
    memory_id: Mapped[int | None] = mapped_column(ForeignKey("memory.id"))
    name: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[str | None] = mapped_column(String(64))
    size: Mapped[int | None] = mapped_column(BigInteger)
    reference_count: Mapped[int | None]
    patches: Mapped[int | None]
    radii: Mapped[list[float] | None] = mapped_column(JSON(none_as_null=True))
    made_version: Mapped[int | None] = mapped_column(BigInteger)


class PlacementRow(Base):
    """Which row of which segment is a reference, in one memory and under one geometry of its category."""

    __tablename__ = "placement"
    __table_args__ = (
        UniqueConstraint("segment_id", "row"),
        Index("ix_placement_memory_id", "memory_id"),
        Index("ix_placement_geometry_id", "geometry_id"),
    )

    reference_id: Mapped[int] = mapped_column(ForeignKey("reference.id"), primary_key=True)
    geometry_id: Mapped[int] = mapped_column(ForeignKey("category_geometry.id"), primary_key=True)
    memory_id: Mapped[int] = mapped_column(ForeignKey("memory.id"))
    segment_id: Mapped[int] = mapped_column(ForeignKey("segment.id"))
    row: Mapped[int]


class InspectionRow(Base):
    """One inspected image, as it was answered and as it was judged."""

    __tablename__ = "inspection"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    filename: Mapped[str] = mapped_column(Text)
    category: Mapped[str | None] = mapped_column(Text)
    part_id: Mapped[str | None] = mapped_column(Text)
    station: Mapped[str | None] = mapped_column(Text)
    verdict: Mapped[str] = mapped_column(String(16))
    score: Mapped[float] = mapped_column(Double)
    threshold: Mapped[float | None] = mapped_column(Double)
    p_value: Mapped[float | None] = mapped_column(Double)
    version: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    regions: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    references: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    timings: Mapped[dict[str, float]] = mapped_column(JSON)
    image_sha256: Mapped[str | None] = mapped_column(String(64))
    image_suffix: Mapped[str | None] = mapped_column(String(16))
    map_name: Mapped[str | None] = mapped_column(Text)
    label: Mapped[str | None] = mapped_column(String(16))
    labelled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    promoted_reference_id: Mapped[int | None] = mapped_column(ForeignKey("reference.id"))
    defect_class: Mapped[str | None] = mapped_column(Text)
    comment: Mapped[str | None] = mapped_column(Text)
    calibration_key: Mapped[str | None] = mapped_column(String(16))
    calibration_size: Mapped[int | None]
    novelty: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    alternative_category: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    defect: Mapped[bool]
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    thumbnail_bytes: Mapped[int | None]
    encoding: Mapped[str | None] = mapped_column(Text)
    reading: Mapped[str | None] = mapped_column(Text)
    notices: Mapped[list[dict[str, Any]]] = mapped_column(JSON, server_default="[]")
    geometry: Mapped[str | None] = mapped_column(Text)
    region_of_interest: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    request_key: Mapped[str | None] = mapped_column(String(64))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    review: Mapped[str | None] = mapped_column(String(16))
    reviewed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        # By time within each filter, so that a page is read from the index in order, backwards.
        Index("ix_inspection_at", "at", "id"),
        Index("ix_inspection_category", "category", "at", "id"),
        Index("ix_inspection_verdict", "verdict", "at", "id"),
        Index("ix_inspection_station", "station", "at", "id"),
        Index("ix_inspection_part_id", "part_id", "at", "id"),
        Index("ix_inspection_label", "label", "at", "id", sqlite_where=_LABELLED, postgresql_where=_LABELLED),
        # What retention counts and takes, oldest first; each holds all that it adds up.
        Index("ix_inspection_kind", "category", "defect", "at", "id", "thumbnail_bytes"),
        Index(
            "ix_inspection_with_image",
            "category",
            "defect",
            "at",
            "id",
            "stored_bytes",
            sqlite_where=_WITH_IMAGE,
            postgresql_where=_WITH_IMAGE,
        ),
        Index("ix_inspection_image_sha256", "image_sha256", sqlite_where=_WITH_IMAGE, postgresql_where=_WITH_IMAGE),
        Index("ix_inspection_request_key", "request_key"),
        # The review queue, of all categories and of one: as long as what waits, each with all that is counted by.
        Index(
            "ix_inspection_waiting",
            "at",
            "id",
            "category",
            "review",
            "reviewed_at",
            sqlite_where=_WAITING,
            postgresql_where=_WAITING,
        ),
        Index(
            "ix_inspection_waiting_category",
            "category",
            "at",
            "id",
            "review",
            "reviewed_at",
            sqlite_where=_WAITING,
            postgresql_where=_WAITING,
        ),
        Index(
            "ix_inspection_promoted_reference_id",
            "promoted_reference_id",
            sqlite_where=_PROMOTED,
            postgresql_where=_PROMOTED,
        ),
    )


class DiscardRow(Base):
    """A file that nothing named when it was written down here, until it is deleted.

    path: within the data folder. bytes: that its deletion gives back.
    """

    __tablename__ = "discard"

    path: Mapped[str] = mapped_column(Text, primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)


class CalibrationRow(Base):
    """Of which snapshot, and under which K and ρ, a category's leave-one-out results in one memory are.

    coreset_id: of the one that was searched, which may have been deleted since.
    """

    __tablename__ = "calibration"

    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"), primary_key=True)
    memory_id: Mapped[int] = mapped_column(ForeignKey("memory.id"), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    k: Mapped[int]
    rho: Mapped[int]
    coreset_id: Mapped[int | None] = mapped_column(Id)


class AdaptationRow(Base):
    """A category's calibration for images of one encoding. key: of the calibration that it was made beside."""

    __tablename__ = "adaptation"

    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"), primary_key=True)
    memory_id: Mapped[int] = mapped_column(ForeignKey("memory.id"), primary_key=True)
    encoding: Mapped[str] = mapped_column(String(256), primary_key=True)
    key: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[bytes] = mapped_column(LargeBinary)


class LeaveOneOutRow(Base):
    """What one reference of a category found among the others. Arrays are little endian: int64, or float32 of values.

    A row each, so that a reference more or less changes the rows that it concerns, and not megabytes.
    """

    __tablename__ = "leave_one_out"

    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"), primary_key=True)
    memory_id: Mapped[int] = mapped_column(ForeignKey("memory.id"), primary_key=True)
    reference_id: Mapped[int] = mapped_column(ForeignKey("reference.id"), primary_key=True)
    group_id: Mapped[int] = mapped_column(BigInteger)
    nearest: Mapped[float | None] = mapped_column(Double)
    candidates: Mapped[bytes] = mapped_column(LargeBinary)
    best: Mapped[bytes] = mapped_column(LargeBinary)
    peers: Mapped[bytes] = mapped_column(LargeBinary)
    apart: Mapped[bytes] = mapped_column(LargeBinary)


class DriftRow(Base):
    """The drift test of a category: counted in the transaction that records an inspection, so exactly once."""

    __tablename__ = "drift"

    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"), primary_key=True)
    calibration_key: Mapped[str] = mapped_column(String(16))
    version: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    flagged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    state: Mapped[dict[str, Any]] = mapped_column(JSON)


class LabelledImageRow(Base):
    """An image of a category's labelled test set; one that was removed stays for the evaluations that it was in."""

    __tablename__ = "test_image"
    __table_args__ = (
        Index(
            "ix_test_image_one_live",
            "category_id",
            "image_sha256",
            unique=True,
            sqlite_where=_LIVE,
            postgresql_where=_LIVE,
        ),
        Index("ix_test_image_image_sha256", "image_sha256"),
        Index("ix_test_image_mask_sha256", "mask_sha256"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"))
    image_sha256: Mapped[str] = mapped_column(String(64))
    image_suffix: Mapped[str] = mapped_column(String(16))
    mask_sha256: Mapped[str | None] = mapped_column(String(64))
    mask_suffix: Mapped[str | None] = mapped_column(String(16))
    filename: Mapped[str] = mapped_column(Text)
    width: Mapped[int]
    height: Mapped[int]
    defective: Mapped[bool]
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class EvaluationRow(Base):
    """An evaluation of a category's test set; with the same key it would come out the same."""

    __tablename__ = "evaluation"
    __table_args__ = (Index("ix_evaluation_category_id", "category_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"))
    key: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(BigInteger)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    images: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class EvaluationResultRow(Base):
    """What was detected in one image of a test set."""

    __tablename__ = "evaluation_result"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("test_image.id"), primary_key=True)
    score: Mapped[float | None] = mapped_column(Double)
    threshold: Mapped[float | None] = mapped_column(Double)
    p_value: Mapped[float | None] = mapped_column(Double)
    verdict: Mapped[str | None] = mapped_column(String(16))
    regions: Mapped[list[Any]] = mapped_column(JSON)
    mask_hit: Mapped[bool | None]
    error: Mapped[str | None] = mapped_column(Text)


class TuningRow(Base):
    """The latest tuning of a category's settings on its test set."""

    __tablename__ = "tuning"
    __table_args__ = (UniqueConstraint("category_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(Id, primary_key=True)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"))
    key: Mapped[str | None] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    images: Mapped[int]
    done: Mapped[int]
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)


class StationRow(Base):
    """What a line agent last reported of a station."""

    __tablename__ = "station"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    reported_at: Mapped[datetime] = mapped_column(UtcDateTime)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)

"""The first schema: memories, categories, references, segments, changes and inspections."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_LIVE = sa.text("removed_at IS NULL")
_ACTIVE = sa.text("active")


def upgrade() -> None:
    op.create_table(
        "memory",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("space_json", sa.Text, nullable=False),
        sa.Column("codec", sa.String(16), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_memory_one_active", "memory", ["active"], unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE
    )
    op.create_table(
        "category",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("removed_at", _TIME),
        sa.UniqueConstraint("name", name="uq_category_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "change",
        sa.Column("version", _ID, primary_key=True, autoincrement=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_change_memory_id")),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    op.create_table(
        "reference",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("category_id", _ID, sa.ForeignKey("category.id", name="fk_reference_category_id"), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("image_suffix", sa.String(16), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("added_at", _TIME, nullable=False),
        sa.Column(
            "added_version", _ID, sa.ForeignKey("change.version", name="fk_reference_added_version"), nullable=False
        ),
        sa.Column("removed_at", _TIME),
        sa.Column("removed_version", _ID, sa.ForeignKey("change.version", name="fk_reference_removed_version")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_reference_one_live",
        "reference",
        ["category_id", "image_sha256"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    op.create_index("ix_reference_added_version", "reference", ["added_version"])
    op.create_index("ix_reference_removed_version", "reference", ["removed_version"])
    op.create_table(
        "segment",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_segment_memory_id"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("retired_at", _TIME),
        sa.UniqueConstraint("name", name="uq_segment_name"),
    )
    op.create_index("ix_segment_memory_id", "segment", ["memory_id"])
    op.create_table(
        "placement",
        sa.Column(
            "reference_id", _ID, sa.ForeignKey("reference.id", name="fk_placement_reference_id"), primary_key=True
        ),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_placement_memory_id"), primary_key=True),
        sa.Column("segment_id", _ID, sa.ForeignKey("segment.id", name="fk_placement_segment_id"), nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.UniqueConstraint("segment_id", "row", name="uq_placement_segment_id_row"),
    )
    op.create_index("ix_placement_memory_id", "placement", ["memory_id"])
    op.create_table(
        "inspection",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("category", sa.Text),
        sa.Column("part_id", sa.Text),
        sa.Column("station", sa.Text),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("threshold", sa.Double),
        sa.Column("p_value", sa.Double),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("regions", sa.JSON, nullable=False),
        sa.Column("references", sa.JSON, nullable=False),
        sa.Column("timings", sa.JSON, nullable=False),
        sa.Column("image_sha256", sa.String(64)),
        sa.Column("image_suffix", sa.String(16)),
        sa.Column("map_name", sa.Text),
        sa.Column("judgement", sa.String(16)),
        sa.Column("judged_at", _TIME),
        sa.Column(
            "promoted_reference_id", _ID, sa.ForeignKey("reference.id", name="fk_inspection_promoted_reference_id")
        ),
    )
    op.create_index("ix_inspection_at", "inspection", ["at", "id"])
    for column in ("category", "verdict", "station", "part_id"):
        op.create_index(f"ix_inspection_{column}", "inspection", [column, "at", "id"])


def downgrade() -> None:
    for table in ("inspection", "placement", "segment", "reference", "change", "category", "memory"):
        op.drop_table(table)

"""A geometry for each category; categories of before keep the resize and the crop of the memory."""

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_ACTIVE = sa.text("active")


def upgrade() -> None:
    op.create_table(
        "category_geometry",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_category_geometry_memory_id"), nullable=False),
        sa.Column(
            "category_id", _ID, sa.ForeignKey("category.id", name="fk_category_geometry_category_id"), nullable=False
        ),
        sa.Column("geometry", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("activated_version", sa.BigInteger),
        sa.Column("error", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_category_geometry_one_active",
        "category_geometry",
        ["memory_id", "category_id"],
        unique=True,
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )
    op.create_index("ix_category_geometry_category_id", "category_geometry", ["category_id"])
    op.add_column("inspection", sa.Column("geometry", sa.Text))
    _keep_crops()
    # SQLite cannot change the key of a table that is there.
    _rename_placement()
    op.create_table(
        "placement",
        sa.Column("reference_id", _ID, sa.ForeignKey("reference.id", name="fk_placement_reference_id"), nullable=False),
        sa.Column(
            "geometry_id", _ID, sa.ForeignKey("category_geometry.id", name="fk_placement_geometry_id"), nullable=False
        ),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_placement_memory_id"), nullable=False),
        sa.Column("segment_id", _ID, sa.ForeignKey("segment.id", name="fk_placement_segment_id"), nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("reference_id", "geometry_id", name="pk_placement"),
        sa.UniqueConstraint("segment_id", "row", name="uq_placement_segment_id_row"),
    )
    op.create_index("ix_placement_memory_id", "placement", ["memory_id"])
    op.create_index("ix_placement_geometry_id", "placement", ["geometry_id"])
    op.execute(
        'INSERT INTO placement (reference_id, memory_id, segment_id, "row", geometry_id) '
        'SELECT p.reference_id, p.memory_id, p.segment_id, p."row", g.id FROM placement_before p '
        "JOIN reference r ON r.id = p.reference_id "
        "JOIN category_geometry g ON g.memory_id = p.memory_id AND g.category_id = r.category_id"
    )
    op.drop_table("placement_before")


def downgrade() -> None:
    _rename_placement()
    op.create_table(
        "placement",
        sa.Column("reference_id", _ID, sa.ForeignKey("reference.id", name="fk_placement_reference_id"), nullable=False),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_placement_memory_id"), nullable=False),
        sa.Column("segment_id", _ID, sa.ForeignKey("segment.id", name="fk_placement_segment_id"), nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("reference_id", "memory_id", name="pk_placement"),
        sa.UniqueConstraint("segment_id", "row", name="uq_placement_segment_id_row"),
    )
    op.create_index("ix_placement_memory_id", "placement", ["memory_id"])
    op.execute(
        'INSERT INTO placement (reference_id, memory_id, segment_id, "row") '
        'SELECT p.reference_id, p.memory_id, p.segment_id, p."row" FROM placement_before p '
        "JOIN category_geometry g ON g.id = p.geometry_id WHERE g.active"
    )
    op.drop_table("placement_before")
    op.drop_table("category_geometry")
    op.drop_column("inspection", "geometry")


def _keep_crops() -> None:
    """One active geometry per memory and category: the resize and the crop that its references were encoded with."""
    connection = op.get_bind()
    tables = sa.MetaData()
    memory, category, geometry = (
        sa.Table(name, tables, autoload_with=connection) for name in ("memory", "category", "category_geometry")
    )
    categories = connection.scalars(sa.select(category.c.id)).all()
    for row in connection.execute(sa.select(memory.c.id, memory.c.space_json)).all():
        values = {
            "memory_id": row.id,
            "geometry": json.dumps(_crop_of(json.loads(row.space_json)), sort_keys=True, separators=(",", ":")),
            "created_at": datetime.now(UTC),
            "active": True,
            "activated_version": 0,
        }
        if categories:
            connection.execute(
                sa.insert(geometry), [{**values, "category_id": category_id} for category_id in categories]
            )


def _crop_of(space: dict[str, Any]) -> dict[str, Any]:
    """The geometry that all images of a memory had."""
    if "geometry" not in space:
        return dict(space.get("global_geometry", {}))
    resize, crop = space["geometry"]["resize"], space["geometry"]["crop"]
    margin = (resize - crop) // 2
    return {"resized": [resize, resize], "window": [margin, margin, crop, crop], "on_mismatch": "stretch"}


def _rename_placement() -> None:
    """Put the table of placements aside, without the names that the next one takes."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    for index in inspector.get_indexes("placement"):
        if index["name"] is not None and index["name"].startswith("ix_"):
            op.drop_index(index["name"], "placement")
    if connection.dialect.name == "postgresql":
        for name in (inspector.get_pk_constraint("placement")["name"], "uq_placement_segment_id_row"):
            op.execute(f"ALTER TABLE placement RENAME CONSTRAINT {name} TO {name}_before")
    op.rename_table("placement", "placement_before")

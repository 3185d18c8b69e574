"""Coresets of categories: asked for, or finished."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FINISHED = sa.text("name IS NOT NULL")
_REQUESTED = sa.text("name IS NULL")


def upgrade() -> None:
    op.create_table(
        "coreset",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("category_id", _ID, sa.ForeignKey("category.id", name="fk_coreset_category_id"), nullable=False),
        sa.Column("share", sa.Double),
        sa.Column("bound", sa.Double),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_coreset_memory_id")),
        sa.Column("name", sa.Text),
        sa.Column("sha256", sa.String(64)),
        sa.Column("size", sa.BigInteger),
        sa.Column("reference_count", sa.Integer),
        sa.Column("patches", sa.Integer),
        sa.Column("radii", sa.JSON),
        sa.Column("made_version", sa.BigInteger),
        sa.UniqueConstraint("name", name="uq_coreset_name"),
        sqlite_autoincrement=True,
    )
    for name, which in (("ix_coreset_one_finished", _FINISHED), ("ix_coreset_one_requested", _REQUESTED)):
        op.create_index(name, "coreset", ["category_id"], unique=True, sqlite_where=which, postgresql_where=which)
    op.add_column("calibration", sa.Column("coreset_id", _ID))


def downgrade() -> None:
    op.drop_column("calibration", "coreset_id")
    op.drop_table("coreset")

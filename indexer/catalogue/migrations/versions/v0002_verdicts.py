"""Kept calibrations, drift tests, what screening found, and what an inspection was decided by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "calibration",
        sa.Column(
            "category_id", _ID, sa.ForeignKey("category.id", name="fk_calibration_category_id"), primary_key=True
        ),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_calibration_memory_id"), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "drift",
        sa.Column("category_id", _ID, sa.ForeignKey("category.id", name="fk_drift_category_id"), primary_key=True),
        sa.Column("calibration_key", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("flagged_at", _TIME),
        sa.Column("state", sa.JSON, nullable=False),
    )
    op.add_column("reference", sa.Column("appearance", sa.JSON))
    op.add_column("reference", sa.Column("findings", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("inspection", sa.Column("calibration_key", sa.String(16)))
    op.add_column("inspection", sa.Column("calibration_size", sa.Integer))
    op.add_column("inspection", sa.Column("familiarity", sa.JSON))
    op.add_column("inspection", sa.Column("better_category", sa.JSON))


def downgrade() -> None:
    for column in ("better_category", "familiarity", "calibration_size", "calibration_key"):
        op.drop_column("inspection", column)
    for column in ("findings", "appearance"):
        op.drop_column("reference", column)
    for table in ("drift", "calibration"):
        op.drop_table(table)

"""Calibrations for images that are stored in another way than the references."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "adaptation",
        sa.Column("category_id", _ID, sa.ForeignKey("category.id", name="fk_adaptation_category_id"), nullable=False),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_adaptation_memory_id"), nullable=False),
        sa.Column("encoding", sa.String(256), nullable=False),
        sa.Column("key", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("category_id", "memory_id", "encoding", name="pk_adaptation"),
    )


def downgrade() -> None:
    op.drop_table("adaptation")

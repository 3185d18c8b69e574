"""The latest tuning of each category: what other settings would separate its test set better."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tuning",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("category_id", _ID, sa.ForeignKey("category.id", name="fk_tuning_category_id"), nullable=False),
        sa.Column("key", sa.String(64)),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("result", sa.JSON),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("category_id", name="uq_tuning_category_id"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("tuning")

"""The review queue: why an inspection waits in it, and when it was decided."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INDEXES = {"waiting": ("at", "id", "category"), "waiting_category": ("category", "at", "id")}


def upgrade() -> None:
    op.add_column("inspection", sa.Column("review", sa.String(16)))
    op.add_column("inspection", sa.Column("reviewed_at", sa.DateTime(timezone=True)))
    waiting = sa.text("review IS NOT NULL AND reviewed_at IS NULL")
    for name, columns in _INDEXES.items():
        op.create_index(
            f"ix_inspection_{name}",
            "inspection",
            [*columns, "review", "reviewed_at"],
            sqlite_where=waiting,
            postgresql_where=waiting,
        )


def downgrade() -> None:
    for name in _INDEXES:
        op.drop_index(f"ix_inspection_{name}", "inspection")
    for column in ("reviewed_at", "review"):
        op.drop_column("inspection", column)

"""The class and the comment of a confirmed defect; labels are found by an index."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_LABELLED = sa.text("label IS NOT NULL")


def upgrade() -> None:
    for column in ("defect_class", "comment"):
        op.add_column("inspection", sa.Column(column, sa.Text))
    op.create_index(
        "ix_inspection_label",
        "inspection",
        ["label", "at", "id"],
        sqlite_where=_LABELLED,
        postgresql_where=_LABELLED,
    )


def downgrade() -> None:
    op.drop_index("ix_inspection_label", "inspection")
    for column in ("comment", "defect_class"):
        op.drop_column("inspection", column)

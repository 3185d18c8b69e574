"""Which request an inspection answers, so that one sent again is recognised, and which inspection became a reference.

Inspections recorded before answer no request that can be sent again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_PROMOTED = sa.text("promoted_reference_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("inspection", sa.Column("request_key", sa.String(64)))
    op.add_column("inspection", sa.Column("request_digest", sa.String(64)))
    op.create_index("ix_inspection_request_key", "inspection", ["request_key"])
    op.create_index(
        "ix_inspection_promoted_reference_id",
        "inspection",
        ["promoted_reference_id"],
        sqlite_where=_PROMOTED,
        postgresql_where=_PROMOTED,
    )
    op.add_column("reference", sa.Column("inspection_id", sa.String(36)))
    op.execute(
        "UPDATE reference SET inspection_id = "
        "(SELECT min(inspection.id) FROM inspection WHERE inspection.promoted_reference_id = reference.id)"
    )


def downgrade() -> None:
    op.drop_column("reference", "inspection_id")
    op.drop_index("ix_inspection_promoted_reference_id", "inspection")
    op.drop_index("ix_inspection_request_key", "inspection")
    op.drop_column("inspection", "request_digest")
    op.drop_column("inspection", "request_key")

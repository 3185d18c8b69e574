"""Which removal took a category away, so that it can be restored with the references that went with it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("category", sa.Column("removed_version", sa.Integer))
    op.execute(
        "UPDATE category SET removed_version = (SELECT max(reference.removed_version) FROM reference"
        " WHERE reference.category_id = category.id) WHERE removed_at IS NOT NULL"
    )


def downgrade() -> None:
    op.drop_column("category", "removed_version")

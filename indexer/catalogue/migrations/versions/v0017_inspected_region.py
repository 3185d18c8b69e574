"""The region of interest that an inspection was made in."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inspection", sa.Column("region_of_interest", sa.JSON()))


def downgrade() -> None:
    op.drop_column("inspection", "region_of_interest")

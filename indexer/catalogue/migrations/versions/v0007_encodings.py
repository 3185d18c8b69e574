"""How references and inspected images were stored and read, and what people should know of that.

Of those from before nothing is known: they are read as their files are.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("reference", "inspection"):
        op.add_column(table, sa.Column("encoding", sa.Text))
        op.add_column(table, sa.Column("reading", sa.Text))
    op.add_column("inspection", sa.Column("notices", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("inspection", "notices")
    for table in ("inspection", "reference"):
        op.drop_column(table, "reading")
        op.drop_column(table, "encoding")

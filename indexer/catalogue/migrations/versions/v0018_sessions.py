"""Sessions of people who signed in at an identity provider: API keys with a subject."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("subject", sa.Text))


def downgrade() -> None:
    op.drop_column("api_key", "subject")

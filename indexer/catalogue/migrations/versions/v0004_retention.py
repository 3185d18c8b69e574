"""How much of the history is kept: what each inspection holds on the disk, and the files that are to be deleted.

An inspection recorded before has no thumbnail, and its image and map count as no bytes; age and number end them, too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WITH_IMAGE = sa.text("kept_bytes IS NOT NULL")


def upgrade() -> None:
    op.add_column("reference", sa.Column("image_bytes", sa.BigInteger))
    op.create_index("ix_reference_image_sha256", "reference", ["image_sha256"])
    op.add_column("inspection", sa.Column("defect", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("inspection", sa.Column("kept_bytes", sa.BigInteger))
    op.add_column("inspection", sa.Column("thumbnail_bytes", sa.Integer))
    op.execute("UPDATE inspection SET kept_bytes = 0 WHERE image_sha256 IS NOT NULL")
    op.execute(
        "UPDATE inspection SET defect = true WHERE judgement = 'defect' "
        "OR (judgement IS NULL AND verdict IN ('anomalous', 'unfamiliar'))"
    )
    op.create_index("ix_inspection_kind", "inspection", ["category", "defect", "at", "id", "thumbnail_bytes"])
    op.create_index(
        "ix_inspection_pictured",
        "inspection",
        ["category", "defect", "at", "id", "kept_bytes"],
        sqlite_where=_WITH_IMAGE,
        postgresql_where=_WITH_IMAGE,
    )
    op.create_index(
        "ix_inspection_image_sha256",
        "inspection",
        ["image_sha256"],
        sqlite_where=_WITH_IMAGE,
        postgresql_where=_WITH_IMAGE,
    )
    op.create_table(
        "discard",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    # An older version takes an inspection that names an image for one that has it.
    op.execute("UPDATE inspection SET image_sha256 = NULL, image_suffix = NULL WHERE kept_bytes IS NULL")
    op.drop_table("discard")
    for index in ("image_sha256", "pictured", "kind"):
        op.drop_index(f"ix_inspection_{index}", "inspection")
    for column in ("thumbnail_bytes", "kept_bytes", "defect"):
        op.drop_column("inspection", column)
    op.drop_index("ix_reference_image_sha256", "reference")
    op.drop_column("reference", "image_bytes")

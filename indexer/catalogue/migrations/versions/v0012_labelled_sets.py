"""Labelled test sets, and how each evaluation of them went."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIVE = sa.text("removed_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "test_image",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("category_id", _ID, sa.ForeignKey("category.id", name="fk_test_image_category_id"), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("image_suffix", sa.String(16), nullable=False),
        sa.Column("mask_sha256", sa.String(64)),
        sa.Column("mask_suffix", sa.String(16)),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("defective", sa.Boolean, nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_test_image_one_live",
        "test_image",
        ["category_id", "image_sha256"],
        unique=True,
        sqlite_where=_LIVE,
        postgresql_where=_LIVE,
    )
    for column in ("image_sha256", "mask_sha256"):
        op.create_index(f"ix_test_image_{column}", "test_image", [column])
    op.create_table(
        "evaluation",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("category_id", _ID, sa.ForeignKey("category.id", name="fk_evaluation_category_id"), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("images", sa.Integer, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_evaluation_category_id", "evaluation", ["category_id"])
    op.create_table(
        "evaluation_result",
        sa.Column(
            "evaluation_id",
            _ID,
            sa.ForeignKey("evaluation.id", name="fk_evaluation_result_evaluation_id"),
            nullable=False,
        ),
        sa.Column(
            "image_id", _ID, sa.ForeignKey("test_image.id", name="fk_evaluation_result_image_id"), nullable=False
        ),
        sa.Column("score", sa.Double),
        sa.Column("threshold", sa.Double),
        sa.Column("p_value", sa.Double),
        sa.Column("verdict", sa.String(16)),
        sa.Column("regions", sa.JSON, nullable=False),
        sa.Column("mask_hit", sa.Boolean),
        sa.Column("error", sa.Text),
        sa.PrimaryKeyConstraint("evaluation_id", "image_id", name="pk_evaluation_result"),
    )


def downgrade() -> None:
    for table in ("evaluation_result", "evaluation", "test_image"):
        op.drop_table(table)

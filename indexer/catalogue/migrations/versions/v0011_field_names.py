"""The field's names for columns, keys and values that are stored: a label, stored bytes, novelty, the nearest patch."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COLUMNS = {
    "judgement": "label",
    "judged_at": "labelled_at",
    "familiarity": "novelty",
    "better_category": "alternative_category",
    "kept_bytes": "stored_bytes",
}
# Keys and values within JSON, by table and column. A quote within a text is escaped, so none of these can lie in one.
_JSON = {
    ("inspection", "regions"): {'"evidence": ': '"nearest_patch": '},
    ("inspection", "novelty"): {'"level": ': '"threshold": ', '"uniformity": ': '"self_similarity": '},
    ("inspection", "notices"): {
        '"kind": "stored_differently"': '"kind": "encoding_mismatch"',
        '"kind": "read_as_references"': '"kind": "reencoded_as_references"',
        '"kind": "other_size"': '"kind": "size_mismatch"',
    },
    ("reference", "findings"): {
        '"picture": ': '"image_index": ',
        '"usual": ': '"typical": ',
        '"kind": "differently_framed"': '"kind": "framing"',
    },
    ("category", "settings"): {'"differently_framed"': '"framing"'},
    ("drift", "state"): {'"highest": ': '"max_evidence": '},
    ("audit", "before"): {'"judgement": ': '"label": '},
    ("audit", "after"): {'"judgement": ': '"label": '},
}


def upgrade() -> None:
    for index in ("pictured", "image_sha256"):
        op.drop_index(f"ix_inspection_{index}", "inspection")
    for old, new in _COLUMNS.items():
        op.execute(f"ALTER TABLE inspection RENAME COLUMN {old} TO {new}")
    _create_indexes("with_image", "stored_bytes")
    for (table, column), names in _JSON.items():
        for old, new in names.items():
            _replace(table, column, old, new)
    op.execute("UPDATE audit SET action = 'inspection.labelled' WHERE action = 'inspection.judged'")


def downgrade() -> None:
    op.execute("UPDATE audit SET action = 'inspection.judged' WHERE action = 'inspection.labelled'")
    for (table, column), names in _JSON.items():
        for old, new in names.items():
            _replace(table, column, new, old)
    for index in ("with_image", "image_sha256"):
        op.drop_index(f"ix_inspection_{index}", "inspection")
    for old, new in _COLUMNS.items():
        op.execute(f"ALTER TABLE inspection RENAME COLUMN {new} TO {old}")
    _create_indexes("pictured", "kept_bytes")


def _create_indexes(name: str, size: str) -> None:
    where = sa.text(f"{size} IS NOT NULL")
    columns = ["category", "defect", "at", "id", size]
    op.create_index(f"ix_inspection_{name}", "inspection", columns, sqlite_where=where, postgresql_where=where)
    op.create_index(
        "ix_inspection_image_sha256", "inspection", ["image_sha256"], sqlite_where=where, postgresql_where=where
    )


def _replace(table: str, column: str, old: str, new: str) -> None:
    """Replace a text in a column of JSON, which both databases store as it was written."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    value = f"CAST({column} AS TEXT)" if postgresql else column
    replaced = f"REPLACE({value}, :old, :new)"
    statement = f"UPDATE {table} SET {column} = {f'CAST({replaced} AS JSON)' if postgresql else replaced}"
    op.execute(sa.text(f"{statement} WHERE {value} LIKE :found").bindparams(old=old, new=new, found=f"%{old}%"))

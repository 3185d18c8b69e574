"""Kept calibrations with a row for each reference, so that a change writes what it concerns. The old are carried over.

A calibration that cannot be read is left out: the service makes it again.
"""

import io
import zipfile
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_NOBODY = -1  # what short rows of ids were padded with
_ROWS = 500


def upgrade() -> None:
    connection = op.get_bind()
    old = sa.Table("calibration", sa.MetaData(), autoload_with=connection)
    kept = connection.execute(sa.select(old.c.category_id, old.c.memory_id, old.c.version, old.c.at)).all()
    results = op.create_table(
        "leave_one_out",
        sa.Column(
            "category_id", _ID, sa.ForeignKey("category.id", name="fk_leave_one_out_category_id"), nullable=False
        ),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_leave_one_out_memory_id"), nullable=False),
        sa.Column(
            "reference_id", _ID, sa.ForeignKey("reference.id", name="fk_leave_one_out_reference_id"), nullable=False
        ),
        sa.Column("group_id", sa.BigInteger, nullable=False),
        sa.Column("nearest", sa.Double),
        sa.Column("candidates", sa.LargeBinary, nullable=False),
        sa.Column("best", sa.LargeBinary, nullable=False),
        sa.Column("peers", sa.LargeBinary, nullable=False),
        sa.Column("apart", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("category_id", "memory_id", "reference_id", name="pk_leave_one_out"),
    )
    made = []
    for calibration in kept:
        key = {"category_id": calibration.category_id, "memory_id": calibration.memory_id}
        state = connection.execute(sa.select(old.c.state).filter_by(**key)).scalar_one()
        try:
            header, rows = _read(state)
        except (ValueError, KeyError, IndexError, TypeError, OSError, zipfile.BadZipFile):
            continue
        made.append({**key, "version": calibration.version, "at": calibration.at, **header})
        for start in range(0, len(rows), _ROWS):
            connection.execute(results.insert(), [{**key, **row} for row in rows[start : start + _ROWS]])
    op.drop_table("calibration")
    calibrations = _create_calibration(
        sa.Column("k", sa.Integer, nullable=False), sa.Column("rho", sa.Integer, nullable=False)
    )
    if made:
        connection.execute(calibrations.insert(), made)


def downgrade() -> None:
    # An older version makes its calibrations again.
    op.drop_table("calibration")
    op.drop_table("leave_one_out")
    _create_calibration(sa.Column("state", sa.LargeBinary, nullable=False))


def _create_calibration(*more: sa.Column[Any]) -> sa.Table:
    return op.create_table(
        "calibration",
        sa.Column(
            "category_id", _ID, sa.ForeignKey("category.id", name="fk_calibration_category_id"), primary_key=True
        ),
        sa.Column("memory_id", _ID, sa.ForeignKey("memory.id", name="fk_calibration_memory_id"), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("at", _TIME, nullable=False),
        *more,
    )


def _read(state: bytes) -> tuple[dict[str, int], list[dict[str, Any]]]:
    with np.load(io.BytesIO(state), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    rows = []
    for row, reference_id in enumerate(arrays["ids"]):
        candidates, peers, nearest = arrays["candidates"][row], arrays["peers"][row], float(arrays["nearest"][row])
        rows.append(
            {
                "reference_id": int(reference_id),
                "group_id": int(arrays["groups"][row]),
                "nearest": None if np.isnan(nearest) else nearest,
                "candidates": candidates[candidates != _NOBODY].astype("<i8").tobytes(),
                "best": arrays["best"][row].astype("<f4").tobytes(),
                "peers": peers[peers != _NOBODY].astype("<i8").tobytes(),
                "apart": arrays["apart"][row][peers != _NOBODY].astype("<f4").tobytes(),
            }
        )
    return {"k": int(arrays["k"]), "rho": int(arrays["rho"])}, rows

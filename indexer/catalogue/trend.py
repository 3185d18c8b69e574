"""Counts of inspections in equal buckets of time, aggregated by the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, case, cast, extract, func, select

from indexer.catalogue.tables import InspectionRow
from indexer.domain.trend import Trend, TrendPoint
from indexer.domain.verdict import VERDICTS


def read_trend(connection: Connection, conditions: Sequence[ColumnElement[bool]], points: int) -> Trend:
    """The inspections that meet all conditions, in at most `points` buckets of whole seconds, oldest first.

    Buckets without an inspection are left out.
    """
    categories = func.count(func.distinct(InspectionRow.category))
    bounds = select(func.min(InspectionRow.at), func.max(InspectionRow.at), func.count(), categories)
    first, last, total, category_count = connection.execute(bounds.where(*conditions)).one()
    if first is None or last is None:
        return Trend(0, 0, None, None, timedelta(seconds=1), ())
    first = first.replace(microsecond=0)
    seconds = int((last - first).total_seconds()) // points + 1
    epoch: ColumnElement[Any] = cast(func.floor(extract("epoch", InspectionRow.at)), BigInteger)
    if connection.dialect.name == "sqlite":  # where floor may not be built in, and seconds are whole already
        epoch = extract("epoch", InspectionRow.at)
    bucket = ((epoch - int(first.timestamp())) // seconds).label("bucket")
    ratio = InspectionRow.score / func.nullif(InspectionRow.threshold, 0)
    rows = connection.execute(
        select(
            bucket,
            func.count().label("amount"),
            func.avg(InspectionRow.score).label("mean"),
            func.max(InspectionRow.score).label("highest"),
            func.max(InspectionRow.threshold).label("threshold"),
            func.avg(ratio).label("mean_ratio"),
            func.max(ratio).label("max_ratio"),
            *(func.sum(case((InspectionRow.verdict == name, 1), else_=0)).label(name) for name in VERDICTS),
        )
        .where(*conditions)
        .group_by(bucket)
        .order_by(bucket)
    )
    return Trend(
        total,
        category_count,
        first,
        last,
        timedelta(seconds=seconds),
        tuple(
            TrendPoint(
                first + timedelta(seconds=row.bucket * seconds),
                row.amount,
                row.mean,
                row.highest,
                row.threshold,
                row.mean_ratio,
                row.max_ratio,
                {name: int(getattr(row, name)) for name in VERDICTS},
            )
            for row in rows
        ),
    )

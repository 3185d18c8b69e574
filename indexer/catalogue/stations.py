"""The stations of all line agents, as each last reported: one row per station, replaced by every report."""

from __future__ import annotations

from sqlalchemy import delete, func, insert, select, update

from indexer.catalogue.queries import now
from indexer.catalogue.tables import StationRow
from indexer.catalogue.transactions import Transactions
from indexer.domain.json_types import JsonObject
from indexer.domain.station import FORGOTTEN_AFTER, MAX_STATIONS, ReportedStation


class Stations:
    """The reported stations of one data folder; every replica sees them all."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def report(self, name: str, report: JsonObject) -> ReportedStation | None:
        """Keep a report in the place of the station's earlier one; None, without it, where there are too many stations.

        Stations that have not reported for a month are forgotten when a new one comes.
        """
        station = ReportedStation(name, now(), report)
        values = {"reported_at": station.reported_at, "report": report}
        with self._transactions.writing() as connection:
            if connection.execute(update(StationRow).where(StationRow.name == name).values(values)).rowcount:
                return station
            forgotten = StationRow.reported_at < station.reported_at - FORGOTTEN_AFTER
            connection.execute(delete(StationRow).where(forgotten))
            if (connection.scalar(select(func.count()).select_from(StationRow)) or 0) >= MAX_STATIONS:
                return None
            connection.execute(insert(StationRow).values(name=name, **values))
            return station

    def has_reported(self, name: str) -> bool:
        """Whether a station has reported within a month."""
        with self._transactions.reading() as connection:
            recent = (StationRow.name == name, StationRow.reported_at >= now() - FORGOTTEN_AFTER)
            return connection.scalar(select(StationRow.name).where(*recent)) is not None

    def all(self) -> list[ReportedStation]:
        """Every station, by name, unless it has not reported for a month."""
        with self._transactions.reading() as connection:
            statement = select(StationRow.name, StationRow.reported_at, StationRow.report)
            recent = statement.where(StationRow.reported_at >= now() - FORGOTTEN_AFTER)
            return [ReportedStation(*row) for row in connection.execute(recent.order_by(StationRow.name))]

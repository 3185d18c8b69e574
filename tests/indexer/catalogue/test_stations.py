"""Reported stations on both databases: one row each, forgotten after a month, and no more than there is room for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from indexer.catalogue import stations as module
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.tables import StationRow
from indexer.domain.station import FORGOTTEN_AFTER, SILENT_AFTER
from tests.helpers.data_folder_process import StoreParts


def age(catalogue: Catalogue, name: str, by: timedelta) -> None:
    """Let a report have come so much earlier."""
    [station] = [station for station in catalogue.stations.all() if station.name == name]
    with catalogue._transactions.writing() as connection:
        earlier = update(StationRow).where(StationRow.name == name).values(reported_at=station.reported_at - by)
        connection.execute(earlier)


def test_a_report_takes_the_place_of_the_earlier_one_until_a_month_has_passed(tmp_path: Path, database: str) -> None:
    catalogue = StoreParts.open(tmp_path / "data", database).catalogue
    for name, parts in (("press-2", 1), ("press-1", 2), ("press-2", 3)):
        station = catalogue.stations.report(name, {"parts": parts})
        assert station is not None
    reported = catalogue.stations.all()
    assert [(station.name, station.report) for station in reported] == [
        ("press-1", {"parts": 2}),
        ("press-2", {"parts": 3}),
    ]
    assert reported[1] == station
    assert not station.is_silent(station.reported_at + SILENT_AFTER)
    assert station.is_silent(station.reported_at + 1.1 * SILENT_AFTER)
    age(catalogue, "press-1", FORGOTTEN_AFTER)
    assert [station.name for station in catalogue.stations.all()] == ["press-2"]
    assert catalogue.stations.report("press-1", {"parts": 4}) is not None
    assert [station.name for station in catalogue.stations.all()] == ["press-1", "press-2"]
    catalogue.close()


def test_a_station_too_many_is_refused_until_one_is_forgotten(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_STATIONS", 2)
    catalogue = StoreParts.open(tmp_path / "data", database).catalogue
    assert catalogue.stations.report("press-1", {}) is not None
    assert catalogue.stations.report("press-2", {}) is not None
    assert catalogue.stations.report("press-3", {}) is None
    assert catalogue.stations.report("press-2", {"parts": 1}) is not None
    age(catalogue, "press-1", FORGOTTEN_AFTER)
    assert catalogue.stations.report("press-3", {}) is not None
    assert [station.name for station in catalogue.stations.all()] == ["press-2", "press-3"]
    catalogue.close()

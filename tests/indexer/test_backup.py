"""A backup, put back into either kind of database, is what was there; damage is found and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.backup import BackupError, backup, restore, verify
from indexer.library import BeingRestored, Library
from tests.indexer.data_folder_process import DataFolder
from tests.indexer.features import feature_space
from tests.postgres_server import PostgresServer


def quiet(done: int, total: int) -> None:
    assert done <= total


def test_a_backup_is_restored_into_the_other_kind_of_database(
    tmp_path: Path, database: str, postgres: PostgresServer
) -> None:
    data, saved, again = tmp_path / "data", tmp_path / "saved", tmp_path / "again"
    elsewhere = postgres.new_database() if database.startswith("sqlite") else f"sqlite:///{tmp_path}/restored.sqlite"
    folder = DataFolder.open(data, database)
    folder.append("bolt", [b"one", b"two"])
    first = backup(data, database, saved, quiet)
    assert (first.files, first.copied, first.damaged) == (3, 3, ())
    folder.append("bolt", [b"three"])
    second = backup(data, database, saved, quiet)
    assert (second.files, second.copied) == (5, 2)

    restore(saved, again, elsewhere, quiet)
    assert verify(again, elsewhere, quiet).damaged == ()
    other = DataFolder.open(again, elsewhere)
    assert other.catalogue.references().items == folder.catalogue.references().items
    assert other.catalogue.version() == folder.catalogue.version()
    assert other.append("bolt", [b"four"]).reference_ids[0] > folder.catalogue.references().items[-1].id
    with pytest.raises(BackupError, match="not empty"):
        restore(saved, again, elsewhere, quiet)

    victim = next((again / "segments").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1])
    gone = next((again / "originals").glob("*/*/*"))
    gone.unlink()
    found = verify(again, elsewhere, quiet).damaged
    assert f"segments/{victim.name}: not what the catalogue says" in found
    assert f"{gone.relative_to(again)}: missing" in found
    assert set(backup(again, elsewhere, tmp_path / "partial", quiet).damaged) == set(found)
    spoilt = next((saved / "files" / "segments").iterdir())
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    with pytest.raises(BackupError, match="the backup is damaged"):
        restore(saved, tmp_path / "third", f"sqlite:///{tmp_path}/third.sqlite", quiet)
    with pytest.raises(BeingRestored, match="touchstone restore"):
        Library.open(tmp_path / "third", feature_space())
    folder.catalogue.close()
    other.catalogue.close()

"""A backup, put back into either kind of database, is what was there; damage is found and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.backup import BackupError, Done, _rows, _write_lines, backup, restore, verify
from indexer.catalogue import schema
from indexer.catalogue.database import connect
from indexer.data_folder import BeingRestored, DataFolder
from indexer.library import Library
from tests.indexer.data_folder_process import StoreParts
from tests.indexer.features import feature_space
from tests.postgres_server import PostgresServer


def quiet(done: int, total: int) -> None:
    assert done <= total


def test_a_backup_is_restored_into_the_other_kind_of_database(
    tmp_path: Path, database: str, postgres: PostgresServer
) -> None:
    data, saved, again = tmp_path / "data", tmp_path / "saved", tmp_path / "again"
    elsewhere = postgres.new_database() if database.startswith("sqlite") else f"sqlite:///{tmp_path}/restored.sqlite"
    folder = StoreParts.open(data, database)
    folder.append("bolt", [b"one", b"two"])
    first = backup(DataFolder.existing(data, database), saved, quiet)
    assert (first.files, first.copied, first.damaged) == (3, 3, ())
    folder.append("bolt", [b"three"])
    second = backup(DataFolder.existing(data, database), saved, quiet)
    assert (second.files, second.copied) == (5, 2)
    new = {path: path.stat().st_size for path in data.glob("segments/*")}
    assert first.copied_bytes + second.copied_bytes == sum(new.values()) + len(b"onetwothree")

    restore(saved, again, elsewhere, quiet)
    assert verify(DataFolder.existing(again, elsewhere), quiet).damaged == ()
    other = StoreParts.open(again, elsewhere)
    assert other.catalogue.references.page().items == folder.catalogue.references.page().items
    assert other.catalogue.version() == folder.catalogue.version()
    assert other.append("bolt", [b"four"]).reference_ids[0] > folder.catalogue.references.page().items[-1].id
    with pytest.raises(FileExistsError, match="not empty"):
        restore(saved, again, elsewhere, quiet)

    victim = next((again / "segments").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1])
    gone = next((again / "originals").glob("*/*/*"))
    gone.unlink()
    found = verify(DataFolder.existing(again, elsewhere), quiet).damaged
    assert f"segments/{victim.name}: damaged" in found
    assert f"{gone.relative_to(again)}: missing" in found
    assert set(backup(DataFolder.existing(again, elsewhere), tmp_path / "partial", quiet).damaged) == set(found)
    spoilt = next((saved / "files" / "segments").iterdir())
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    with pytest.raises(BackupError, match="the backup is damaged"):
        restore(saved, tmp_path / "third", f"sqlite:///{tmp_path}/third.sqlite", quiet)
    with pytest.raises(BeingRestored, match="touchstone restore"):
        Library.open(tmp_path / "third", feature_space())
    folder.catalogue.close()
    other.catalogue.close()


def test_a_backup_by_an_older_version_is_migrated_when_it_is_restored(
    tmp_path: Path, database: str, postgres: PostgresServer
) -> None:
    elsewhere = postgres.new_database() if database.startswith("postgresql") else f"sqlite:///{tmp_path}/new.sqlite"
    folder = StoreParts.open(tmp_path / "data", database)
    folder.append("bolt", [b"one", b"two"])
    folder.catalogue.close()
    made = backup(DataFolder.existing(tmp_path / "data", database), tmp_path / "saved", quiet)
    engine = connect(database)
    schema.downgrade(engine, "0003")
    with engine.connect() as connection:  # as that version wrote them
        _write_lines(tmp_path / "saved" / "catalogues" / f"{made.name}.rows.gz", _rows(connection))
    engine.dispose()
    restore(tmp_path / "saved", tmp_path / "again", elsewhere, quiet)
    again = StoreParts.open(tmp_path / "again", elsewhere)
    assert len(again.catalogue.references.page().items) == 2
    assert again.catalogue.audit.entries().items[0].action == "backup.restored"
    again.catalogue.close()
    assert verify(DataFolder.existing(tmp_path / "again", elsewhere), quiet).damaged == ()


def test_a_backup_by_a_newer_version_is_refused(tmp_path: Path) -> None:
    made, saved, _ = saved_folder(tmp_path)
    rows = saved / "catalogues" / f"{made.name}.rows.gz"
    _write_lines(rows, [{"schema": "9999"}])
    with pytest.raises(BackupError, match="a newer version"):
        restore(saved, tmp_path / "again", f"sqlite:///{tmp_path}/new.sqlite", quiet)


@pytest.mark.parametrize("kind", ["rows", "files"])
def test_a_backup_whose_lists_are_cut_off_is_refused_and_restores_nothing(tmp_path: Path, kind: str) -> None:
    made, saved, _ = saved_folder(tmp_path)
    listed = saved / "catalogues" / f"{made.name}.{kind}.gz"
    listed.write_bytes(listed.read_bytes()[:-20])
    elsewhere = f"sqlite:///{tmp_path}/new.sqlite"
    with pytest.raises(BackupError, match="cannot be read"):
        restore(saved, tmp_path / "again", elsewhere, quiet)
    with pytest.raises(BeingRestored, match="touchstone restore"):
        Library.open(tmp_path / "again", feature_space(), database_url=elsewhere)


def test_a_good_copy_is_not_replaced_by_a_damaged_one(tmp_path: Path) -> None:
    made, saved, folder = saved_folder(tmp_path)
    later = folder.append("nut", [b"three"])
    folder.catalogue.references.remove(later.reference_ids)
    picture = next((tmp_path / "data" / "originals").glob("*/*/*"))
    picture.write_bytes(b"damaged")
    for listed in (saved / "catalogues").glob("*.files.gz"):
        kept = listed.read_bytes()
        _write_lines(listed, [])  # as if an earlier backup alone had saved it
    found = backup(DataFolder.existing(tmp_path / "data", url_of(tmp_path)), saved, quiet)
    assert found.damaged == (f"{picture.relative_to(tmp_path / 'data')}: damaged",)
    listed.write_bytes(kept)
    restore(saved, tmp_path / "again", f"sqlite:///{tmp_path}/new.sqlite", quiet, made.name)
    folder.catalogue.close()


def test_pictures_of_references_that_can_be_restored_are_saved(tmp_path: Path) -> None:
    _, saved, folder = saved_folder(tmp_path)
    folder.catalogue.references.remove([1])
    assert backup(DataFolder.existing(tmp_path / "data", url_of(tmp_path)), saved, quiet).damaged == ()
    restore(saved, tmp_path / "again", f"sqlite:///{tmp_path}/new.sqlite", quiet)
    assert len(list((tmp_path / "again" / "originals").glob("*/*/*"))) == 2
    folder.catalogue.close()


def test_a_catalogue_that_contradicts_itself_is_found(tmp_path: Path) -> None:
    _, _, folder = saved_folder(tmp_path)
    engine = connect(url_of(tmp_path))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE placement SET row = 7 WHERE reference_id = 1")
        connection.exec_driver_sql("DELETE FROM placement WHERE reference_id = 2")
    engine.dispose()
    beyond, unplaced = sorted(verify(DataFolder.existing(tmp_path / "data", url_of(tmp_path)), quiet).damaged)
    assert beyond.startswith("reference 1: placed where segment")
    assert unplaced == "reference 2: not in the memory being served"
    folder.catalogue.close()


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/catalogue.sqlite"


def saved_folder(tmp_path: Path) -> tuple[Done, Path, StoreParts]:
    """A backup of a folder with two references, where it is, and the folder."""
    folder = StoreParts.open(tmp_path / "data", url_of(tmp_path))
    folder.append("bolt", [b"one", b"two"])
    return (
        backup(DataFolder.existing(tmp_path / "data", url_of(tmp_path)), tmp_path / "saved", quiet),
        tmp_path / "saved",
        folder,
    )

"""A backup restored into either kind of database is complete; damage is detected and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from indexer.catalogue import migrations
from indexer.catalogue.data_folder import CATALOGUE_ID, DataFolder
from indexer.catalogue.dump import State
from indexer.catalogue.engine import connect
from indexer.catalogue.transactions import Transactions
from indexer.domain.errors import BeingRestored, CatalogueError, CatalogueMismatch
from indexer.jobs.backup import backup
from indexer.jobs.backup_archive import Archive, SavedFile
from indexer.jobs.backup_report import BackupReport
from indexer.jobs.backup_store import BackupError
from indexer.jobs.checked_files import write_pieces
from indexer.jobs.restore import restore
from indexer.jobs.verify import verify, verify_backup
from indexer.references.reference_store import ReferenceStore
from tests.helpers.coreset_files import condense
from tests.helpers.data_folder_process import StoreParts
from tests.helpers.postgres_server import PostgresServer
from tests.helpers.random_features import feature_space


def quiet(done: int, total: int) -> None:
    assert done <= total


def test_two_backups_at_once_write_each_file_whole(tmp_path: Path) -> None:
    target = tmp_path / "saved.png"

    def pieces() -> Iterator[bytes]:
        yield b"first, "
        write_pieces(iter((b"first, ", b"second", b"")), target, None)  # another process, in the middle of this one
        yield b"second"
        yield b""

    assert write_pieces(pieces(), target, None).bytes == len(b"first, second")
    assert target.read_bytes() == b"first, second"
    assert list(tmp_path.iterdir()) == [target]


def test_a_backup_is_restored_into_the_other_kind_of_database(
    tmp_path: Path, database: str, postgres: PostgresServer
) -> None:
    data, saved, restored = tmp_path / "data", tmp_path / "saved", tmp_path / "again"
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

    restore(saved, restored, elsewhere, quiet)
    assert verify(DataFolder.existing(restored, elsewhere), quiet).damaged == ()
    other = StoreParts.open(restored, elsewhere)
    assert other.catalogue.references.page().items == folder.catalogue.references.page().items
    assert other.catalogue.version() == folder.catalogue.version()
    assert other.append("bolt", [b"four"]).reference_ids[0] > folder.catalogue.references.page().items[-1].id
    with pytest.raises(FileExistsError, match="not empty"):
        restore(saved, restored, elsewhere, quiet)
    with pytest.raises(CatalogueError, match="not empty"):
        restore(saved, tmp_path / "beside", elsewhere, quiet)

    victim = next((restored / "segments").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1])
    gone = next((restored / "originals").glob("*/*/*"))
    gone.unlink()
    damaged = verify(DataFolder.existing(restored, elsewhere), quiet).damaged
    assert f"segments/{victim.name}: damaged" in damaged
    assert f"{gone.relative_to(restored)}: missing" in damaged
    assert set(backup(DataFolder.existing(restored, elsewhere), tmp_path / "partial", quiet).damaged) == set(damaged)
    folder.catalogue.close()
    other.catalogue.close()


def test_what_is_restored_is_an_installation_of_its_own(tmp_path: Path, postgres: PostgresServer) -> None:
    """As a staging system that is restored from a backup of the plant's."""
    _, saved, folder = saved_folder(tmp_path)
    elsewhere = postgres.new_database()
    restore(saved, tmp_path / "again", elsewhere, quiet)
    for data, url in ((tmp_path / "data", elsewhere), (tmp_path / "again", url_of(tmp_path))):
        with pytest.raises(CatalogueMismatch, match="belongs to another catalogue"):
            verify(DataFolder.existing(data, url), quiet)
    (tmp_path / "data" / CATALOGUE_ID).unlink()  # as the documentation says, where the database alone was lost
    assert verify(DataFolder.existing(tmp_path / "data", elsewhere), quiet).damaged == ()
    folder.catalogue.close()


def test_a_backup_by_an_older_version_is_migrated_when_it_is_restored(
    tmp_path: Path, database: str, postgres: PostgresServer
) -> None:
    elsewhere = postgres.new_database() if database.startswith("postgresql") else f"sqlite:///{tmp_path}/new.sqlite"
    folder = StoreParts.open(tmp_path / "data", database)
    folder.append("bolt", [b"one", b"two"])
    folder.catalogue.close()
    made = backup(DataFolder.existing(tmp_path / "data", database), tmp_path / "saved", quiet)
    engine = connect(database)
    migrations.downgrade(engine, "0003")
    with Transactions(engine).reading() as connection:  # as that version wrote them
        Archive(tmp_path / "saved").write_rows(made.name, State(connection).rows())
    engine.dispose()
    restore(tmp_path / "saved", tmp_path / "again", elsewhere, quiet)
    migrated = StoreParts.open(tmp_path / "again", elsewhere)
    assert len(migrated.catalogue.references.page().items) == 2
    assert migrated.catalogue.audit.entries().items[0].action == "backup.restored"
    migrated.catalogue.close()
    assert verify(DataFolder.existing(tmp_path / "again", elsewhere), quiet).damaged == ()


def test_a_backup_by_a_newer_version_is_refused(tmp_path: Path) -> None:
    made, saved, _ = saved_folder(tmp_path)
    Archive(saved).write_rows(made.name, [{"schema": "9999"}])
    with pytest.raises(CatalogueError, match="a newer version"):
        restore(saved, tmp_path / "again", f"sqlite:///{tmp_path}/new.sqlite", quiet)


@pytest.mark.parametrize("kind", ["rows", "files"])
def test_a_backup_whose_lists_are_cut_off_is_refused_and_restores_nothing(tmp_path: Path, kind: str) -> None:
    made, saved, _ = saved_folder(tmp_path)
    listed = saved / "catalogues" / f"{made.name}.{kind}.gz"
    listed.write_bytes(listed.read_bytes()[:-20])
    elsewhere = f"sqlite:///{tmp_path}/new.sqlite"
    with pytest.raises(BackupError, match="cannot be read"):
        verify_backup(saved, quiet)
    with pytest.raises(BackupError, match="cannot be read"):
        restore(saved, tmp_path / "again", elsewhere, quiet)
    if kind == "rows":  # the end of them is read last
        with pytest.raises(BeingRestored, match="touchstone restore"):
            ReferenceStore.open(tmp_path / "again", feature_space(), database_url=elsewhere)
    assert not (tmp_path / "again").exists() or not (tmp_path / "again" / "catalogue.sqlite").exists()


def test_a_good_copy_is_not_replaced_by_a_damaged_one(tmp_path: Path) -> None:
    made, saved, folder = saved_folder(tmp_path)
    later = folder.append("nut", [b"three"])
    folder.catalogue.references.remove(later.reference_ids)
    image = next((tmp_path / "data" / "originals").glob("*/*/*"))
    image.write_bytes(b"damaged")
    [listed] = (saved / "catalogues").glob("*.files.gz")
    stored = listed.read_bytes()
    Archive(saved).write_files(made.name, [])  # as if an earlier backup alone had saved it
    report = backup(DataFolder.existing(tmp_path / "data", url_of(tmp_path)), saved, quiet)
    assert report.damaged == (f"{image.relative_to(tmp_path / 'data')}: damaged",)
    listed.write_bytes(stored)
    restore(saved, tmp_path / "again", f"sqlite:///{tmp_path}/new.sqlite", quiet, made.name)
    folder.catalogue.close()


def test_images_of_references_that_can_be_restored_are_saved(tmp_path: Path) -> None:
    _, saved, folder = saved_folder(tmp_path)
    folder.catalogue.references.remove([1])
    assert backup(DataFolder.existing(tmp_path / "data", url_of(tmp_path)), saved, quiet).damaged == ()
    restore(saved, tmp_path / "again", f"sqlite:///{tmp_path}/new.sqlite", quiet)
    assert len(list((tmp_path / "again" / "originals").glob("*/*/*"))) == 2
    folder.catalogue.close()


@pytest.mark.parametrize("lost", ["nothing", "its copy", "it, before the backup"])
def test_a_coreset_is_saved_and_asked_for_again_when_it_is_lost(tmp_path: Path, database: str, lost: str) -> None:
    data, saved, again = tmp_path / "data", tmp_path / "saved", tmp_path / "again"
    folder = StoreParts.open(data, database)
    folder.append("bolt", [b"one"])
    name = f"coresets/{condense(data, folder.catalogue, 'bolt').name}"
    if lost == "it, before the backup":
        (data / name).unlink()
    damaged = () if lost != "it, before the backup" else (f"{name}: missing",)
    assert verify(DataFolder.existing(data, database), quiet).damaged == damaged
    assert backup(DataFolder.existing(data, database), saved, quiet).damaged == damaged
    if lost == "its copy":
        spoil(saved / "files" / name, same_size=True)
        damaged = (f"{name}: damaged",)
        assert verify_backup(saved, quiet).damaged == damaged
    done = restore(saved, again, f"sqlite:///{tmp_path}/new.sqlite", quiet)
    assert (done.damaged, done.unserved) == (damaged if lost == "its copy" else (), 0)
    place = DataFolder.existing(again, f"sqlite:///{tmp_path}/new.sqlite")
    assert verify(place, quiet).damaged == ()
    restored = StoreParts.open(again, f"sqlite:///{tmp_path}/new.sqlite").catalogue
    [before], [after] = folder.catalogue.coresets.of("bolt"), restored.coresets.of("bolt")
    if lost == "nothing":
        assert after == before
        assert (again / name).read_bytes() == (data / name).read_bytes()
        (again / name).write_bytes(b"")
        assert verify(place, quiet).damaged == (f"{name}: damaged",)
    else:
        assert (after.target, after.result, restored.coresets.finished(folder.memory.id)) == (before.target, None, ())
        assert restored.coresets.requested() == (after,)
    restored.close()
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
    return f"sqlite:///{folder}/data/catalogue.sqlite"


def saved_folder(tmp_path: Path) -> tuple[BackupReport, Path, StoreParts]:
    """A backup of a folder with two references, where it is, and the folder."""
    folder = StoreParts.open(tmp_path / "data", url_of(tmp_path))
    folder.append("bolt", [b"one", b"two"])
    return (
        backup(DataFolder.existing(tmp_path / "data", url_of(tmp_path)), tmp_path / "saved", quiet),
        tmp_path / "saved",
        folder,
    )


def spoil(path: Path, *, same_size: bool = False) -> None:
    """Damage a file, so that its size shows it or not."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + (bytes([content[-1] ^ 1]) if same_size else b""))


def make_unreadable(path: Path) -> None:
    """Put a file in its place whose reading is an input/output error."""
    path.unlink()
    path.symlink_to("/proc/self/mem")


def test_what_is_whole_is_restored_and_the_rest_is_named(tmp_path: Path) -> None:
    _, saved, folder = saved_folder(tmp_path)
    folder.append("nut", [b"three", b"four"])
    made = backup(DataFolder.existing(tmp_path / "data"), saved, quiet)
    placed = folder.catalogue.segments.changes_since(0, folder.memory.id).added
    lost, whole = (f"segments/{segment.segment.name}" for segment in placed)
    images = sorted(str(path.relative_to(saved / "files")) for path in (saved / "files").glob("originals/*/*/*"))
    spoil(saved / "files" / lost)
    (saved / "files" / images[0]).unlink()
    make_unreadable(saved / "files" / images[1])
    expected = {f"{lost}: damaged", f"{images[0]}: missing", f"{images[1]}: cannot be read: Input/output error"}
    assert set(verify_backup(saved, quiet).damaged) == expected
    done = restore(saved, tmp_path / "again", None, quiet)
    assert set(done.damaged) == expected
    assert (done.name, done.files, done.copied, done.unserved) == (made.name, 6, 3, 2)
    restored = StoreParts.open(tmp_path / "again")
    assert restored.catalogue.references.page().items == folder.catalogue.references.page().items
    assert (tmp_path / "again" / whole).read_bytes() == (tmp_path / "data" / whole).read_bytes()
    left = {f"{lost}: missing", f"{images[0]}: missing", f"{images[1]}: missing"}
    assert set(verify(DataFolder.existing(tmp_path / "again"), quiet).damaged) == left
    restored.catalogue.close()
    folder.catalogue.close()


def test_an_unreadable_file_does_not_prevent_the_backup_of_others(tmp_path: Path) -> None:
    folder = StoreParts.open(tmp_path / "data")
    folder.append("bolt", [b"one", b"two"])
    images = sorted((tmp_path / "data").glob("originals/*/*/*"))
    make_unreadable(images[0])
    problem = f"{images[0].relative_to(tmp_path / 'data')}: cannot be read: Input/output error"
    place = DataFolder.existing(tmp_path / "data")
    assert verify(place, quiet).damaged == (problem,)
    done = backup(place, tmp_path / "saved", quiet)
    assert (done.files, done.copied, done.damaged) == (3, 2, (problem,))
    assert verify_backup(tmp_path / "saved", quiet).files == 2
    folder.catalogue.close()


def test_a_copy_that_lost_its_size_is_made_anew_and_one_that_lost_its_checksum_when_all_is_read(tmp_path: Path) -> None:
    _, saved, folder = saved_folder(tmp_path)
    place = DataFolder.existing(tmp_path / "data")
    short, gone, changed = sorted(path for path in (saved / "files").rglob("*") if path.is_file())
    spoil(short)
    gone.unlink()
    spoil(changed, same_size=True)
    assert len(verify_backup(saved, quiet).damaged) == 3
    done = backup(place, saved, quiet)
    names = [str(path.relative_to(saved / "files")) for path in (short, gone, changed)]
    assert done.damaged == ()
    assert done.mended == (
        f"{names[0]}: the copy of it in the backup: damaged; it was copied again",
        f"{names[1]}: the copy of it in the backup: missing; it was copied again",
    )
    assert verify_backup(saved, quiet).damaged == (f"{names[2]}: damaged",)
    done = backup(place, saved, quiet, read_all=True)
    assert done.mended == (f"{names[2]}: the copy of it in the backup: damaged; it was copied again",)
    assert verify_backup(saved, quiet).damaged == ()
    spoil(short)
    spoil(tmp_path / "data" / names[0])
    lost = f"{names[0]}: damaged; the copy of it in the backup: damaged"
    assert backup(place, saved, quiet).damaged == (lost,)
    folder.catalogue.close()


def test_an_unreadable_list_is_reported_and_the_previous_backup_is_the_base(tmp_path: Path) -> None:
    first, saved, folder = saved_folder(tmp_path)
    place = DataFolder.existing(tmp_path / "data")
    second = backup(place, saved, quiet)
    listed = saved / "catalogues" / f"{second.name}.files.gz"
    listed.write_bytes(listed.read_bytes()[:-20])
    third = backup(place, saved, quiet)
    assert third.copied == 0
    [told] = third.damaged
    assert told.startswith(f"backup {second.name} cannot be read")
    assert verify_backup(saved, quiet).name == third.name
    assert verify_backup(saved, quiet, first.name).damaged == ()
    with pytest.raises(BackupError, match="there is no backup 'x'"):
        verify_backup(saved, quiet, "x")
    folder.catalogue.close()


@pytest.mark.parametrize(
    "file",
    [
        *(
            SavedFile(path, "0" * 64, 1)
            for path in ("../outside.png", "/etc/passwd", "catalogue.sqlite", "segments/../../outside", "", ".")
        ),
        *(SavedFile(path, "0" * 64, 1) for path in ("segments", "segments/\0")),
        SavedFile(cast(str, 7), "0" * 64, 1),
        SavedFile("segments/a", cast(str, None), 1),
        SavedFile("segments/a", "0" * 64, cast(int, "1")),
    ],
)
def test_a_backup_that_names_no_file_of_a_data_folder_is_refused(tmp_path: Path, file: SavedFile) -> None:
    made, saved, folder = saved_folder(tmp_path)
    Archive(saved).write_files(made.name, [file])
    with pytest.raises(BackupError, match="cannot be read"):
        restore(saved, tmp_path / "again", None, quiet)
    assert not (tmp_path / "again").exists()
    folder.catalogue.close()

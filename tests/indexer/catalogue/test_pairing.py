"""Which data folder and which catalogue open together, and that neither loses a file where they do not."""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest

from indexer.catalogue import migrations
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import CATALOGUE_ID, DataFolder
from indexer.catalogue.engine import connect
from indexer.domain.errors import CatalogueMismatch
from tests.helpers.data_folder_process import StoreParts
from tests.helpers.new_catalogue import new_catalogue
from tests.helpers.postgres_server import PostgresServer

IMAGE = b"two lines may have taught the same image"


@pytest.fixture
def another(database: str, tmp_path: Path, postgres: PostgresServer) -> str:
    """Another new database of the same kind."""
    if database.startswith("sqlite"):
        return new_catalogue(tmp_path / "another.sqlite")
    return postgres.new_database(migrated=True)


def fill(data: Path, url: str, *, paired: bool) -> None:
    """Two references in a data folder, as a version left them that knew of no pairs, or as this one does."""
    if paired:
        Catalogue.of(DataFolder.created(data, url)).close()
    parts = StoreParts.open(data, url)
    parts.append("bolt", [IMAGE, str(data).encode()])
    parts.catalogue.close()


def paired_id(data: Path, url: str) -> str:
    """The id that both have once they have been opened together."""
    folder = DataFolder.existing(data, url)
    catalogue = Catalogue.of(folder)
    of_catalogue = catalogue.identity.find()
    catalogue.close()
    assert of_catalogue is not None
    assert folder.catalogue_id() == of_catalogue
    return of_catalogue


def forget_id(url: str) -> None:
    """As a catalogue is that was restored to the state of an earlier version."""
    engine = connect(url)
    migrations.downgrade(engine, "0018")
    migrations.upgrade(engine)
    engine.dispose()


def write_uncommitted(data: Path) -> None:
    """A segment that the catalogue does not name yet."""
    (data / "segments").mkdir(exist_ok=True)
    (data / "segments" / f"{'0' * 32}.segment").write_bytes(b"not committed")


def files(data: Path) -> set[Path]:
    return {path for folder in ("segments", "originals") for path in (data / folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("catalogue_paired", [False, True])
@pytest.mark.parametrize("folder_paired", [False, True])
def test_the_catalogue_of_another_folder_is_refused(
    tmp_path: Path, database: str, another: str, folder_paired: bool, catalogue_paired: bool
) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    fill(data, database, paired=folder_paired)
    fill(other, another, paired=catalogue_paired)
    before = files(data), files(other)
    for root, url in ((data, another), (other, database)):
        with pytest.raises(CatalogueMismatch, match=r"belongs to another catalogue than .* name the database"):
            Catalogue.of(DataFolder.existing(root, url))
    assert (files(data), files(other)) == before
    assert paired_id(data, database) != paired_id(other, another)


@pytest.mark.parametrize("left", ["all", "images only"])
def test_a_folder_and_a_catalogue_of_an_earlier_version_become_a_pair(
    tmp_path: Path, database: str, another: str, left: str
) -> None:
    data = tmp_path / "data"
    fill(data, database, paired=False)
    if left == "images only":
        shutil.rmtree(data / "segments")
    first = paired_id(data, database)
    assert paired_id(data, database) == first
    with pytest.raises(CatalogueMismatch, match=r"belongs to another catalogue than .*, which is empty"):
        Catalogue.of(DataFolder.existing(data, another))


def test_an_empty_folder_is_not_the_one_of_a_catalogue_that_names_files(tmp_path: Path, database: str) -> None:
    fill(tmp_path / "data", database, paired=False)
    for _ in range(2):
        with pytest.raises(CatalogueMismatch, match=r"is empty, and .* see that it is mounted"):
            Catalogue.of(DataFolder.created(tmp_path / "not mounted", database))
        of_catalogue = paired_id(tmp_path / "data", database)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / CATALOGUE_ID).write_text(f"{of_catalogue}\n")  # as the documentation says
    assert paired_id(tmp_path / "lost", database) == of_catalogue


@pytest.mark.parametrize("cut", ["before the folder has its id", "while it is written"])
def test_a_pair_is_completed_that_a_crash_left_half_made(tmp_path: Path, database: str, cut: str) -> None:
    data = tmp_path / "data"
    catalogue = Catalogue.open(database)
    proposed = catalogue.identity.ensure("0" * 32)
    assert catalogue.identity.ensure("1" * 32) == proposed
    catalogue.close()
    if cut == "while it is written":
        data.mkdir(exist_ok=True)
        (data / CATALOGUE_ID).write_text("000")
    assert paired_id(DataFolder.created(data, database).root, database) == proposed


def test_what_a_crash_left_of_the_first_addition_is_no_other_catalogues(tmp_path: Path, database: str) -> None:
    data = tmp_path / "data"
    Catalogue.of(DataFolder.created(data, database)).close()
    write_uncommitted(data)
    paired_id(data, database)


def test_a_catalogue_that_lost_its_id_gets_that_of_the_folder_whose_files_it_names(
    tmp_path: Path, database: str, another: str
) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    fill(data, database, paired=True)
    fill(other, another, paired=True)
    before = paired_id(data, database)
    forget_id(database)
    with pytest.raises(CatalogueMismatch):
        Catalogue.of(DataFolder.existing(other, database))
    assert paired_id(data, database) == before


def test_a_folder_whose_id_was_deleted_is_paired_anew_with_the_catalogue_that_names_its_files(
    tmp_path: Path, database: str, another: str
) -> None:
    data = tmp_path / "data"
    fill(data, database, paired=True)
    fill(tmp_path / "other", another, paired=True)
    before = paired_id(data, database)
    (data / CATALOGUE_ID).unlink()
    with pytest.raises(CatalogueMismatch):
        Catalogue.of(DataFolder.existing(data, another))
    assert paired_id(data, database) == before


def test_an_empty_folder_stays_with_the_catalogue_that_it_was_opened_with(
    tmp_path: Path, database: str, another: str
) -> None:
    """Whoever has it open may add files at any moment."""
    data = tmp_path / "data"
    Catalogue.of(DataFolder.created(data, database)).close()
    with pytest.raises(CatalogueMismatch):
        Catalogue.of(DataFolder.existing(data, another))


def test_a_copied_folder_opens_where_it_was_copied_to(tmp_path: Path) -> None:
    fill(tmp_path / "data", new_catalogue(tmp_path / "catalogue.sqlite"), paired=True)
    shutil.copy(tmp_path / "catalogue.sqlite", tmp_path / "data" / "catalogue.sqlite")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    Catalogue.of(DataFolder.existing(tmp_path / "copy")).close()


def id_opened_with(data: Path, url: str, image: bytes) -> str | None:
    """The id of a catalogue that is opened with a folder, to which an image is added at once; None if it is refused."""
    try:
        catalogue = Catalogue.of(DataFolder.created(data, url))
    except CatalogueMismatch:
        return None
    parts = StoreParts.open(data, url)
    parts.append("bolt", [image])
    parts.catalogue.close()
    of_catalogue = catalogue.identity.find()
    catalogue.close()
    return of_catalogue


def test_replicas_that_open_a_new_folder_at_once_make_one_pair(tmp_path: Path, database: str) -> None:
    start = Barrier(6)

    def opened(number: int) -> str | None:
        start.wait()
        return id_opened_with(tmp_path / "data", database, f"image {number}".encode())

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(opened, range(6))) == {paired_id(tmp_path / "data", database)}


class Overtaken(DataFolder):
    """A folder that another replica opens, and is adding to, just before its files are listed."""

    def files(self, *folders: str) -> Iterator[str]:
        Catalogue.of(DataFolder(self.root, self.database)).close()
        write_uncommitted(self.root)
        return super().files(*folders)


def test_a_replica_that_is_overtaken_by_another_joins_the_pair(tmp_path: Path, database: str) -> None:
    folder = DataFolder.created(tmp_path / "data", database)
    Catalogue.of(Overtaken(folder.root, folder.database)).close()
    paired_id(folder.root, database)


def test_of_two_catalogues_that_open_a_new_folder_at_once_one_gets_it(tmp_path: Path, database: str) -> None:
    file = DataFolder.created(tmp_path / "data", database).root / CATALOGUE_ID
    with ThreadPoolExecutor(1) as pool, file.open("w") as claimed, closing(Catalogue.open(database)) as catalogue:
        fcntl.flock(claimed, fcntl.LOCK_EX)  # as the other does while it writes its id
        opening = pool.submit(id_opened_with, tmp_path / "data", database, IMAGE)
        while catalogue.identity.find() is None:
            time.sleep(0.01)
        claimed.write("0" * 32)
        claimed.flush()
        fcntl.flock(claimed, fcntl.LOCK_UN)
        assert opening.result() is None
    assert file.read_text() == "0" * 32

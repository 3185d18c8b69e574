"""`touchstone migrate` upgrades what an earlier version left."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from indexer.catalogue import migrations
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.dump import State
from indexer.catalogue.engine import connect
from indexer.catalogue.transactions import Transactions
from indexer.domain.encoding import Encoding
from indexer.imaging.decode import decode_image
from indexer.jobs.backup_archive import Archive
from tests.helpers.commands import touchstone
from tests.helpers.part_images import part

SAMPLINGS = {"4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, "4:4:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440}


def jpeg(seed: int, subsampling: str | None) -> bytes:
    """A part as a JPEG; None for a grey one."""
    pixels = cv2.cvtColor(decode_image(part(seed)), cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, 90]
    if subsampling is None:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    else:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[subsampling]]
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def encodings(data: Path) -> dict[str, Encoding]:
    """By file name, of the references of a folder."""
    with closing(Catalogue.open(f"sqlite:///{data}/catalogue.sqlite")) as catalogue:
        return {
            reference.filename: Encoding.from_json(reference.encoding or "")
            for reference in catalogue.references.page().items
        }


def note_as_grey(data: Path) -> None:
    """As an earlier version noted colour JPEGs of an unusual subsampling, at its schema."""
    url = f"sqlite:///{data}/catalogue.sqlite"
    with closing(Catalogue.open(url)) as catalogue:
        catalogue.references.correct_encodings(
            {
                reference.image_sha256: replace(encoding, subsampling=None).to_json()
                for reference in catalogue.references.page().items
                for encoding in [Encoding.from_json(reference.encoding or "")]
                if encoding.subsampling == "4:4:0"
            }
        )
    engine = connect(url)
    migrations.downgrade(engine, "0018")
    engine.dispose()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with references of every kind."""
    parts = tmp_path / "parts" / "disc"
    parts.mkdir(parents=True)
    for name, seed, subsampling in (("a", 1, "4:4:0"), ("b", 2, "4:2:0"), ("c", 3, None), ("d", 4, "4:4:0")):
        (parts / f"{name}.jpg").write_bytes(jpeg(seed, subsampling))
    (parts / "e.png").write_bytes(part(5))
    assert touchstone("index", tmp_path / "parts", data=tmp_path / "data").exit_code == 0
    return tmp_path / "data"


def test_colour_jpegs_that_were_noted_as_grey_ones_are_noted_anew(tmp_path: Path, data: Path) -> None:
    before = encodings(data)
    assert before["d.jpg"].subsampling == "4:4:0"
    original = (tmp_path / "parts" / "disc" / "a.jpg").read_bytes()
    lost = hashlib.sha256(original).hexdigest()
    file = next((data / "originals").rglob(f"{lost}.*"))
    file.unlink()
    note_as_grey(data)
    done = touchstone("migrate", data=data)
    assert done.exit_code == 0, done.output
    assert "corrected: 1." in done.output
    assert "cannot be read: 1." in done.output
    assert encodings(data) == before | {"a.jpg": replace(before["a.jpg"], subsampling=None)}
    again = touchstone("migrate", data=data).output
    assert "corrected" not in again
    assert "cannot be read: 1." in again
    file.write_bytes(original)
    assert "corrected: 1." in touchstone("migrate", data=data).output
    assert encodings(data) == before
    file.unlink()  # nothing is read any more
    assert touchstone("migrate", data=data).output == "The catalogue is up to date.\n"


def test_they_are_noted_anew_after_a_migration_that_was_killed_once_it_had_changed_the_schema(data: Path) -> None:
    before = encodings(data)
    note_as_grey(data)
    Catalogue.migrate(f"sqlite:///{data}/catalogue.sqlite")
    assert "corrected: 2." in touchstone("migrate", data=data).output
    assert encodings(data) == before


def test_they_are_noted_anew_when_a_backup_by_an_earlier_version_is_restored(tmp_path: Path, data: Path) -> None:
    before = encodings(data)
    assert touchstone("backup", tmp_path / "saved", data=data).exit_code == 0
    note_as_grey(data)
    archive = Archive(tmp_path / "saved")
    engine = connect(f"sqlite:///{data}/catalogue.sqlite")
    with Transactions(engine).reading() as connection:  # as that version wrote them
        archive.write_rows(archive.choose(None), State(connection).rows())
    engine.dispose()
    done = touchstone("restore", tmp_path / "saved", data=tmp_path / "again")
    assert done.exit_code == 0, done.output
    assert encodings(tmp_path / "again") == before

"""Labelled test sets on both databases: files, labels, backup, and evaluations that go on or are given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from indexer.catalogue.data_folder import DataFolder
from indexer.catalogue.engine import connect
from indexer.catalogue.labelled_sets import MAX_EVALUATIONS, NewLabelledImage
from indexer.catalogue.live_references import RESTORABLE
from indexer.catalogue.tables import LabelledImageRow
from indexer.domain.errors import CategoryNotFound, EvaluationNotFound, LabelledImageNotFound
from indexer.domain.labelled_set import LabelledResult
from indexer.jobs.backup import backup
from indexer.jobs.restore import restore
from indexer.jobs.verify import verify
from tests.helpers.data_folder_process import StoreParts
from tests.helpers.postgres_server import PostgresServer


def new(folder: StoreParts, data: bytes) -> NewLabelledImage:
    """An image whose file is stored."""
    return NewLabelledImage("p.png", folder.originals.write(data, ".png"), ".png", 4, 3)


def result(image_id: int, verdict: str = "normal") -> LabelledResult:
    return LabelledResult(image_id, 0.25, 0.5, 0.75, verdict, ({"box": [0, 0, 1, 1], "peak": 0.5},), True)


def test_images_and_masks_are_kept_swept_once_they_are_out_and_restored_from_a_backup(
    tmp_path: Path, database: str, postgres: PostgresServer
) -> None:
    folder = StoreParts.open(tmp_path / "data", database)
    folder.append("bolt", [b"reference"])
    sets = folder.catalogue.labelled_sets
    images = [new(folder, b"good"), new(folder, b"bad")]
    [(good, _)] = sets.add("bolt", images[:1], defective=False)
    [(bad, _)] = sets.add("bolt", images[1:], defective=True)
    assert sets.add("bolt", images[1:], defective=True) == [(bad, False)]
    mask = folder.originals.write(b"mask", ".png")
    assert sets.set_mask("bolt", bad, mask, ".png").mask_sha256 == mask
    evaluation = sets.begin("bolt", "key", 1, {"k": 150}, 2)
    assert evaluation is not None
    assert sets.record(evaluation.id, result(good))
    folder.sweep()
    assert len(list((tmp_path / "data" / "originals").glob("*/*/*"))) == 4

    backup(DataFolder.existing(tmp_path / "data", database), tmp_path / "saved", lambda done, total: None)
    sqlite = database.startswith("sqlite")
    elsewhere = postgres.new_database() if sqlite else f"sqlite:///{tmp_path}/restored.sqlite"
    restore(tmp_path / "saved", tmp_path / "again", elsewhere, lambda done, total: None)
    assert verify(DataFolder.existing(tmp_path / "again", elsewhere), lambda done, total: None).damaged == ()
    other = StoreParts.open(tmp_path / "again", elsewhere)
    assert other.catalogue.labelled_sets.images("bolt") == sets.images("bolt")
    assert other.catalogue.labelled_sets.results("bolt", evaluation.id) == sets.results("bolt", evaluation.id)
    other.catalogue.close()

    sets.remove("bolt", bad)
    sets.remove("bolt", bad)
    folder.catalogue.categories.remove("bolt")
    assert sets.all_images() == {}
    folder.catalogue.categories.restore("bolt")
    assert [image.id for image in sets.images("bolt")] == [good]
    folder.sweep()
    assert len(list((tmp_path / "data" / "originals").glob("*/*/*"))) == 4
    engine = connect(database)
    with engine.begin() as connection:
        long_ago = datetime.now(UTC) - RESTORABLE - timedelta(days=1)
        out = update(LabelledImageRow).where(LabelledImageRow.removed_at.is_not(None))
        connection.execute(out.values(removed_at=long_ago))
    engine.dispose()
    folder.sweep()
    assert len(list((tmp_path / "data" / "originals").glob("*/*/*"))) == 2
    with pytest.raises(LabelledImageNotFound):
        sets.image("bolt", bad)
    with pytest.raises(CategoryNotFound):
        sets.images("nut")
    folder.catalogue.close()


def test_an_evaluation_goes_on_until_it_is_overtaken_and_keeps_the_labels_that_it_was_made_with(
    tmp_path: Path, database: str
) -> None:
    folder = StoreParts.open(tmp_path / "data", database)
    folder.append("bolt", [b"reference"])
    sets = folder.catalogue.labelled_sets
    image = new(folder, b"image")
    [(first, _)] = sets.add("bolt", [image], defective=False)
    begun = sets.begin("bolt", "one", 1, {}, 1)
    assert begun is not None
    assert sets.begin("bolt", "one", 1, {}, 1) == begun
    overtaken = sets.begin("bolt", "two", 2, {}, 1)
    assert overtaken is not None
    assert not sets.record(begun.id, result(first))
    assert sets.record(overtaken.id, result(first))
    assert sets.record(overtaken.id, result(first, "anomalous"))  # by another replica, too late
    sets.finish(overtaken.id)
    assert sets.begin("bolt", "two", 2, {}, 1) is None
    [(second, changed)] = sets.add("bolt", [image], defective=True)
    assert (changed, second != first) == (True, True)
    [(labelled, results)] = sets.results("bolt", overtaken.id)
    assert (labelled.defective, results) == (False, result(first))
    assert sets.all_images()["bolt"][0].defective
    with pytest.raises(EvaluationNotFound):
        sets.results("bolt", begun.id)
    for turn in range(MAX_EVALUATIONS + 3):
        evaluation = sets.begin("bolt", f"later {turn}", 3, {}, 1)
        assert evaluation is not None
        sets.finish(evaluation.id)
    assert len(sets.evaluations("bolt")) == MAX_EVALUATIONS
    folder.catalogue.close()

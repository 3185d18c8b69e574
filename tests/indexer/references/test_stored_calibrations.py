"""Leave-one-out results in the catalogue: kept by reference, changed where they differ, carried over and backed up."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import Engine, event, insert, select

from indexer.calibration.leave_one_out import LeaveOneOut, leave_one_out
from indexer.calibration.serialisation import to_stored
from indexer.catalogue import migrations
from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.catalogue.engine import connect
from indexer.catalogue.tables import LeaveOneOutRow
from indexer.domain.errors import CategoryNotFound
from indexer.domain.leave_one_out import StoredCalibration, StoredReferenceResult
from indexer.domain.stored_file import NamedFile
from indexer.jobs.backup import backup
from indexer.jobs.restore import restore
from indexer.references.reference_store import ReferenceStore
from indexer.references.stored_calibrations import read_stored
from indexer.search import TorchEngine
from tests.helpers.leave_one_out import assert_same, finished
from tests.helpers.random_features import feature_space
from tests.helpers.references import add

ENGINE = TorchEngine(torch.device("cpu"))
K, RHO = 3, 1


@pytest.fixture
def library(tmp_path: Path, database: str) -> Iterator[ReferenceStore]:
    """Forty references, of which each is searched for among three."""
    opened = ReferenceStore.open(tmp_path / "data", feature_space(), database_url=database)
    add(opened, "disc", *range(40))
    add(opened, "plate", *range(5))
    yield opened
    opened.close()


def searched(library: ReferenceStore, before: LeaveOneOut | None = None, category: str = "disc") -> LeaveOneOut:
    return finished(leave_one_out(library.memory, ENGINE, category, K, RHO, before))


def keep(
    library: ReferenceStore, category: str, found: LeaveOneOut, base: StoredCalibration | None = None
) -> StoredCalibration:
    stored = to_stored(library.memory.version, found)
    library.catalogue.calibrations.store(category, library.memory_id, stored, base)
    return stored


@contextmanager
def written(library: ReferenceStore) -> Iterator[list[int]]:
    """The reference ids of results that are inserted meanwhile."""
    ids: list[int] = []
    engine: Engine = library.catalogue._transactions._writer

    def note(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("INSERT INTO leave_one_out"):
            ids.extend(compiled_parameter["reference_id"] for compiled_parameter in context.compiled_parameters)

    event.listen(engine, "before_cursor_execute", note)
    yield ids
    event.remove(engine, "before_cursor_execute", note)


def test_what_is_kept_is_read_again_exactly(library: ReferenceStore) -> None:
    found = searched(library)
    stored = keep(library, "disc", found)
    keep(library, "plate", searched(library, category="plate"))
    assert library.catalogue.calibrations.read("disc", library.memory_id) == stored
    again = read_stored(library, "disc")
    assert again is not None
    assert again[0] == library.memory.version
    assert_same(again[1], found)
    for one, other in zip(vars(again[1]).values(), vars(found).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert read_stored(library, "nut") is None
    with pytest.raises(CategoryNotFound):
        library.catalogue.calibrations.store("nut", library.memory_id, stored)


def test_a_change_of_one_reference_writes_the_results_that_it_concerns(library: ReferenceStore) -> None:
    found = searched(library)
    base = keep(library, "disc", found)
    with written(library) as ids:
        [fresh] = add(library, "disc", 100)
        more = searched(library, found)
        after = keep(library, "disc", more, base)
    assert fresh in ids
    assert len(ids) < 20, "of 41, three of which are searched for each"
    assert library.catalogue.calibrations.read("disc", library.memory_id) == after
    with written(library) as ids:
        library.remove([fresh])
        less = keep(library, "disc", searched(library, more), after)
    assert len(ids) < 20
    assert library.catalogue.calibrations.read("disc", library.memory_id) == less
    assert [reference.reference_id for reference in less.references] == [
        reference.reference_id for reference in base.references
    ]


def test_a_change_against_what_another_process_has_replaced_is_kept_whole(library: ReferenceStore) -> None:
    found = searched(library)
    base = keep(library, "disc", found)
    add(library, "disc", 100)
    theirs = searched(library, found)
    keep(library, "disc", theirs, base)
    add(library, "disc", 101)
    ours = keep(library, "disc", searched(library, found), base)  # which knows nothing of theirs
    assert library.catalogue.calibrations.read("disc", library.memory_id) == ours
    older = replace(ours, version=ours.version - 1, references=ours.references[:3])
    with written(library) as ids:
        library.catalogue.calibrations.store("disc", library.memory_id, older)
        library.catalogue.calibrations.store("disc", library.memory_id, ours)
    assert ids == []
    assert library.catalogue.calibrations.read("disc", library.memory_id) == ours


def test_a_calibration_that_does_not_fit_is_recomputed(
    library: ReferenceStore, caplog: pytest.LogCaptureFixture
) -> None:
    reference = int(library.memory.ids[0])
    odd = StoredCalibration(1, K, RHO, (StoredReferenceResult(reference, reference, None, b"", b"abc", b"", b""),))
    library.catalogue.calibrations.store("disc", library.memory_id, odd)
    assert read_stored(library, "disc") is None
    assert "computed again" in caplog.text


def test_removing_a_category_removes_its_results(library: ReferenceStore) -> None:
    keep(library, "disc", searched(library))
    stored = keep(library, "plate", searched(library, category="plate"))
    library.remove_category("disc")
    add(library, "disc", 1)
    assert library.catalogue.calibrations.read("disc", library.memory_id) is None
    with library.catalogue._transactions.reading() as connection:
        assert len(connection.execute(select(LeaveOneOutRow.reference_id)).all()) == 5
    assert library.catalogue.calibrations.read("plate", library.memory_id) == stored


def blob(found: LeaveOneOut) -> bytes:
    """As revisions before 0005 kept it."""
    file = io.BytesIO()
    np.savez(file, **{{"distances": "apart"}.get(name, name): value for name, value in vars(found).items()})
    return file.getvalue()


def as_before(url: str, library: ReferenceStore, states: dict[str, bytes]) -> None:
    """The database as an older version left it, with these blobs."""
    engine = connect(url)
    migrations.downgrade(engine, "0004")
    with engine.begin() as connection:
        from sqlalchemy import MetaData

        tables = MetaData()
        tables.reflect(connection)
        categories = tables.tables["category"]
        for name, state in states.items():
            category_id = connection.scalar(select(categories.c.id).where(categories.c.name == name))
            connection.execute(
                insert(tables.tables["calibration"]).values(
                    category_id=category_id,
                    memory_id=library.memory_id,
                    version=library.memory.version,
                    state=state,
                    at=connection.scalar(select(categories.c.created_at).where(categories.c.name == name)),
                )
            )
    engine.dispose()


def test_a_migration_carries_over_what_was_kept_and_passes_over_what_cannot_be_read(
    library: ReferenceStore, database: str
) -> None:
    found = searched(library)
    as_before(database, library, {"disc": blob(found), "plate": b"PK of another layout"})
    Catalogue.migrate(database)
    again = read_stored(library, "disc")
    assert again is not None
    assert again[0] == library.memory.version
    for one, other in zip(vars(again[1]).values(), vars(found).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert read_stored(library, "plate") is None


def test_a_backup_carries_results_also_one_by_an_older_version(
    library: ReferenceStore, database: str, tmp_path: Path
) -> None:
    found = searched(library)
    stored = keep(library, "disc", found)
    data = tmp_path / "data"
    backup(DataFolder.existing(data, database), tmp_path / "backup", lambda *_: None)
    with library.catalogue.dump.state() as state:
        files = state.files()
    as_before(database, library, {"disc": blob(found)})
    library.catalogue._transactions.close()
    for name, made in (("new", None), ("old", _older_backup(data, database, tmp_path, files))):
        there = tmp_path / name
        restore(made or tmp_path / "backup", there, None, lambda *_: None)
        opened = ReferenceStore.open(there, feature_space())
        assert opened.catalogue.calibrations.read("disc", opened.memory_id) == stored
        opened.close()


def _older_backup(data: Path, url: str, folder: Path, files: tuple[NamedFile, ...]) -> Path:
    with pytest.MonkeyPatch.context() as patched:
        # As that version would find its own schema right, and the files that its columns name.
        patched.setattr(migrations, "check", lambda _: None)
        patched.setattr("indexer.catalogue.dump.named_files", lambda _: iter(files))
        backup(DataFolder.existing(data, url), folder / "older", lambda *_: None)
    return folder / "older"

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
from indexer.jobs.backup import backup
from indexer.jobs.backup_archive import Archive
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
def reference_store(tmp_path: Path, database: str) -> Iterator[ReferenceStore]:
    """Forty references, of which each is searched for among three."""
    opened = ReferenceStore.open(tmp_path / "data", feature_space(), database_url=database)
    add(opened, "disc", *range(40))
    add(opened, "plate", *range(5))
    yield opened
    opened.close()


def searched(reference_store: ReferenceStore, before: LeaveOneOut | None = None, category: str = "disc") -> LeaveOneOut:
    return finished(leave_one_out(reference_store.memory, ENGINE, category, K, RHO, before))


def keep(
    reference_store: ReferenceStore, category: str, result: LeaveOneOut, base: StoredCalibration | None = None
) -> StoredCalibration:
    stored = to_stored(reference_store.memory.version, result)
    reference_store.catalogue.calibrations.store(category, reference_store.memory_id, stored, base)
    return stored


@contextmanager
def written(reference_store: ReferenceStore) -> Iterator[list[int]]:
    """The reference ids of results that are inserted meanwhile."""
    ids: list[int] = []
    engine: Engine = reference_store.catalogue._transactions._writer

    def note(_: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith("INSERT INTO leave_one_out"):
            ids.extend(compiled_parameter["reference_id"] for compiled_parameter in context.compiled_parameters)

    event.listen(engine, "before_cursor_execute", note)
    yield ids
    event.remove(engine, "before_cursor_execute", note)


def test_what_is_kept_is_read_again_exactly(reference_store: ReferenceStore) -> None:
    result = searched(reference_store)
    stored = keep(reference_store, "disc", result)
    keep(reference_store, "plate", searched(reference_store, category="plate"))
    assert reference_store.catalogue.calibrations.read("disc", reference_store.memory_id) == stored
    loaded = read_stored(reference_store, "disc")
    assert loaded is not None
    assert loaded[0] == reference_store.memory.version
    assert_same(loaded[1], result)
    for one, other in zip(vars(loaded[1]).values(), vars(result).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert read_stored(reference_store, "nut") is None
    with pytest.raises(CategoryNotFound):
        reference_store.catalogue.calibrations.store("nut", reference_store.memory_id, stored)


def test_a_change_of_one_reference_writes_the_results_that_it_concerns(reference_store: ReferenceStore) -> None:
    result = searched(reference_store)
    base = keep(reference_store, "disc", result)
    with written(reference_store) as ids:
        [fresh] = add(reference_store, "disc", 100)
        more = searched(reference_store, result)
        after = keep(reference_store, "disc", more, base)
    assert fresh in ids
    assert len(ids) < 20, "of 41, three of which are searched for each"
    assert reference_store.catalogue.calibrations.read("disc", reference_store.memory_id) == after
    with written(reference_store) as ids:
        reference_store.remove([fresh])
        less = keep(reference_store, "disc", searched(reference_store, more), after)
    assert len(ids) < 20
    assert reference_store.catalogue.calibrations.read("disc", reference_store.memory_id) == less
    assert [reference.reference_id for reference in less.references] == [
        reference.reference_id for reference in base.references
    ]


def test_a_change_against_what_another_process_has_replaced_is_kept_whole(reference_store: ReferenceStore) -> None:
    result = searched(reference_store)
    base = keep(reference_store, "disc", result)
    add(reference_store, "disc", 100)
    theirs = searched(reference_store, result)
    keep(reference_store, "disc", theirs, base)
    add(reference_store, "disc", 101)
    ours = keep(reference_store, "disc", searched(reference_store, result), base)  # which knows nothing of theirs
    assert reference_store.catalogue.calibrations.read("disc", reference_store.memory_id) == ours
    older = replace(ours, version=ours.version - 1, references=ours.references[:3])
    with written(reference_store) as ids:
        reference_store.catalogue.calibrations.store("disc", reference_store.memory_id, older)
        reference_store.catalogue.calibrations.store("disc", reference_store.memory_id, ours)
    assert ids == []
    assert reference_store.catalogue.calibrations.read("disc", reference_store.memory_id) == ours


def test_a_calibration_that_does_not_fit_is_recomputed(
    reference_store: ReferenceStore, caplog: pytest.LogCaptureFixture
) -> None:
    reference = int(reference_store.memory.ids[0])
    odd = StoredCalibration(1, K, RHO, (StoredReferenceResult(reference, reference, None, b"", b"abc", b"", b""),))
    reference_store.catalogue.calibrations.store("disc", reference_store.memory_id, odd)
    assert read_stored(reference_store, "disc") is None
    assert "computed again" in caplog.text


def test_removing_a_category_removes_its_results(reference_store: ReferenceStore) -> None:
    keep(reference_store, "disc", searched(reference_store))
    stored = keep(reference_store, "plate", searched(reference_store, category="plate"))
    reference_store.remove_category("disc")
    add(reference_store, "disc", 1)
    assert reference_store.catalogue.calibrations.read("disc", reference_store.memory_id) is None
    with reference_store.catalogue._transactions.reading() as connection:
        assert len(connection.execute(select(LeaveOneOutRow.reference_id)).all()) == 5
    assert reference_store.catalogue.calibrations.read("plate", reference_store.memory_id) == stored


def blob(result: LeaveOneOut) -> bytes:
    """As revisions before 0005 kept it."""
    file = io.BytesIO()
    values = {name: value for name, value in vars(result).items() if name != "coreset"}
    np.savez(file, **{{"distances": "apart"}.get(name, name): value for name, value in values.items()})
    return file.getvalue()


def as_before(url: str, reference_store: ReferenceStore, states: dict[str, bytes]) -> None:
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
                    memory_id=reference_store.memory_id,
                    version=reference_store.memory.version,
                    state=state,
                    at=connection.scalar(select(categories.c.created_at).where(categories.c.name == name)),
                )
            )
    engine.dispose()


def test_a_migration_carries_over_what_was_kept_and_passes_over_what_cannot_be_read(
    reference_store: ReferenceStore, database: str
) -> None:
    result = searched(reference_store)
    as_before(database, reference_store, {"disc": blob(result), "plate": b"PK of another layout"})
    Catalogue.migrate(database)
    loaded = read_stored(reference_store, "disc")
    assert loaded is not None
    assert loaded[0] == reference_store.memory.version
    for one, other in zip(vars(loaded[1]).values(), vars(result).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert read_stored(reference_store, "plate") is None


def test_a_backup_carries_results_also_one_by_an_older_version(
    reference_store: ReferenceStore, database: str, tmp_path: Path
) -> None:
    result = searched(reference_store)
    stored = keep(reference_store, "disc", result)
    folder = DataFolder.existing(tmp_path / "data", database)
    backup(folder, tmp_path / "new", lambda *_: None)
    older = backup(folder, tmp_path / "old", lambda *_: None)
    as_before(database, reference_store, {"disc": blob(result)})
    with reference_store.catalogue.dump.state() as state:  # as that version wrote them
        Archive(tmp_path / "old").write_rows(older.name, state.rows())
    reference_store.close()
    for name in ("new", "old"):
        there = tmp_path / "restored" / name
        restore(tmp_path / name, there, None, lambda *_: None)
        opened = ReferenceStore.open(there, feature_space())
        assert opened.catalogue.calibrations.read("disc", opened.memory_id) == stored
        opened.close()

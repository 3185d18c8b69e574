"""Tunings on both databases: one of a category at a time, until it is cancelled or its category is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer.domain.errors import CategoryNotFound
from indexer.domain.tuning import TuningResult
from tests.helpers.data_folder_process import StoreParts

RESULT = TuningResult(20, 10, 1, 588, 0.8, 0.1, 0.02, 0.18, 0.7, {"k": 30, "layer_weights": [0.5, 0.5]})


def test_a_tuning_is_requested_once_worked_on_and_replaced_after_its_end(tmp_path: Path, database: str) -> None:
    folder = StoreParts.open(tmp_path / "data", database)
    folder.append("bolt", [b"reference"])
    tunings = folder.catalogue.tunings
    assert tunings.of("bolt") is None
    first = tunings.request("bolt", 30)
    assert tunings.request("bolt", 31) == first
    assert tunings.unfinished() == {"bolt": first}
    assert tunings.progress(first.id, "key", {"k": 150}, 3, 31)
    under_way = tunings.of("bolt")
    assert under_way is not None
    assert (under_way.done, under_way.images, under_way.key, under_way.settings) == (3, 31, "key", {"k": 150})
    assert tunings.finish(first.id, RESULT)
    assert not tunings.fail(first.id, "too late")
    finished = tunings.of("bolt")
    assert finished is not None
    assert (finished.result, finished.error, tunings.unfinished()) == (RESULT, None, {})
    second = tunings.request("bolt", 30)
    assert second.id != first.id
    assert tunings.fail(second.id, "why")
    failed = tunings.of("bolt")
    assert failed is not None
    assert (failed.error, failed.result) == ("why", None)
    folder.catalogue.close()


def test_a_cancelled_tuning_and_one_of_a_removed_category_are_gone(tmp_path: Path, database: str) -> None:
    folder = StoreParts.open(tmp_path / "data", database)
    folder.append("bolt", [b"reference"])
    tunings = folder.catalogue.tunings
    tuning = tunings.request("bolt", 30)
    tunings.cancel("bolt")
    tunings.cancel("bolt")
    assert not tunings.progress(tuning.id, "key", {}, 1, 30)
    assert not tunings.finish(tuning.id, RESULT)
    tunings.request("bolt", 30)
    folder.catalogue.categories.remove("bolt")
    assert tunings.unfinished() == {}
    folder.catalogue.categories.restore("bolt")
    assert tunings.of("bolt") is None
    with pytest.raises(CategoryNotFound):
        tunings.request("nut", 30)
    assert [entry.action for entry in folder.catalogue.audit.entries().items].count("tuning.cancelled") == 1
    folder.catalogue.close()

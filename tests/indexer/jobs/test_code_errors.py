"""`touchstone verify` says how far stored codes can move a score: as far as the stored patches are off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.catalogue.data_folder import DataFolder
from indexer.domain.scoring_settings import ScoringSettings
from indexer.jobs.code_errors import CodeErrors, code_errors, largest_errors
from indexer.memory import CODEC_NAMES
from indexer.scoring.scoring import layer_weights, score_from_fused, score_image
from indexer.search import choose_engine
from tests.helpers.commands import indexed, opened, touchstone
from tests.helpers.memory_banks import filled
from tests.helpers.part_folders import folder_of
from tests.helpers.patch_search_oracle import best_similarities, top_references
from tests.helpers.random_features import random_features

ENGINE = choose_engine(torch.device("cpu"))
ARITHMETIC = 2e-5  # of the search: float32, and queries in 16 bits where codes are integers


def patches_of(data: Path, codec: str) -> dict[tuple[str, str], torch.Tensor]:
    """The stored patches (layers, cells, dim) of each reference, by category and file name."""
    reference_store = opened(data, codec=codec)
    listed = reference_store.catalogue.references.page(limit=1000).items
    patches = {
        (reference.category, reference.filename or ""): reference_store.memory.features_of(
            reference_store.memory.row_of(reference.id)
        ).patches[0]
        for reference in listed
    }
    reference_store.close()
    return patches


def errors_of(data: Path) -> dict[str, CodeErrors]:
    errors = code_errors(DataFolder.existing(data), lambda done, total: None)
    assert errors is not None
    return {of.category: of for of in errors.categories}


def test_a_rebuilt_memory_of_four_bits_is_as_far_off_as_verify_says_of_each_category(tmp_path: Path) -> None:
    data = indexed(tmp_path / "data", folder_of(tmp_path / "parts", ".", disc=3, plate=1), CODEC="fp32")
    assert "disc: fp32 codes move no score by more than 0.0000 (" in touchstone("verify", data=data).stdout
    exact = patches_of(data, "fp32")
    done = touchstone("rebuild", "--codec", "int4", data=data)
    assert done.exit_code == 0, done.stdout + done.stderr
    stored = patches_of(data, "int4")
    errors = errors_of(data)
    assert errors.keys() == {"disc", "plate"}
    said = touchstone("verify", data=data)
    assert said.exit_code == 0
    for category, line in zip(("disc", "plate"), said.stdout.splitlines()[-3:-1], strict=True):
        off = [(exact[key] - stored[key]).norm(dim=-1).amax(dim=1) for key in exact if key[0] == category]
        of = errors[category]
        assert list(of.by_layer.values()) == pytest.approx(torch.stack(off).amax(dim=0).tolist(), abs=2e-4)
        assert 0.05 < of.largest < 0.2
        assert line.startswith(f"{category}: int4 codes move no score by more than 0.")
        assert of.largest <= float(line.split()[9]) < of.largest + 1.1e-4


def test_the_bound_follows_what_is_added_and_removed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for seed, kinds in enumerate(({"disc": 2}, {"plate": 1}, {"disc": 5})):
        indexed(data, folder_of(tmp_path / str(seed), ".", **kinds), CODEC="int4")
    before = errors_of(data)
    reference_store = opened(data, codec="int4")
    listed = reference_store.catalogue.references.page(limit=1000).items
    by_reference = {
        reference.id: largest_errors(
            reference_store.memory.codec, reference_store.memory.codes_of(row).numpy()
        ).tolist()
        for reference in listed
        if reference.category == "disc"
        for row in (reference_store.memory.row_of(reference.id),)
    }
    assert list(before["disc"].by_layer.values()) == np.max(list(by_reference.values()), axis=0).tolist()
    worst = max(by_reference, key=lambda reference_id: by_reference[reference_id][0])
    reference_store.remove([worst])
    reference_store.close()
    del by_reference[worst]
    after = errors_of(data)
    assert list(after["disc"].by_layer.values()) == np.max(list(by_reference.values()), axis=0).tolist()
    assert next(iter(after["disc"].by_layer.values())) < next(iter(before["disc"].by_layer.values()))
    assert after["plate"] == before["plate"]


@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(CODEC_NAMES),
    count=st.integers(2, 9),
    k=st.integers(1, 4),
    rho=st.integers(0, 2),
    weights=st.none() | st.tuples(st.floats(0.01, 1), st.floats(0, 1)),
    share=st.floats(0.001, 1),
    seed=st.integers(0, 10_000),
)
def test_no_score_of_a_category_is_further_from_that_of_unrounded_patches_than_its_bound(
    name: str, count: int, k: int, rho: int, weights: tuple[float, float] | None, share: float, seed: int
) -> None:
    memory, exact = filled(count, name, seed=seed)
    memory = memory.without_references([100 + seed % 2 * 2], memory.version + 1)
    rows = memory.rows_of("nut")
    if len(rows) == 0:
        return
    chosen = ScoringSettings(k=k, rho=rho, layer_weights=weights, pooled_share=share)
    query = random_features(memory.space, 1, seed + 1)
    scored = score_image(memory, ENGINE, query, chosen, "nut")

    descriptors = np.stack([memory.global_index.descriptor(int(row)) for row in rows])
    retrieved = rows[top_references(query.global_descriptors[0].numpy(), descriptors, k)]
    assert scored.neighbours.rows.tolist() == retrieved.tolist()
    distances = 1.0 - best_similarities(query.patches[0].numpy(), exact[retrieved], memory.space.global_grid, rho)
    mean = layer_weights(chosen, 2).astype(np.float64)
    unrounded, _ = score_from_fused((mean @ distances).astype(np.float32), scored.frame, chosen)

    errors = np.max([largest_errors(memory.codec, memory.codes_of(int(row)).numpy()).numpy() for row in rows], axis=0)
    assert (np.abs(scored.distances - distances) <= errors[:, None] + ARITHMETIC).all()
    assert np.abs(mean @ (scored.distances - distances)).max() <= mean @ errors + ARITHMETIC
    assert abs(scored.score - unrounded) <= mean @ errors + ARITHMETIC


def test_an_empty_memory_moves_nothing(tmp_path: Path) -> None:
    data = tmp_path / "data"
    opened(data).close()
    assert errors_of(data) == {}

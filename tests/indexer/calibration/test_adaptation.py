"""Adaptations to images with another encoding: exact if the encoding changes nothing, and stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from indexer.calibration.adaptation import Adaptation, AdaptationBuilder
from indexer.calibration.calibration import Calibration
from indexer.calibration.leave_one_out import LeaveOneOut, leave_one_out
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.memory import MemoryBank
from indexer.scoring.image_statistics import ImageStatistics
from indexer.scoring.scoring import score_image
from indexer.search import TorchEngine
from tests.helpers.coresets import condensed
from tests.helpers.leave_one_out import finished
from tests.helpers.random_features import feature_space, random_features

ENGINE, SETTINGS = TorchEngine(torch.device("cpu")), ScoringSettings(k=5)
COUNT = 24


def noisy(features: Features, amount: float, seed: int) -> Features:
    """The same image as a codec would leave it: every patch changed a little."""
    noise = torch.randn(features.patches.shape, generator=torch.Generator().manual_seed(seed))
    patches = torch.nn.functional.normalize(features.patches + amount * noise, dim=-1)
    return Features(features.global_descriptors, patches, features.grid)


@pytest.fixture(scope="module")
def taught() -> tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]]:
    """A memory of similar images, with its calibration."""
    return calibrated(*similar_images())


def similar_images(share: float | None = None) -> tuple[MemoryBank, list[Features]]:
    """share: of the patches, which a coreset holds."""
    space = feature_space((6, 6))
    base = random_features(space, 1, seed=1)
    images = [noisy(base, 0.15, seed) for seed in range(COUNT)]
    memory = MemoryBank.empty(space, "fp32")
    for index, image in enumerate(images):
        memory = memory.with_references([index], ["nut"], memory.codec.encode(image), index + 1)
    return memory if share is None else condensed(memory, "nut", share)[0], images


def calibrated(
    memory: MemoryBank, images: list[Features]
) -> tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]]:
    result = finished(leave_one_out(memory, ENGINE, "nut", SETTINGS.k, SETTINGS.rho))
    measured = list(result.statistics(memory, memory.frame("nut"), SETTINGS))
    known = Calibration.from_statistics(
        "nut",
        memory.version,
        "key",
        [statistics for _, statistics in measured],
        result.duplicates,
        [reference_id for reference_id, _ in measured],
    )
    return memory, result, known, images


@pytest.fixture(scope="module")
def condensed_taught() -> tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]]:
    """The same, searched in a coreset."""
    return calibrated(*similar_images(share=0.4))


def adapted(taught: tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]], amount: float) -> Adaptation:
    memory, result, known, images = taught
    adapting = AdaptationBuilder(memory, ENGINE, SETTINGS, result, known, COUNT)
    for one in adapting.reference_ids:
        adapting.add(one, noisy(images[one], amount, 1000 + one) if amount else images[one])
    made = adapting.result()
    assert made is not None
    return made


def test_where_storing_changes_nothing_the_calibration_is_the_own_one(
    taught: tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]],
) -> None:
    made = adapted(taught, 0.0)
    np.testing.assert_allclose(made.scale, 1.0, atol=1e-4)
    np.testing.assert_allclose(made.calibration.scores.values, taught[2].scores.values, atol=1e-5)
    assert made.calibration.key == taught[2].key


def test_in_a_coreset_too(condensed_taught: tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]]) -> None:
    assert condensed_taught[1].coreset is not None
    made = adapted(condensed_taught, 0.0)
    np.testing.assert_allclose(made.scale, 1.0, atol=1e-4)
    np.testing.assert_allclose(made.calibration.scores.values, condensed_taught[2].scores.values, atol=1e-5)


def test_images_that_all_differ_more_are_ranked_among_references_that_do(
    taught: tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]],
) -> None:
    memory, _, known, _ = taught
    made, base = adapted(taught, 0.1), random_features(memory.space, 1, seed=1)
    assert (made.scale < 1).mean() > 0.9
    plain, told = [], []
    for seed in range(40):
        features = noisy(noisy(base, 0.15, 5000 + seed), 0.1, 9000 + seed)
        scored = score_image(memory, ENGINE, features, SETTINGS, "nut")
        plain.append(known.scores.p_value(scored.score))
        score = ImageStatistics.from_scoring(made.apply(scored, SETTINGS), features, SETTINGS).score
        told.append(made.calibration.scores.p_value(score))
    assert np.mean(plain) < 0.1
    assert 0.3 < np.mean(told) < 0.7


def test_it_is_kept_and_read_as_it_was(taught: tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]]) -> None:
    made = adapted(taught, 0.1)
    read = Adaptation.from_bytes(made.to_bytes(), taught[2])
    np.testing.assert_array_equal(read.scale, made.scale)
    assert read.calibration.statistics == made.calibration.statistics
    assert read.calibration.references == made.calibration.references
    for damaged in (b"", made.to_bytes()[:200]):
        with pytest.raises(ValueError, match="cannot be read"):
            Adaptation.from_bytes(damaged, taught[2])


def test_no_more_references_are_taken_than_wanted_and_with_few_of_them_there_is_none(
    taught: tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]],
) -> None:
    memory, result, known, images = taught
    adapting = AdaptationBuilder(memory, ENGINE, SETTINGS, result, known, 10)
    assert 5 <= len(adapting.reference_ids) <= 10
    for one in adapting.reference_ids[: len(adapting.reference_ids) // 2 - 1]:
        adapting.add(one, images[one])
    assert adapting.result() is None


@pytest.mark.parametrize("most", [1, 5, COUNT - 1, COUNT, COUNT + 1])
def test_as_many_references_are_used_as_are_asked_for_evenly_spread(
    taught: tuple[MemoryBank, LeaveOneOut, Calibration, list[Features]], most: int
) -> None:
    memory, result, known, _ = taught
    used = AdaptationBuilder(memory, ENGINE, SETTINGS, result, known, most).reference_ids
    assert len(used) == min(most, len(known.references))
    assert list(used) == sorted(set(used))

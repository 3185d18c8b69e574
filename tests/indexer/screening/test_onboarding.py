"""Which images of a request become references: the policy of service and bulk job."""

from __future__ import annotations

import pytest
import torch

from indexer.domain.category import CategorySettings
from indexer.domain.errors import MemoryInactive
from indexer.domain.photo_quality import PhotoQuality
from indexer.memory import EncodedReferences, MemoryBank
from indexer.references.source_image import SourceImage
from indexer.screening.onboarding import KnownReferences, Onboarding, OnboardingDecision
from indexer.search import TorchEngine
from tests.helpers.random_features import feature_space, random_features

ENGINE = TorchEngine(torch.device("cpu"))
MEMORY = MemoryBank.empty(feature_space())
NOTHING = KnownReferences((), ())


def offered(names: str, dark: str = "") -> tuple[list[SourceImage], dict[str, EncodedReferences]]:
    """An image for each letter, alike letters being the same image; those in `dark` are too dark."""
    features = random_features(MEMORY.space, 26, seed=1)
    images = [
        SourceImage(f"{name}.png", b"", name, ".png", 8, 8, PhotoQuality(0.01 if name in dark else 0.5, 0.1, 1.0))
        for name in names
    ]
    return images, {name: MEMORY.codec.encode(features.item(ord(name) - ord("a"))) for name in set(names)}


def decide(onboarding: Onboarding, known: KnownReferences = NOTHING) -> OnboardingDecision:
    return onboarding.decide([onboarding.compare(index) for index in range(onboarding.count)], known)


def test_an_image_sent_twice_is_screened_once_and_both_share_what_becomes_of_it() -> None:
    images, codes = offered("abab", dark="b")
    onboarding = Onboarding(MEMORY, ENGINE, "disc", CategorySettings(refuse=("too_dark",)), images, codes)
    assert onboarding.count == 2
    decision = decide(onboarding)
    assert list(decision.accepted) == [0, 2]
    assert {position: reason.kind for position, reason in decision.refused.items()} == {1: "too_dark", 3: "too_dark"}
    assert list(decision.findings) == [0, 1]


def test_what_is_a_reference_already_is_neither_screened_nor_refused() -> None:
    images, codes = offered("abc", dark="abc")
    del codes["b"]
    decision = decide(Onboarding(MEMORY, ENGINE, "disc", CategorySettings(), images, codes, refuse=["too_dark"]))
    assert list(decision.accepted) == [1]
    assert decision.accepted[1].findings == ()
    assert decide(Onboarding(MEMORY, ENGINE, "disc", CategorySettings(), images, {})).images_until_outlier_check is None


def test_a_finding_names_the_image_by_its_position_among_all_that_were_offered() -> None:
    images, codes = offered("aabc")
    codes["c"] = codes["b"]  # the same part once more
    decision = decide(Onboarding(MEMORY, ENGINE, "disc", CategorySettings(), images, codes))
    [finding] = decision.accepted[3].findings
    assert (finding.kind, finding.image_index) == ("near_duplicate", 2)


def test_what_was_taken_is_what_the_next_images_are_held_against() -> None:
    images, codes = offered("abcd", dark="b")
    first = decide(Onboarding(MEMORY, ENGINE, "disc", CategorySettings(refuse=("too_dark",)), images, codes))
    assert [quality.brightness for quality in first.known.qualities] == [0.5, 0.5, 0.5]
    assert len(first.known.statistics) == 4
    images, codes = offered("efgh")
    second = decide(Onboarding(MEMORY, ENGINE, "disc", CategorySettings(), images, codes), first.known)
    assert (first.images_until_outlier_check, second.images_until_outlier_check) == (4, 0)


def test_codes_of_another_codec_are_not_screened() -> None:
    images, codes = offered("a")
    other = MemoryBank.empty(feature_space(), "int8")
    with pytest.raises(MemoryInactive):
        Onboarding(other, ENGINE, "disc", CategorySettings(), images, codes)

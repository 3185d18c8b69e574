"""The references' encodings decide how an image is read, and which notices it gets."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.domain.encoding import Encoding
from indexer.domain.profile import EncodingGroup, Profile
from indexer.domain.reading import Reading
from indexer.imaging.encoding import apply_encoding
from tests.helpers.bad_images import sample_pixels

PNG, DEEP = Encoding("PNG", False, 8), Encoding("PNG", False, 16)
WEBP = Encoding("WEBP", True, 8)


def jpeg(quality: int, subsampling: str | None = "4:2:0") -> Encoding:
    return Encoding("JPEG", True, 8, quality, subsampling)


def of(*stored: tuple[Encoding | None, int], reading: Reading = Reading(), width: int = 640) -> Profile:  # noqa: B008
    return Profile(tuple(EncodingGroup(encoding, reading, width, 480, count) for encoding, count in stored))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (PNG, Encoding("BMP", False, 8), True),
        (PNG, DEEP, True),
        (PNG, jpeg(99), True),
        (PNG, jpeg(98), False),
        (jpeg(90), jpeg(87), True),
        (jpeg(90), jpeg(86), False),
        (jpeg(90), jpeg(90, "4:4:4"), False),
        (jpeg(90), jpeg(90, None), True),
        (WEBP, WEBP, True),
        (WEBP, jpeg(80), False),
    ],
)
def test_two_ways_of_storing_are_alike_or_not_whichever_comes_first(
    one: Encoding, other: Encoding, alike: bool
) -> None:
    assert one.is_like(other) is other.is_like(one) is alike


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PNG, jpeg(90)),
        (DEEP, jpeg(50, None)),
        (jpeg(95), jpeg(90)),
        (jpeg(90, "4:4:4"), jpeg(90)),
        (jpeg(90, None), jpeg(75)),
    ],
)
def test_of_two_that_differ_one_is_finer(one: Encoding, other: Encoding) -> None:
    assert one.is_finer_than(other)
    assert not other.is_finer_than(one)


def test_nothing_is_finer_than_what_cannot_be_made() -> None:
    assert not PNG.is_finer_than(WEBP)
    assert not jpeg(90).is_finer_than(PNG)
    assert not jpeg(90, "4:2:0").is_finer_than(jpeg(75, "4:4:4"))
    with pytest.raises(ValueError, match="cannot be made"):
        apply_encoding(sample_pixels(), WEBP)


def test_an_image_is_stored_again_as_a_jpeg_would_have_it() -> None:
    stored = apply_encoding(sample_pixels(), jpeg(75))
    assert stored.shape == sample_pixels().shape
    assert 0 < np.abs(stored.astype(int) - sample_pixels()).mean() < 20
    np.testing.assert_array_equal(apply_encoding(sample_pixels(), Encoding.from_json(jpeg(75).to_json())), stored)


def test_finer_images_are_read_as_nearly_all_references_are_stored() -> None:
    assert of((jpeg(90), 30)).stored_as == jpeg(90)
    assert of((jpeg(90), 28), (PNG, 2)).stored_as == jpeg(90)
    assert of((jpeg(90), 20), (PNG, 10)).stored_as is None
    assert of((PNG, 30)).stored_as is None
    assert of((None, 30)).stored_as is None
    assert of((jpeg(90), 20), (None, 10)).stored_as is None  # of a third it is not known
    read = Reading(16, jpeg(90))
    assert of((jpeg(90), 28)).with_groups(of((PNG, 20), reading=read).groups).stored_as == jpeg(90)


def test_coarser_images_need_a_calibration_of_their_own_where_nearly_all_references_are_finer() -> None:
    assert of((PNG, 30)).is_finer_than(jpeg(90))
    assert of((PNG, 20), (jpeg(95), 10)).is_finer_than(jpeg(75))
    assert not of((PNG, 20), (jpeg(90), 10)).is_finer_than(jpeg(90))  # a third is like it
    assert not of((PNG, 30)).is_finer_than(WEBP)
    assert not of((None, 30)).is_finer_than(jpeg(90))
    assert not Profile().is_finer_than(jpeg(90))


@pytest.mark.parametrize(
    ("profile", "encoding", "kinds"),
    [
        (of((PNG, 30)), PNG, []),
        (of((PNG, 30)), jpeg(90), ["encoding_mismatch"]),
        (of((None, 30)), jpeg(90), []),
        (of((PNG, 20), (jpeg(90), 10)), jpeg(91), []),
        (Profile(), PNG, []),
        (of((jpeg(90), 9)), WEBP, ["encoding_mismatch"]),
        (of((PNG, 3), width=2000), PNG, ["size_mismatch"]),
    ],
)
def test_differences_from_the_paper_are_listed(profile: Profile, encoding: Encoding, kinds: list[str]) -> None:
    notices = profile.notices_of_part(encoding, Reading(), 640, 480, "own")
    assert [notice.kind for notice in notices] == kinds


def test_the_first_deep_references_decide_the_depth_and_no_later_ones() -> None:
    assert Profile().reading(None, 4000).depth == 12
    assert of((PNG, 3)).reading(None, 4000).depth == 12
    assert of((DEEP, 3), reading=Reading(14)).reading(None, 4000).depth == 16  # decided is what the category has
    assert of((DEEP, 3), reading=Reading(14)).reading(14, 4000).depth == 14
    assert of((None, 3)).reading(None, 4000).depth == 16
    assert of((DEEP, 3), (PNG, 5), reading=Reading(12)).other_depths(14) == 3
    assert of((DEEP, 3), (PNG, 5), reading=Reading(12)).other_depths(12) == 0


@pytest.mark.parametrize("reading", [Reading(), Reading(12), Reading(14, jpeg(80)), Reading(None)])
def test_a_reading_is_kept_as_it_is(reading: Reading) -> None:
    assert Reading.from_json(reading.to_json()) == reading
    assert Reading.from_json(None) == Reading()


def test_of_two_equally_common_encodings_every_process_takes_the_same() -> None:
    groups = (jpeg(90), 5), (jpeg(92), 5)
    assert of(*groups).stored_as == of(*reversed(groups)).stored_as is not None


def test_finer_images_are_not_stored_as_references_of_a_subsampling_that_cannot_be_made() -> None:
    profile = of((jpeg(90, "4:4:0"), 10))
    assert profile.stored_as is None
    assert not of((PNG, 10)).is_finer_than(jpeg(90, "4:4:0"))

"""Groups near-duplicate references: as each other's best match they would bias the threshold low."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

PEERS = 8  # the most similar references that each reference is compared with
_MIN_PEERS = 5  # with fewer, the typical difference is unknown
_SHARE = 0.15
_NOTHING = 0.005
_ALIKE = 3  # of the most alike images, at least one shows another part of the same product
_ANOTHER_KIND = 0.5, 2.0  # a dark, blank or wrong image differs by more, and by more than twice that difference


def are_near_duplicates(difference: float, typical: float | None) -> bool:
    """Whether two images are near-duplicates: their difference is below 0.15 of the typical one, or below 0.005.

    difference: of the pair, see `reverse_search.differences`. typical: see `typical_difference`.
    """
    return difference < _NOTHING or (typical is not None and difference < _SHARE * typical)


def typical_difference(differences: Sequence[float]) -> float | None:
    """Typical difference of images of different parts: the largest of the differences to the 8 most similar references.

    It is relative, so that a fixed camera on uniform parts does not make all of them duplicates. Up to seven images of
    one part are recognised. A dark image, or one of another product, is so far from all others that they would seem
    near-duplicates: differences above 0.5 that are also more than twice the third smallest are excluded. None with
    fewer than 5 differences.
    """
    if len(differences) < _MIN_PEERS:
        return None
    minimum, times = _ANOTHER_KIND
    limit = max(minimum, times * sorted(differences)[_ALIKE - 1])
    usable = [difference for difference in differences if difference <= limit]
    return max(usable) if len(usable) >= _MIN_PEERS else None


def duplicate_groups(ids: Iterable[int], differences: Mapping[tuple[int, int], float]) -> dict[int, int]:
    """Reference id → the smallest id of the references that show the same part, its own when there is no other.

    differences: (id, id of one of its most similar references) → difference.
    """
    peers: dict[int, list[int]] = {}
    for one, other in differences:
        peers.setdefault(one, []).append(other)
    group = {reference_id: reference_id for reference_id in ids}

    def first(one: int) -> int:
        while group[one] != one:
            one = group[one]
        return one

    for one, others in peers.items():
        typical = typical_difference([differences[one, other] for other in others])
        for other in others:
            if are_near_duplicates(differences[one, other], typical):
                low, high = sorted((first(one), first(other)))
                group[high] = low
    return {reference_id: first(reference_id) for reference_id in group}

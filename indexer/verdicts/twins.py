"""Which references show the same part twice: they must not vouch for each other, nor count twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

PEERS = 8  # the most similar references that each reference is held against
_FEWEST_PEERS = 5  # with fewer there is no telling what a usual difference is
_SHARE = 0.15
_NOTHING = 0.005


def are_twins(difference: float, usual: float | None) -> bool:
    """Whether two pictures are near duplicates: apart by less than 0.15 of the usual, or by next to nothing.

    difference: of the pair, as `pairs.difference` gives it. usual: see `usual_difference`.
    """
    return difference < _NOTHING or (usual is not None and difference < _SHARE * usual)


def usual_difference(differences: Sequence[float]) -> float | None:
    """How far apart pictures of different parts are: the largest of the differences to the 8 most similar references.

    It is relative, so that a still camera on steady parts makes no duplicates of them all. Up to seven pictures of one
    part are found out that way. None with fewer than 5 differences.
    """
    return max(differences) if len(differences) >= _FEWEST_PEERS else None


def twin_groups(ids: Iterable[int], differences: Mapping[tuple[int, int], float]) -> dict[int, int]:
    """Reference id → the smallest id of the references that show the same part, its own when there is no other.

    differences: (id, id of one of its most similar references) → difference.
    """
    peers: dict[int, list[int]] = {}
    for one, other in differences:
        peers.setdefault(one, []).append(other)
    group = {each: each for each in ids}

    def first(one: int) -> int:
        while group[one] != one:
            one = group[one]
        return one

    for one, others in peers.items():
        usual = usual_difference([differences[one, other] for other in others])
        for other in others:
            if are_twins(differences[one, other], usual):
                low, high = sorted((first(one), first(other)))
                group[high] = low
    return {each: first(each) for each in group}

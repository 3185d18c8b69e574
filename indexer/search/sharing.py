"""Which images of a micro-batch read their references together: those that retrieved mostly the same ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_TOGETHER = 32  # images; a bit of an int64 says which of them a reference belongs to


def groups_of(retrieved: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    """Rows (k,) of every image → the images of every group, each image in one.

    An image joins the first group that holds at least half of its rows. A reference is read once for its group, but
    multiplied with the queries of all its images: with less in common, products would cost more than reading saves.
    """
    groups: list[list[int]] = []
    unions: list[NDArray[np.int64]] = []
    for image, rows in enumerate(retrieved):
        for number, union in enumerate(unions):
            if len(groups[number]) < MOST_TOGETHER and 2 * np.isin(rows, union).sum() >= len(rows):
                groups[number].append(image)
                unions[number] = np.union1d(union, rows)
                break
        else:
            groups.append([image])
            unions.append(rows)
    return groups

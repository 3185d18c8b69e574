"""Groups the queries of a micro-batch whose references overlap: each reference is read once a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_GROUP_SIZE = 32  # images; a bit of an int64 says which of them a reference belongs to


def group_queries(retrieved: Sequence[NDArray[np.int64]]) -> list[list[int]]:
    """Rows (k,) of every image → the images of every group, each image in one.

    An image joins the first group that holds at least half of its rows. A reference is read once for its group, but
    multiplied with the queries of all its images: with less in common, products would cost more than reading saves.
    """
    groups: list[list[int]] = []
    rows_of: list[NDArray[np.bool_]] = []  # per group, which rows any of its images retrieved
    rows_in_all = 1 + max((int(rows.max()) for rows in retrieved if len(rows)), default=0)
    for image, rows in enumerate(retrieved):
        for index, members in enumerate(rows_of):
            if len(groups[index]) < MAX_GROUP_SIZE and 2 * np.count_nonzero(members[rows]) >= len(rows):
                groups[index].append(image)
                members[rows] = True
                break
        else:
            groups.append([image])
            rows_of.append(np.zeros(rows_in_all, np.bool_))
            rows_of[-1][rows] = True
    return groups

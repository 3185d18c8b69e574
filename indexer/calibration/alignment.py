"""Whether good parts always lie in the same place of their images, or anywhere."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from indexer.domain.scoring_settings import ANYWHERE, MAX_CELLS_ANYWHERE, ScoringSettings
from indexer.memory import MemoryBank
from indexer.scoring.scoring import roi_mask
from indexer.search import neighbour_cells
from indexer.search.neighbourhood import OUTSIDE

_REFERENCES = 8  # compared pairwise; with more, each finds a peer that lies as it does
_MIN_REFERENCES = 4
_RHO = 1  # the paper's
_LITTLE_LEFT = 0.75  # between sets whose parts lie alike and others, see docs/geometry.md
_ALIKE = 0.06  # likewise
_NO_DISTANCE = 1e-3  # below it references are copies of each other

AlignmentSteps = Generator[float, None, "Alignment | None"]


@dataclass(frozen=True)
class Alignment:
    """How alike good parts lie. references: how many were compared with each other.

    distance_left: what is left of their distance when a patch is compared with those of all places and not of its own
    and those around it (ρ = 1), 0 to 1: in the mean over the cells of all of them, in the first layer. Near 1, parts
    lie alike; near 0, what they differ in is where they lie, or there is hardly any difference in the same place:
    distance_in_place is that distance, of patches of the same place, as a share of the distance of patches of any two
    places, 0 or more. Near 0, references show the same in the same place.
    """

    references: int
    distance_left: float
    distance_in_place: float

    def advice(self, rho: int) -> str | None:
        """A sentence that says what to do about this ρ; None if nothing."""
        if rho == ANYWHERE or self.distance_left > _LITTLE_LEFT or self.distance_in_place < _ALIKE:
            return None
        return (
            f"Good parts seem to lie anywhere: {100 * self.distance_left:.0f} % of the distance between "
            f"{self.references} references is left when their patches are compared with those of all places. Set rho "
            f"to {ANYWHERE}, unless a defect may be something good in the wrong place; detections take longer."
        )


@torch.inference_mode()
def measure_alignment(memory: MemoryBank, category: str, settings: ScoringSettings) -> AlignmentSteps:
    """Compare references of a category with each other; yield the share done.

    settings: for the region of interest. Returns None with fewer than four references or none that differ, and for
    grids that are too fine to be compared with all places. Between two yields lies one product of cells × cells.
    """
    frame = memory.frame(category)
    rows = np.flatnonzero(memory.allowed_rows(category, (), frame.grid))
    if len(rows) < _MIN_REFERENCES or frame.grid[0] * frame.grid[1] > MAX_CELLS_ANYWHERE:
        return None
    sampled = np.linspace(0, len(rows) - 1, min(len(rows), _REFERENCES)).round().astype(np.int64)
    references = [memory.features_of(int(row)) for row in rows[sampled]]
    patches = torch.stack([features.patches[0, 0] for features in references])  # (n, cells, dim)
    neighbours = torch.from_numpy(neighbour_cells(frame.grid, _RHO).copy())
    outside, around = neighbours == OUTSIDE, neighbours.clamp_min(0)
    near = torch.full(patches.shape[:2], -1.0)
    anywhere = near.clone()
    counted = patches.any(dim=-1)  # (n, cells): those that show the image
    if (inspected := roi_mask(settings, frame)) is not None:
        counted &= torch.from_numpy(inspected.cells.ravel())
    means = torch.stack([of_image[cells].mean(0) for of_image, cells in zip(patches, counted, strict=True)])
    pairs = list(combinations(range(len(references)), 2))
    for done, (one, other) in enumerate(pairs, 1):
        products = patches[one] @ patches[other].T  # (cells, cells)
        for index, similarities in ((one, products), (other, products.T)):
            beside = similarities.gather(1, around).masked_fill_(outside, -1.0).amax(dim=1)
            near[index] = torch.maximum(near[index], beside)
            anywhere[index] = torch.maximum(anywhere[index], similarities.amax(dim=1))
        yield done / len(pairs)
    distance, distance_anywhere = (float(1.0 - similar[counted].mean()) for similar in (near, anywhere))
    if distance < _NO_DISTANCE:
        return None
    # The mean inner product of all patches of one image with all of another is that of their means.
    of_any_two = 1.0 - float(np.mean([float(means[one] @ means[other]) for one, other in pairs]))
    return Alignment(len(references), max(0.0, distance_anywhere / distance), distance / max(of_any_two, distance))

"""Where a stored image lies in its category's geometry: its size is not stored with its features, its cells are."""

from __future__ import annotations

import numpy as np

from indexer.domain.errors import NothingInspected
from indexer.domain.geometry import Frame, Placement
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.scoring.scoring import roi_mask


def stored_frame(features: Features, fitting: Frame, settings: ScoringSettings) -> Frame:
    """The cells of an image that is known by its features: those that show it, as it is scored when it is inspected.

    features: a batch of one. fitting: of an image that fits the geometry, as this one has it unless it was letterboxed.
    A letterboxed image counts as being as large as the cells that show it, half a cell more or less. `fitting` also
    where none of these lies in the region of interest.
    """
    empty = features.without_image()
    if empty is None or empty.all():
        return fitting
    shown = ~empty.reshape(fitting.grid)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    geometry = fitting.geometry
    left, top, width, height = geometry.window
    across, down = width // fitting.grid[1], height // fitting.grid[0]
    drawn = (
        left + int(columns[0]) * across,
        top + int(rows[0]) * down,
        int(columns[-1] - columns[0] + 1) * across,
        int(rows[-1] - rows[0] + 1) * down,
    )
    frame = Frame(Placement(geometry, drawn[2:], drawn), fitting.grid)
    try:
        roi_mask(settings, frame)
    except NothingInspected:
        return fitting
    return frame

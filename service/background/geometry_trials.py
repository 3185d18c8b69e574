"""The geometries that a tuning tries: the present one, and others for which re-encoding is affordable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from indexer.calibration.leave_one_out import LeaveOneOut, leave_one_out
from indexer.domain.geometry import InputGeometry
from indexer.domain.geometry_choice import GeometryChoice, usual_size
from indexer.domain.json_types import JsonObject
from indexer.domain.profile import Profile
from indexer.domain.scoring_settings import ScoringSettings
from indexer.imaging.roi import roi_cells
from indexer.memory import EncodedReferences, MemoryBank, join
from indexer.references.snapshot_loader import PublishedState
from indexer.references.stored_image import prepare_stored
from indexer.tuning.candidates import CandidateGrid
from service.background.worker_steps import encode_reference, run_steps
from service.inference.resources import InferenceResources

_CELLS = (0.5, 2.0)  # of the present grid's
_MAX_CODE_BYTES = 256 << 20  # of the references under one other geometry, which are held in memory
_MAX_ENCODED_CELLS = 1 << 20  # of references and test images under it: 1,300 images of 784 cells

Check = Callable[[], None]  # raises when the tuning is to end


@dataclass(frozen=True)
class GeometryTrial:
    """A geometry, with the references encoded so and the candidates that are scored by them.

    changes: what it is as a change of the category; empty for the present geometry.
    """

    memory: MemoryBank
    geometry: InputGeometry
    grid: CandidateGrid
    changes: JsonObject

    @property
    def cells(self) -> int:
        """Of its grid."""
        rows, columns = self.geometry.grid(self.memory.space.patch)
        return rows * columns

    @property
    def candidates(self) -> tuple[JsonObject, ...]:
        """The changes that each candidate is, in the order of scores."""
        return tuple({**self.changes, **candidate.changes} for candidate in self.grid.candidates)


@dataclass(frozen=True)
class GeometryTrials:
    """Makes them: references are encoded one at a time, behind all other work, and kept in memory only."""

    resources: InferenceResources

    def others(self, published: PublishedState, category: str, images: int) -> dict[int, InputGeometry]:
        """By the cells to ask for, the other geometries that are affordable for so many test images.

        None for a category of which only a part is inspected, or whose images are stretched.
        """
        memory = published.memory
        present, patch = memory.geometry_of(category), memory.space.patch
        if present.inspected < 1 or present.on_mismatch == "stretch":
            return {}
        size = usual_size(published.profiles.get(category, Profile()), present)
        rows, columns = present.grid(patch)
        references, layers = len(memory.rows_of(category)), len(memory.space.layers)
        affordable = {}
        for factor in _CELLS:
            cells = max(1, round(factor * rows * columns))
            try:
                geometry = GeometryChoice(cells=cells).resolve(size, patch, present)
                roi_cells(published.settings[category].region_of_interest, geometry.frame(patch))
            except ValueError:  # there is no such grid, or the region of interest covers none of its cells
                continue
            code_bytes = references * cells * layers * memory.codec.code_size
            encoded_cells = (references + images) * cells
            if geometry != present and code_bytes <= _MAX_CODE_BYTES and encoded_cells <= _MAX_ENCODED_CELLS:
                affordable[cells] = geometry
        return affordable

    def encode(
        self, published: PublishedState, category: str, cells: int, geometry: InputGeometry, check: Check
    ) -> GeometryTrial | None:
        """A trial of another geometry; None when a reference's image cannot be encoded so, or none is left.

        check: called for each.
        """
        resources, present = self.resources, published.memory
        live = set(present.ids[present.rows_of(category)].tolist())
        ids: list[int] = []
        parts: list[EncodedReferences] = []
        for reference in resources.reference_store.catalogue.references.iterate(category):
            if reference.id not in live:
                continue
            check()
            prepared = prepare_stored(
                reference, resources.reference_store.read_original, resources.limits, resources.preprocess, geometry
            )
            if prepared is None:
                return None
            parts.append(encode_reference(resources.worker, resources.encoder, present.codec, prepared))
            ids.append(reference.id)
        if not ids:  # every reference was removed since the snapshot was published
            return None
        empty = MemoryBank.empty(present.space, present.codec.name).with_geometries({category: geometry})
        memory = empty.with_references(ids, [category] * len(ids), join(parts), present.version)
        scoring = published.settings[category].scoring
        steps = leave_one_out(memory, resources.engine, category, scoring.k, scoring.rho)
        searched = run_steps(resources.worker, steps, lambda _: check())
        grid = _candidate_grid(memory, category, scoring, searched)
        return GeometryTrial(memory, geometry, grid, {"geometry": {"cells": cells}})

    def present(self, published: PublishedState, category: str, searched: LeaveOneOut) -> GeometryTrial:
        """The trial of the present geometry. searched: the leave-one-out results of its calibration."""
        memory, scoring = published.memory, published.settings[category].scoring
        grid = _candidate_grid(memory, category, scoring, searched)
        return GeometryTrial(memory, memory.geometry_of(category), grid, {})


def _candidate_grid(
    memory: MemoryBank, category: str, scoring: ScoringSettings, searched: LeaveOneOut
) -> CandidateGrid:
    """What is tried under one geometry; the layer weights that the references say are those of `searched`."""
    by_references = searched.balance_layers(memory.frame(category), replace(scoring, layer_weights=None)).layer_weights
    weights = by_references or (1.0,) * len(memory.space.layers)
    rows, columns = memory.frame(category).grid
    return CandidateGrid.around(scoring, weights, len(memory.rows_of(category)), rows * columns)

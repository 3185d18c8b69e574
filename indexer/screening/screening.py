"""Compares offered images with each other and with the references, to find near-duplicates and other categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from indexer.calibration.near_duplicates import PEERS, are_near_duplicates, typical_difference
from indexer.domain.finding import Finding
from indexer.domain.photo_quality import PhotoQuality
from indexer.domain.scoring_settings import ScoringSettings
from indexer.encoders.base import Features
from indexer.memory import EncodedReferences, MemoryBank, join
from indexer.scoring.image_statistics import ImageStatistics, from_distances, mean_distance
from indexer.scoring.stored_frame import stored_frame
from indexer.screening.outliers import ScreeningResult, find_outliers
from indexer.screening.photo_quality import PhotoQualities, photo_findings
from indexer.search import PatchSearchEngine, best_similarities
from indexer.search.reverse_search import differences

_MAX_SHIFT = 6  # how far a shift of the camera is looked for
_FITS = 0.93  # of the distance where it is, at which an image fits elsewhere: parts moved by a cell have 0.91 at most
_OWN = 3  # images of the category to compare with before it can fit worse than another


@dataclass(frozen=True)
class Peer:
    """A similar image. reference_id: None for an image of the same request, which `image_index` locates."""

    similarity: float
    row: int
    reference_id: int | None
    image_index: int | None


class Screening:
    """Compares the images of one request with the category, one at a time; `all_findings` follows.

    memory: the references there are. encoded: the images, in the order of the request, in the memory's codec. names:
    their file names.
    """

    def __init__(
        self,
        memory: MemoryBank,
        engine: PatchSearchEngine,
        category: str,
        settings: ScoringSettings,
        encoded: Sequence[EncodedReferences],
        names: Sequence[str],
    ) -> None:
        self._names = names
        self._frame = memory.frame(category)
        self._memory, self._engine, self._category, self._settings = memory, engine, category, settings
        self._batch = MemoryBank.empty(memory.space, memory.codec.name)
        if encoded:
            self._batch = self._batch.with_references(range(len(encoded)), [category] * len(encoded), join(encoded), 1)

    def compare(self, index: int) -> ScreeningResult:
        """Search for one image among the references and the other images. About the work of two detections."""
        features = self._batch.features_of(index)
        grid = features.grid
        descriptor = features.global_descriptors[0].numpy()
        peers = self._peers(descriptor, index, grid)
        distances = self._distances(features, peers)
        typical = typical_difference(distances)
        duplicates = [
            peer for peer, distance in zip(peers, distances, strict=True) if are_near_duplicates(distance, typical)
        ]
        findings = [
            self._near_duplicate(peer, distances[peers.index(peer)], typical)
            for peer in duplicates
            if peer.image_index is None or peer.image_index < index
        ][:1]
        own = [duplicate.row for duplicate in duplicates if duplicate.image_index is None]
        known = self._memory.nearest_references(descriptor, self._settings.k, self._category, own, grid)
        searched = self._memory.searched_rows(self._category, known.rows, grid, all_present=not own)
        fresh = self._batch.nearest_references(
            descriptor,
            self._settings.k,
            None,
            [index, *(duplicate.row for duplicate in duplicates if duplicate.image_index is not None)],
        )
        best: NDArray[np.float32] | None = None
        similarity = -1.0
        for memory, result, rows in ((self._memory, known, searched), (self._batch, fresh, fresh.rows)):
            if len(result.rows):
                part = best_similarities(self._engine, memory, features, rows, self._settings.rho)
                best = part if best is None else np.maximum(best, part)  # S is 1 − a maximum: maxima merge exactly
                similarity = max(similarity, float(result.similarities[0]))
        if best is None:
            return ScreeningResult(None, tuple(findings))
        frame = stored_frame(features, self._frame, self._settings)
        statistics = from_distances(1.0 - best, similarity, features, frame, self._settings)
        if len(peers) >= _OWN and (category := self._other_category(features, 1.0 - best, similarity)) is not None:
            findings.append(category)
        nearest = next((peer for peer in peers if peer not in duplicates), None)
        shift = (0, 0) if nearest is None else self._shift(features, nearest)
        return ScreeningResult(statistics, tuple(findings), shift)

    def _near_duplicate(self, peer: Peer, distance: float, typical: float | None) -> Finding:
        which = f"reference {peer.reference_id}" if peer.image_index is None else repr(self._names[peer.image_index])
        others = "" if typical is None else f", other parts by up to {typical:.3f}"
        detail = f"Shows the same part as {which}: apart by {distance:.3f}{others}."
        return Finding(
            "near_duplicate", detail, distance, typical, reference_id=peer.reference_id, image_index=peer.image_index
        )

    def _peers(self, descriptor: NDArray[np.float32], index: int, grid: tuple[int, int]) -> list[Peer]:
        known = self._memory.nearest_references(descriptor, PEERS, self._category, grid=grid)
        fresh = self._batch.nearest_references(descriptor, PEERS, None, [index])
        peers = [
            Peer(float(similarity), int(row), int(self._memory.ids[row]), None)
            for row, similarity in zip(known.rows, known.similarities, strict=True)
        ] + [
            Peer(float(similarity), int(row), None, int(row))
            for row, similarity in zip(fresh.rows, fresh.similarities, strict=True)
        ]
        return sorted(peers, key=lambda peer: -peer.similarity)[:PEERS]

    def _distances(self, features: Features, peers: Sequence[Peer]) -> list[float]:
        distances = []
        for peer in peers:
            memory = self._memory if peer.image_index is None else self._batch
            distances.append(float(differences(memory, features, [peer.row], self._settings.rho)[0]))
        return distances

    def _other_category(self, features: Features, distances: NDArray[np.float32], similarity: float) -> Finding | None:
        """Whether another category's references match the image better, by global descriptor and by patches.

        distances: to the images of its own category, float32 (layers, cells).
        """
        own = self._memory.rows_of(self._category).tolist()
        descriptor = features.global_descriptors[0].numpy()
        nearest = self._memory.nearest_references(descriptor, 1, None, own)
        if not len(nearest.rows) or float(nearest.similarities[0]) <= similarity:
            return None
        category = self._memory.category_of(int(nearest.rows[0]))
        rows = self._memory.nearest_references(descriptor, self._settings.k, category, grid=features.grid).rows
        if not len(rows):  # its images are inspected on another grid
            return None
        rows = self._memory.searched_rows(category, rows, features.grid)
        best = best_similarities(self._engine, self._memory, features, rows, self._settings.rho)
        frame = stored_frame(features, self._frame, self._settings)
        other_distance, own_distance = (
            mean_distance(cell_distances, frame, self._settings) for cell_distances in (1.0 - best, distances)
        )
        if other_distance >= own_distance:
            return None
        detail = (
            f"More like {category!r} than like {self._category!r}: mean patch distance "
            f"{max(0.0, other_distance):.3f} to it, {own_distance:.3f} to the others of its own."
        )
        reference_id = int(self._memory.ids[nearest.rows[0]])
        return Finding(
            "other_category", detail, other_distance, limit=own_distance, reference_id=reference_id, category=category
        )

    @torch.inference_mode()
    def _shift(self, features: Features, nearest: Peer) -> tuple[int, int]:
        """The shift in grid cells (down, right) at which the image best matches its nearest reference, if clearly
        better than no shift.
        """
        memory = self._memory if nearest.image_index is None else self._batch
        reference = memory.features_of(nearest.row)
        shown = _shown_by_both(features, reference)
        own_patches, reference_patches = (
            image.patches[0].mean(dim=0).view(*image.grid, -1)[shown] for image in (features, reference)
        )
        rows, columns = own_patches.shape[:2]
        if not rows or not columns:
            return 0, 0
        best, result = 1.0 - _FITS * (1.0 - float((own_patches * reference_patches).sum(dim=-1).mean())), (0, 0)
        for down in range(-min(_MAX_SHIFT, rows // 2), min(_MAX_SHIFT, rows // 2) + 1):
            for right in range(-min(_MAX_SHIFT, columns // 2), min(_MAX_SHIFT, columns // 2) + 1):
                own_overlap = own_patches[max(0, down) : rows + min(0, down), max(0, right) : columns + min(0, right)]
                reference_overlap = reference_patches[
                    max(0, -down) : rows + min(0, -down), max(0, -right) : columns + min(0, -right)
                ]
                likeness = float((own_overlap * reference_overlap).sum(dim=-1).mean())
                if likeness > best:
                    best, result = likeness, (down, right)
        return result


def _shown_by_both(one: Features, other: Features) -> tuple[slice, slice]:
    """The rows and columns of the cells that show something of both images: the rest of a letterboxed one is empty."""
    shown = np.ones(one.grid, np.bool_)
    for image in (one, other):
        if (empty := image.without_image()) is not None:
            shown &= ~empty.reshape(image.grid)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def all_findings(
    results: Sequence[ScreeningResult],
    qualities: Sequence[PhotoQuality],
    known: Sequence[ImageStatistics],
    stored_qualities: Sequence[PhotoQuality],
    cell: float,
) -> list[tuple[Finding, ...]]:
    """All findings of each image: photo quality, and comparison with the others.

    qualities: of the same images. known, stored_qualities: of the existing references. cell: as for `find_outliers`.
    """
    compared = find_outliers(results, known, cell)
    all_ = PhotoQualities.from_images([*stored_qualities, *qualities])
    return [
        (*photo_findings(quality, all_.without(len(stored_qualities) + index)), *compared[index])
        for index, quality in enumerate(qualities)
    ]

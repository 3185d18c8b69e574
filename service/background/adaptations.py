"""Calibrates categories for images that are stored more coarsely than their references, once such images come."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from indexer.calibration.adaptation import Adaptation, AdaptationBuilder
from indexer.calibration.calibration import Calibration, with_calibrated_weights
from indexer.calibration.conformal import references_needed
from indexer.catalogue.adaptations import MAX_ENCODINGS, StoredAdaptation
from indexer.domain.encoding import Encoding
from indexer.domain.errors import CategoryNotFound
from indexer.domain.geometry import InputGeometry
from indexer.domain.reference import Reference
from indexer.encoders import Encoder, PreparedImage, Preprocessor
from indexer.encoders.encode_images import encode_batch
from indexer.memory import MemoryBank
from indexer.references.stored_calibrations import read_stored
from indexer.references.stored_image import prepare_stored
from service.background.calibration_manager import CalibrationBasis, CalibrationManager
from service.background.supervisor import for_each
from service.inference.resources import InferenceResources

log = logging.getLogger("touchstone")

_MIN_REFERENCES = 512  # references, if there are so many: more only when the false-reject rate needs them


@dataclass
class _Wanted:
    """Images of one encoding that a category has met. adaptation: the latest one; None before the first.

    geometry: that it was made under. waiting: done once there is an adaptation, or none can be made.
    """

    adaptation: Adaptation | None = None
    geometry: InputGeometry | None = None
    failed: str | None = None  # key of the calibration beside which none could be made
    waiting: Future[None] = field(default_factory=Future)
    awaited: bool = False


class Adaptations:
    """The latest adaptation for each category and encoding that was asked for, and the task that makes them.

    They are kept in the catalogue, so that a restart, or another process on the same data, finds them. A reference is
    read again, stored like the images, and searched at the lowest priority: a detection waits for at most one step. An
    outdated adaptation is used until it is renewed.
    """

    def __init__(self, resources: InferenceResources, calibrations: CalibrationManager) -> None:
        self._worker = resources.worker
        self._encoder = resources.encoder
        self._engine = resources.engine
        self._reference_store = resources.reference_store
        self._limits = resources.limits
        self._calibrations = calibrations
        self._wanted: dict[tuple[str, Encoding], _Wanted] = {}
        self._changing = threading.Lock()
        self.asked: Callable[[], object] = lambda: None  # has a round begin soon

    def of(self, category: str, encoding: Encoding) -> Adaptation | Literal["waiting", "impossible"]:
        """The latest adaptation; while there is none it is made, if that is possible.

        One of another geometry is none, nor is one that has no reference in common with the category's calibration:
        that was made for a removed category of the same name.
        """
        requested = self._want(category, encoding)
        adaptation, known = requested.adaptation, self._calibrations.of(category)
        if adaptation is None:
            return "waiting" if requested.failed is None else "impossible"
        own = {} if known is None else known.reference_scores
        is_own = any(reference in own for reference in adaptation.calibration.references)
        if not is_own or requested.geometry != self._reference_store.geometry_of(category):
            return "waiting"
        return adaptation

    async def prepared(self, category: str, encoding: Encoding, seconds: float) -> None:
        """Return once there is an adaptation, or none can be made, or after so many seconds.

        Only the first caller waits, so that a stream of such images does not delay all others.
        """
        if self._calibrations.of(category) is None:
            return
        requested = self._want(category, encoding)
        with self._changing:
            if requested.awaited or requested.adaptation is not None:
                return
            requested.awaited = True
        await asyncio.wait([asyncio.wrap_future(requested.waiting)], timeout=seconds)

    def round(self, stopping: threading.Event) -> None:
        """See `Task`: make what is wanted and not there, or out of date."""
        with self._changing:
            requested = {f"{category}, {encoding}": (category, encoding) for category, encoding in self._wanted}
        for_each(lambda key: self._renew_or_forget(*key, stopping), requested, stopping)

    def _renew_or_forget(self, category: str, encoding: Encoding, stopping: threading.Event) -> None:
        with self._changing:
            if category not in self._reference_store.published.settings:
                self._wanted.pop((category, encoding), None)
            wanted = self._wanted.get((category, encoding))
        if wanted is not None:
            self._renew(category, encoding, wanted, stopping)

    def _want(self, category: str, encoding: Encoding) -> _Wanted:
        with self._changing:
            requested = self._wanted.get((category, encoding))
            if requested is not None:
                return requested
            of_category = [key for key in self._wanted if key[0] == category]
            for key in of_category[: len(of_category) + 1 - MAX_ENCODINGS]:
                del self._wanted[key]
            requested = self._wanted[category, encoding] = _Wanted()
        self.asked()
        return requested

    def _renew(self, category: str, encoding: Encoding, request: _Wanted, stopping: threading.Event) -> None:
        published = self._reference_store.published
        settings, known = published.settings[category], self._calibrations.of(category)
        basis = CalibrationBasis.of(published.memory, category, settings.scoring)
        if known is None or known.key != basis.key:
            return  # the category's own calibration comes first
        present = request.adaptation
        if request.failed == known.key or (present is not None and present.calibration.key == known.key):
            return
        catalogue, name = self._reference_store.catalogue.adaptations, encoding.to_json()
        stored = catalogue.read(category, published.memory_id, name)
        adaptation = None
        if stored is not None and stored.key == known.key:
            try:
                adaptation = Adaptation.from_bytes(stored.state, known)
            except ValueError:
                log.warning(
                    "the stored calibration of %s for %s cannot be read; it is computed again", category, encoding
                )
        if adaptation is None:
            max_references = max(_MIN_REFERENCES, references_needed(settings.false_reject_rate))
            outcome = self._made(published.memory, category, basis, known, encoding, max_references, stopping)
            if outcome is None:
                return  # references have changed meanwhile, or the service stops: another round
            if isinstance(outcome, Adaptation):
                adaptation = outcome
                try:
                    catalogue.store(
                        category, published.memory_id, name, StoredAdaptation(known.key, adaptation.to_bytes())
                    )
                except CategoryNotFound:  # it was removed meanwhile
                    return
        if adaptation is not None:
            request.geometry = published.memory.geometry_of(category)
        request.adaptation, request.failed = adaptation or request.adaptation, known.key if adaptation is None else None
        if not request.waiting.done():
            request.waiting.set_result(None)

    def _made(
        self,
        memory: MemoryBank,
        category: str,
        basis: CalibrationBasis,
        known: Calibration,
        encoding: Encoding,
        max_references: int,
        stopping: threading.Event,
    ) -> Adaptation | str | None:
        """The adaptation, why there can be none, or None when it was not finished."""
        stored = read_stored(self._reference_store, category)
        if stored is None or not basis.is_of(stored[1]):
            return None
        adapting = AdaptationBuilder(
            memory, self._engine, with_calibrated_weights(basis.settings, known), stored[1], known, max_references
        )
        references = {
            reference.id: reference for reference in self._reference_store.catalogue.references.iterate(category)
        }
        geometry = memory.geometry_of(category)
        log.info("%s is calibrated for images that are %s", category, encoding)
        for reference_id in adapting.reference_ids:
            if (prepared := self._stored(references.get(reference_id), encoding, geometry)) is not None:
                self._worker.submit_calibration(_adding(self._encoder, adapting, reference_id, prepared)).result()
            newest = self._reference_store.memory
            if stopping.is_set() or (
                newest is not memory and CalibrationBasis.of(newest, category, basis.settings) != basis
            ):
                return None
        adaptation = adapting.result()
        if adaptation is None:
            log.error("%s cannot be calibrated for images that are %s: its images cannot be read", category, encoding)
            return "unreadable"
        return adaptation

    def _stored(self, reference: Reference | None, encoding: Encoding, geometry: InputGeometry) -> PreparedImage | None:
        """A reference's image as it would be, had it been stored so. None if it is unreadable."""
        if reference is None:
            return None
        preprocess = Preprocessor(self._encoder.space.global_geometry)
        return prepare_stored(
            reference, self._reference_store.read_original, self._limits, preprocess, geometry, encoding
        )


def _adding(
    encoder: Encoder, adapting: AdaptationBuilder, reference_id: int, prepared: PreparedImage
) -> Callable[[MemoryBank], None]:
    return lambda _: adapting.add(reference_id, encode_batch(encoder, [prepared]))

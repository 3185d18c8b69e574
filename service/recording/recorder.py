"""Records detections in the history: catalogue row, image, thumbnail, anomaly map."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from indexer.domain.errors import CatalogueError, CommitUncertain, RequestKeyReused
from indexer.domain.inspection import Inspection
from indexer.domain.review import review_reason
from indexer.domain.stored_file import map_name, original_name, thumbnail_name
from indexer.history.pruner import HISTORY, Pruner
from indexer.references.reference_store import ReferenceStore
from indexer.storage.disk_space import has_free_space
from indexer.storage.durable import write_durably
from service.inference.decoder import DecodedImage
from service.inference.detection_jobs import TimedDetection
from service.observability.tracing import Stage
from service.recording.circuit_breaker import CircuitBreaker
from service.recording.group_commit import GroupCommit
from service.recording.idempotency import KeyedRequest
from service.recording.map_images import map_png

log = logging.getLogger("touchstone")


@dataclass(frozen=True)
class PendingInspection:
    """A detection about to become history. total_ms: from the request's arrival to the answer."""

    id: str
    at: datetime
    image: DecodedImage
    timed: TimedDetection
    part_id: str | None
    station: str | None
    total_ms: float
    request: KeyedRequest | None
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def inspection(self, stored_bytes: int | None = None, thumbnail_bytes: int | None = None) -> Inspection:
        """The row to keep, with the sizes of what is kept beside it."""
        original, timed, detection = self.image.original, self.timed, self.timed.detection
        decision, calibration = detection.decision, detection.criteria.calibration
        region = detection.criteria.scoring.region
        return Inspection(
            id=self.id,
            at=self.at,
            filename=original.filename,
            verdict=decision.verdict,
            score=detection.measures.score,
            version=detection.version,
            width=original.width,
            height=original.height,
            category=detection.category,
            part_id=self.part_id,
            station=self.station,
            threshold=decision.threshold,
            p_value=decision.p_value,
            regions=tuple(
                {
                    "box": anomaly.box,
                    "area": anomaly.area,
                    "peak": anomaly.peak,
                    "centroid": anomaly.centroid,
                    "polygon": anomaly.polygon,
                    "nearest_patch": asdict(evidence),
                }
                for anomaly, evidence in detection.regions
            ),
            references=tuple(asdict(neighbour) for neighbour in detection.references),
            timings={
                "queue_ms": timed.queue_seconds * 1000,
                "encode_ms": timed.encode_seconds * 1000,
                "search_ms": timed.search_seconds * 1000,
                "total_ms": self.total_ms,
            },
            image_sha256=original.sha256,
            image_suffix=original.suffix,
            map_name=map_name(self.id, self.attempt),
            calibration_key=None if calibration is None else calibration.key,
            calibration_size=None if calibration is None else len(calibration),
            novelty={
                "statistic": decision.novelty,
                "threshold": decision.novelty_threshold,
                "p_value": decision.novelty_p_value,
                "median_distance": detection.measures.median,
                "scene_distance": detection.measures.scene_distance,
                "scene_p_value": decision.scene_p_value,
                "similarity": 1.0 - detection.measures.global_distance,
                "self_similarity": detection.measures.self_similarity,
            },
            alternative_category=None
            if detection.alternative_category is None
            else asdict(detection.alternative_category),
            stored_bytes=stored_bytes,
            thumbnail_bytes=thumbnail_bytes,
            encoding=None if original.encoding is None else original.encoding.to_json(),
            reading=original.reading.to_json(),
            notices=tuple(map(asdict, timed.notices)),
            geometry=detection.scored.frame.geometry.to_json(),
            region_of_interest=None if region is None else asdict(region),
            request_key=None if self.request is None else self.request.key,
            request_digest=None if self.request is None else self.request.digest,
            review=review_reason(
                decision.verdict, detection.measures.score, decision.threshold, detection.criteria.review_band
            ),
        )


@dataclass(frozen=True)
class RecordResult:
    """The result of recording a request.

    recorded: whether its inspections are in the history; None if the response to the commit was lost. earlier: by id,
    those that another try of the same request had recorded by then, which stand in place of what was found now. stages:
    of recording them.
    """

    recorded: bool | None
    earlier: Mapping[str, Inspection] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()


class Recorder:
    """Records inspections. Failures are reported in the response and never fail a detection.

    Files that may be unused are left to the pruner, which deletes them once it is certain that no row names them: a row
    may exist although its commit seemed to fail, or belong to another attempt.
    """

    def __init__(self, data: Path, reference_store: ReferenceStore, pruner: Pruner, min_free_bytes: int) -> None:
        self._data = data
        self._reference_store = reference_store
        self._pruner = pruner
        self._min_free_bytes = min_free_bytes
        self._breaker = CircuitBreaker(reference_store.catalogue)
        self._commit = GroupCommit(reference_store.catalogue.inspections.record_requests)

    def earlier(self, request: KeyedRequest) -> dict[str, Inspection]:
        """The inspections recorded for a request before, by id; empty while the database does not respond.
        RequestKeyReused.

        While it does not respond, no other attempt is recorded either.
        """
        if not self._breaker.closed():
            return {}
        try:
            with self._breaker.asking():
                inspections = self._reference_store.catalogue.inspections.of_request(request.key)
        except CatalogueError as error:
            log.error("unknown whether this request was answered before: %s", error)
            return {}
        if any(inspection.request_digest != request.digest for inspection in inspections.values()):
            raise RequestKeyReused("the key was used for a request with other content")
        return inspections

    def record(self, inspections: Sequence[PendingInspection]) -> RecordResult:
        """Record the inspections of one request, all or none, with their images and maps.

        RequestKeyReused when the request's key was used for another one meanwhile.
        """
        begun = time.monotonic()
        files: dict[str, bytes] = {}
        originals: list[str] = []
        rows: list[Inspection] = []
        for pending in inspections:
            original, small = pending.image.original, pending.image.thumbnail
            drawn = map_png(pending.timed.detection.map)
            row = pending.inspection(len(original.data) + len(drawn), len(small))
            rows.append(row)
            files |= {f"{HISTORY}/{row.map_name}": drawn, f"{HISTORY}/{thumbnail_name(row.id)}": small}
            originals.append(f"originals/{original_name(original.sha256, original.suffix)}")
        drawn_at = time.monotonic()
        try:
            if not has_free_space(self._data, self._min_free_bytes) or not self._breaker.closed():
                return RecordResult(False)
            with self._reference_store.files.shared():
                for pending in inspections:
                    self._reference_store.store_image(pending.image.original.data, pending.image.original.suffix)
                write_durably({self._data / name: data for name, data in files.items()})
                written_at = time.monotonic()
                with self._breaker.asking():
                    earlier = self._commit(rows)
        except RequestKeyReused:
            self._pruner.abandon([*files, *originals])
            raise
        except (OSError, CatalogueError) as error:
            log.error("inspections are probably not recorded: %s", error)
            self._pruner.abandon([*files, *originals])
            return RecordResult(None if isinstance(error, CommitUncertain) else False)
        self._pruner.abandon([f"{HISTORY}/{row.map_name}" for row in rows if row.id in earlier])
        stages = (
            Stage("map", begun, drawn_at),
            Stage("files", drawn_at, written_at),
            Stage("catalogue", written_at, time.monotonic()),
        )
        return RecordResult(True, earlier, stages)

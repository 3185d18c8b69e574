"""Inspections as they are kept: a catalogue row, the picture as it was sent and made small, and the map as a PNG."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from indexer.catalogue import CatalogueError, Inspection
from indexer.catalogue.retention import thumbnail_name
from indexer.encoders import FeatureSpace
from indexer.images import encode_jpeg, encode_png, shrink
from indexer.library import Library
from indexer.overlay import draw_heat
from service.detection import Detection
from service.schemas.inspections import InspectionView, PictureKept, Timings
from service.uploads import Picture

log = logging.getLogger("touchstone")

MAP_SCALE = 2.0  # the largest value a map can take, since it is made of 1 − cosine
_HEAT_SIDE = 1024  # pixels; the map itself has 256
THUMBNAIL_SIDE = 192  # pixels; 3 to 12 KB
_THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class Finding:
    """A detection about to become history. total_ms: from the request's arrival to the answer."""

    id: str
    at: datetime
    picture: Picture
    detection: Detection
    part_id: str | None
    station: str | None
    total_ms: float

    def inspection(self, kept_bytes: int | None = None, thumbnail_bytes: int | None = None) -> Inspection:
        """The row to keep, with the sizes of what is kept beside it."""
        original, detection, decision = self.picture.original, self.detection, self.detection.decision
        calibration = detection.calibration
        return Inspection(
            id=self.id, at=self.at, filename=original.filename, verdict=decision.verdict,
            score=detection.measures.score, version=detection.version,
            width=original.width, height=original.height, category=detection.category,
            part_id=self.part_id, station=self.station, threshold=decision.threshold, p_value=decision.p_value,
            regions=tuple(
                {
                    "box": region.box, "area": region.area, "peak": region.peak, "centroid": region.centroid,
                    "polygon": region.polygon, "evidence": asdict(evidence),
                }
                for region, evidence in detection.regions
            ),
            references=tuple(asdict(neighbour) for neighbour in detection.references),
            timings=Timings(
                queue_ms=detection.queued * 1000, encode_ms=detection.encoding * 1000,
                search_ms=detection.searching * 1000, total_ms=self.total_ms,
            ).model_dump(),
            image_sha256=original.sha256, image_suffix=original.suffix, map_name=f"{self.id}.png",
            calibration_key=None if calibration is None else calibration.key,
            calibration_size=None if calibration is None else len(calibration),
            familiarity={
                "statistic": decision.unfamiliarity, "level": decision.unfamiliar_level,
                "p_value": decision.unfamiliar_p_value, "median_distance": detection.measures.median,
                "similarity": 1.0 - detection.measures.remoteness, "uniformity": detection.measures.uniformity,
            },
            better_category=None if detection.better_category is None else asdict(detection.better_category),
            kept_bytes=kept_bytes, thumbnail_bytes=thumbnail_bytes,
        )  # fmt: skip


def has_room(folder: Path, min_free_bytes: int) -> bool:
    """Whether the disk has so much left that history may use some: references need it more."""
    return shutil.disk_usage(folder).free >= min_free_bytes


def record(library: Library, folder: Path, findings: Sequence[Finding], min_free_bytes: int) -> bool:
    """Keep inspections, their pictures and maps; False, with nothing kept, when there is no room.

    An answer is worth more than its history: a disk that is full, or nearly (`has_room`), stops the recording, not the
    line.
    """
    if not has_room(folder, min_free_bytes):
        return False
    files: dict[Path, bytes] = {}
    rows: list[Inspection] = []
    for finding in findings:
        # Made now, while the picture is decoded: that takes a tenth of the time it would when the picture goes.
        small = encode_jpeg(shrink(finding.picture.image, THUMBNAIL_SIDE), _THUMBNAIL_QUALITY)
        drawn, original = map_png(finding.detection.map), finding.picture.original
        files |= {folder / f"{finding.id}.png": drawn, folder / thumbnail_name(finding.id): small}
        rows.append(finding.inspection(len(original.data) + len(drawn), len(small)))
    try:
        with library.files.appending():
            for finding in findings:
                library.keep_original(finding.picture.original.data, finding.picture.original.suffix)
            for path, data in files.items():
                path.write_bytes(data)
            library.catalogue.inspections.record(rows)
    except (OSError, CatalogueError) as error:
        log.error("inspections are not recorded: %s", error)
        for path in files:
            path.unlink(missing_ok=True)
        return False
    return True


def view(inspection: Inspection) -> InspectionView:
    """An inspection as the API shows it."""
    return InspectionView.model_validate({**asdict(inspection), "picture": pictured(inspection)})


def pictured(inspection: Inspection) -> PictureKept:
    """What is left of its picture."""
    if inspection.kept_bytes is not None:
        return "whole"
    return "none" if inspection.thumbnail_bytes is None else "thumbnail"


def map_png(anomaly_map: NDArray[np.float32]) -> bytes:
    """A map float32 (256, 256) as a 16-bit grey PNG: value / 65535 × MAP_SCALE."""
    levels = np.clip(anomaly_map / MAP_SCALE, 0.0, 1.0) * 65535
    return encode_png(np.round(levels).astype(np.uint16))


def heat_png(folder: Path, inspection: Inspection, space: FeatureSpace) -> bytes | None:
    """The kept map as colours to lay over the whole picture, RGBA PNG; None when it is no longer kept."""
    path = folder / (inspection.map_name or "")
    levels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if levels is None:
        return None
    anomaly_map = (levels / 65535 * MAP_SCALE).astype(np.float32)
    factor = min(1.0, _HEAT_SIDE / max(inspection.width, inspection.height))
    size = (max(1, round(inspection.width * factor)), max(1, round(inspection.height * factor)))
    return encode_png(draw_heat(anomaly_map, inspection.threshold, space, size))

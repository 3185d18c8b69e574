"""Rows for a catalogue: references of images that are nothing but a name."""

from __future__ import annotations

import hashlib
import itertools

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.geometry import InputGeometry
from indexer.domain.reference import NewReference
from indexer.domain.snapshot import SegmentFile

GEOMETRY = InputGeometry.paper().to_json()
SPACE = ('{"encoder": "test"}', "f" * 64, "fp16")

_numbers = itertools.count()


def segment(count: int) -> SegmentFile:
    index = next(_numbers)
    return SegmentFile(f"{index}.segment", f"{index:064x}", 100 * count, count)


def images(*names: str) -> list[NewReference]:
    return [NewReference(hashlib.sha256(n.encode()).hexdigest(), ".png", f"{n}.png", 640, 480) for n in names]


def add(catalogue: Catalogue, memory_id: int, category: str, *names: str) -> tuple[int, ...]:
    return catalogue.references.append(category, segment(len(names)), images(*names), memory_id, GEOMETRY).reference_ids

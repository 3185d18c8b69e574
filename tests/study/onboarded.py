"""Products as the service has them by default: inspected whole, layers weighed by references, one detector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.calibration.leave_one_out import calibrate
from indexer.detection.detector import Criteria
from indexer.domain.category import CategorySettings
from indexer.domain.geometry import DEFAULT_CELLS, InputGeometry, choose_geometry
from indexer.domain.geometry_choice import commonest
from indexer.encoders import Encoder, EncoderSettings, Features, load_encoder, prepare
from indexer.encoders.encode_images import encode_batch
from indexer.jobs.encoder_of_memory import with_overview
from indexer.memory import MemoryBank
from indexer.search import PatchSearchEngine

Image = NDArray[np.uint8]

SCORING = CategorySettings().scoring


def study_encoder() -> Encoder:
    """The built-in encoder on a CPU, as a new memory has it."""
    return load_encoder(with_overview(EncoderSettings(device="cpu")))


def geometry_of(encoder: Encoder, references: Sequence[Image]) -> InputGeometry:
    """How the service inspects a new product with these references."""
    size = commonest(Counter((image.shape[1], image.shape[0]) for image in references))
    assert size is not None, "a product needs references"
    return choose_geometry(size[0] / size[1], DEFAULT_CELLS, encoder.space.patch)


def encode(encoder: Encoder, image: Image, geometry: InputGeometry) -> Features:
    """One image's features, inspected so."""
    return encode_batch(encoder, [prepare(image, geometry, encoder.space.global_geometry)])


def memory_of(
    encoder: Encoder, references: Mapping[str, Sequence[Features]], geometries: Mapping[str, InputGeometry]
) -> MemoryBank:
    """A memory of products by name; ids count from 0 in their order."""
    memory = MemoryBank.empty(encoder.space).with_geometries(geometries)
    for name, images in references.items():
        for features in images:
            memory = memory.with_references([memory.rows], [name], memory.codec.encode(features), memory.version + 1)
    return memory


def criteria_of(memory: MemoryBank, engine: PatchSearchEngine, category: str, rate: float) -> Criteria:
    """What the service judges the category's images by at this false-reject rate."""
    settings = CategorySettings(false_reject_rate=rate)
    return Criteria.of(settings, calibrate(memory, engine, category, settings.scoring, balance=True))

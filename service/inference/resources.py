"""What images are decoded, encoded and searched with beside requests."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.encoders import Encoder, Preprocess
from indexer.imaging.decode import ImageLimits
from indexer.references.reference_store import ReferenceStore
from indexer.search import PatchSearchEngine
from service.inference.worker import InferenceWorker


@dataclass(frozen=True)
class InferenceResources:
    """One of each in a service.

    worker: runs what encoder and engine compute, on their thread. preprocess: makes the encoder's input of pixels.
    limits: of images that are read.
    """

    worker: InferenceWorker
    encoder: Encoder
    engine: PatchSearchEngine
    reference_store: ReferenceStore
    preprocess: Preprocess
    limits: ImageLimits

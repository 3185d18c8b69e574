"""References that are nothing but a number, in a feature space that no encoder made."""

from __future__ import annotations

import hashlib

from indexer.references.reference_store import ReferenceStore
from indexer.references.source_image import SourceImage
from tests.helpers.random_features import feature_space, random_features

SPACE = feature_space()


def add(reference_store: ReferenceStore, category: str, *seeds: int) -> list[int]:
    """Make images that are nothing but their number references of a category."""
    originals, encoded = [], {}
    for seed in seeds:
        data = f"{category} {seed}".encode()
        digest = hashlib.sha256(data).hexdigest()
        originals.append(SourceImage(f"{seed}.png", data, digest, ".png", 4, 3))
        encoded[digest] = reference_store.memory.codec.encode(random_features(reference_store.memory.space, 1, seed))
    return [outcome.reference_id for outcome in reference_store.add(category, originals, encoded).outcomes]

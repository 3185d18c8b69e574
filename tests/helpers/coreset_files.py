"""Small coresets in a data folder, finished as the service finishes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from indexer.catalogue.catalogue import Catalogue
from indexer.domain.coreset import CoresetFile, CoresetResult, CoresetTarget
from indexer.storage.coreset_store import CoresetContent, CoresetStore
from indexer.storage.lock import StoreLock


def condense(root: Path, catalogue: Catalogue, category: str) -> CoresetFile:
    """A finished coreset of one patch, of the memory being served."""
    memory, lock = catalogue.memories.active(), StoreLock(root / "append.lock")
    assert memory is not None
    owners, codes = np.zeros((1, 1, 1), np.int32), np.ones((1, 1, 1, 16), np.uint8)
    with lock.shared():
        file = CoresetStore(root / "coresets", lock).write(
            CoresetContent(memory.fingerprint, memory.codec, (1, 1), np.array([1]), owners, codes)
        )
        requested = catalogue.coresets.request(category, CoresetTarget(share=0.5))
        catalogue.coresets.finish(requested.id, memory.id, CoresetResult(file, 1, 1, (0.0,)))
    return file

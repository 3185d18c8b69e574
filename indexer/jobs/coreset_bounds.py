"""How far coresets can raise scores, as the codes of their references tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from indexer.catalogue.catalogue import Catalogue
from indexer.catalogue.data_folder import DataFolder
from indexer.domain.errors import CategoryNotFound, CorruptSegmentError
from indexer.jobs.condense import category_snapshot
from indexer.memory.k_centre import covering_radii
from indexer.storage.coreset_store import CoresetStore


@dataclass(frozen=True)
class CoresetBound:
    """The bound of a category's coreset.

    by_layer: the longest difference between a reference's patch and the nearest one of the coreset in its cell. No
    distance in that layer is larger than to all references by more, nor a fused distance or an image score by more than
    the mean over the layers, weighted as the score's. None where references are gone, and the coreset is not searched.
    """

    category: str
    references: int
    patches: int
    by_layer: dict[str, float] | None

    @property
    def described(self) -> str:
        """What is searched, for a person."""
        return f"{self.patches} of {self.references} patches in each place"


def coreset_bounds(folder: DataFolder, progress: Callable[[int, int], None]) -> tuple[CoresetBound, ...]:
    """Read the coresets of the memory in use, and the codes of the references that they stand for.

    Damaged ones are left out. progress: told how many coresets of how many are done.
    """
    catalogue = Catalogue.of(folder)
    bounds = []
    try:
        memory = catalogue.memories.active()
        records = () if memory is None else catalogue.coresets.finished(memory.id)
        store = CoresetStore(folder.root / "coresets", folder.lock)
        with folder.lock.shared():  # no file is deleted meanwhile
            for index, record in enumerate(records):
                progress(index, len(records))
                assert record.result is not None, "it is finished"
                try:
                    content = store.read(record.result.file)
                    bank, _ = category_snapshot(folder, catalogue, record.category)
                    radii = covering_radii(bank, record.category, content)
                except (CorruptSegmentError, CategoryNotFound, OSError):
                    continue
                except ValueError:
                    by_layer = None
                else:
                    by_layer = dict(zip(bank.space.layers, radii.max(axis=1).tolist(), strict=True))
                bounds.append(CoresetBound(record.category, record.result.references, record.result.patches, by_layer))
            progress(len(records), len(records))
    finally:
        catalogue.close()
    return tuple(bounds)

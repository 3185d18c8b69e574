"""Memories with a coreset."""

from __future__ import annotations

from indexer.domain.coreset import CoresetTarget
from indexer.memory import MemoryBank
from indexer.memory.k_centre import ChosenPatches, choose_patches
from indexer.steps import run_to_end


def condensed(memory: MemoryBank, category: str, share: float, number: int = 1) -> tuple[MemoryBank, ChosenPatches]:
    """The memory that searches a category in a coreset of this share, and the coreset."""
    chosen = run_to_end(choose_patches(memory, category, CoresetTarget(share=share)))
    return memory.with_coreset(category, number, chosen.content), chosen

"""Folders of images of good parts, as `touchstone index` reads them."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.part_images import part


def folder_of(root: Path, layout: str, **counts: int) -> Path:
    """Images of good parts, `counts` a category, in one of the layouts."""
    for kind, (category, count) in enumerate(counts.items()):
        folder = root / category / layout
        folder.mkdir(parents=True)
        for seed in range(count):
            (folder / f"{category}-{seed:03d}.png").write_bytes(part(seed, kind=kind))
    return root

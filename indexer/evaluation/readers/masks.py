"""An image's mask, as the readers find it."""

from __future__ import annotations

from pathlib import Path

from indexer.evaluation.dataset import DatasetError
from indexer.imaging.listing import list_images


def masks_of(images: list[Path], folder: Path, where: str) -> list[Path | None]:
    """Each image's mask `<name>_mask.*` or `<name>.*` in a folder; all None when the folder is not there.

    where: how to name the images to people. DatasetError when the folder is there but some masks are not.
    """
    if not folder.is_dir():
        return [None] * len(images)
    by_stem = {path.stem: path for path in list_images(folder)}
    masks = [by_stem.get(f"{image.stem}_mask") or by_stem.get(image.stem) for image in images]
    missing = [image.name for image, mask in zip(images, masks, strict=True) if mask is None]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(images)} images in {where} have no mask in {folder}, the first {missing[0]}: "
            "unpack the data set again, or remove the masks' folder to do without"
        )
    return masks

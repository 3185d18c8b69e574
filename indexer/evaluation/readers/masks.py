"""An image's mask, as the readers find it."""

from __future__ import annotations

from pathlib import Path

from indexer.evaluation.dataset import DatasetError
from indexer.imaging.listing import list_images
from indexer.text import TextRejected, read_text

UNMASKED = "unmasked.txt"  # in a folder of masks: names of images, a line each, of which nobody drew one


def masks_of(images: list[Path], folder: Path, where: str) -> list[Path | None]:
    """Each image's mask `<name>_mask.*` or `<name>.*` in a folder; all None when the folder is not there.

    where: how to name the images to people. DatasetError when the folder is there but some masks are not, unless its
    `unmasked.txt` names those images.
    """
    if not folder.is_dir():
        return [None] * len(images)
    by_stem = {path.stem: path for path in list_images(folder)}
    masks = [by_stem.get(f"{image.stem}_mask") or by_stem.get(image.stem) for image in images]
    unmasked = _unmasked(folder / UNMASKED)
    missing = [
        image.name for image, mask in zip(images, masks, strict=True) if mask is None and image.name not in unmasked
    ]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(images)} images in {where} have no mask in {folder}, the first {missing[0]}: "
            "unpack the data set again, or remove the masks' folder to do without"
        )
    return masks


def _unmasked(path: Path) -> frozenset[str]:
    """The images that a list names; none without it."""
    try:
        return frozenset(read_text(path).splitlines()) if path.is_file() else frozenset()
    except TextRejected as error:
        raise DatasetError(str(error)) from None

"""The folder layouts that bulk indexing accepts: which images are of which category."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from indexer.imaging.listing import is_folder, list_folders, list_images, list_visible
from indexer.text import MAX_LENGTH, TextRejected, category_name, readable

_GOOD = Path("train") / "good"


class NothingToIndex(ValueError):
    """A folder that is not laid out as one of the layouts; the message is one line that says what to do."""


@dataclass(frozen=True)
class CategoryFolder:
    """The images of one category. misnamed: why its folder's name cannot be a category's; None when it can."""

    category: str
    paths: tuple[Path, ...]
    misnamed: str | None = None


@dataclass(frozen=True)
class FolderLayout:
    """What lies under a folder. ignored: what is not hidden and no image by its suffix."""

    categories: tuple[CategoryFolder, ...]
    ignored: tuple[Path, ...]


def find_categories(root: Path) -> FolderLayout:
    """What lies under a folder: `<category>/train/good/*` (MVTec-AD) or `<category>/*`, category by category.

    A folder whose name breaks the rule for text is named in a readable form. NothingToIndex when there is no image.
    """
    if not root.is_dir():
        raise NothingToIndex(f"{root} is not a folder")
    if (root / _GOOD).is_dir():
        raise NothingToIndex(f"{root} is one category: give the folder that it lies in")
    categories = []
    ignored = [path for path in list_visible(root) if not is_folder(path)]
    for folder in list_folders(root):
        good_folder = folder / _GOOD if (folder / _GOOD).is_dir() else folder
        paths = list_images(good_folder)
        if paths:
            categories.append(_category_folder(folder, tuple(paths)))
            ignored += sorted(set(list_visible(good_folder)) - set(paths))
        else:
            ignored.append(folder)
    if not categories:
        loose = " (images lie in it directly: move them into a folder named for their category)"
        raise NothingToIndex(
            f"no images in {root}/<category>/ or {root}/<category>/train/good/{loose if list_images(root) else ''}"
        )
    return FolderLayout(tuple(categories), tuple(ignored))


def _category_folder(folder: Path, paths: tuple[Path, ...]) -> CategoryFolder:
    try:
        return CategoryFolder(category_name(folder.name), paths)
    except TextRejected as refused:
        return CategoryFolder(readable(folder.name, MAX_LENGTH), paths, f"The folder's name {refused}: rename it.")

"""Lists image files in folders, for the bulk job and the evaluation."""

from __future__ import annotations

from pathlib import Path

# Suffixes of the formats that `indexer.imaging.decode` reads. The decoder looks at a file's content, not at its name;
# these only tell image files from others in a folder.
IMAGE_SUFFIXES = frozenset(
    {".apng", ".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}
)


def list_images(folder: Path) -> list[Path]:
    """The images directly in a folder, by name; none when there is no such folder. Hidden files are no images."""
    if not folder.is_dir():
        return []
    return [path for path in list_visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES and _is_file(path)]


def list_folders(folder: Path) -> list[Path]:
    """The folders directly in a folder, by name."""
    return [path for path in list_visible(folder) if is_folder(path)]


def list_visible(folder: Path) -> list[Path]:
    """All that lies directly in a folder and is not hidden, by name."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def is_folder(path: Path) -> bool:
    """Whether it is a folder; False if the disk reports an error."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_file(path: Path) -> bool:
    """Whether it is a file; True if the disk reports an error, so that opening it reports that error."""
    try:
        return path.is_file()
    except OSError:
        return True

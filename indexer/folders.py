"""Pictures in folders, as the bulk job and the evaluation look for them."""

from __future__ import annotations

from pathlib import Path

# Of every format that `indexer.images` reads. It looks at a file's content, not at its name: these only tell image
# files from others in a folder.
IMAGE_SUFFIXES = frozenset(
    {".apng", ".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}
)


def pictures(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by name; none when there is no such folder. Hidden files are no pictures."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )  # fmt: skip


def folders(folder: Path) -> list[Path]:
    """The folders directly in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))

"""Pictures in folders, as the bulk job and the evaluation look for them."""

from __future__ import annotations

from pathlib import Path

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}


def pictures(folder: Path) -> list[Path]:
    """The pictures directly in a folder, by name; none when there is no such folder. Hidden files are no pictures."""
    if not folder.is_dir():
        return []
    return sorted(
        path for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
    )  # fmt: skip


def folders(folder: Path) -> list[Path]:
    """The folders directly in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))

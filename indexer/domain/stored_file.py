"""The files of a data folder, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGEST = re.compile(r"[0-9a-f]{64}")

_IMAGE_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")


def original_name(sha256: str, suffix: str) -> str:
    """The path of an original within their folder. ValueError for what is no digest or suffix."""
    if not _DIGEST.fullmatch(sha256) or not _IMAGE_SUFFIX.fullmatch(suffix):
        raise ValueError(f"not the name of an original: {sha256!r}, {suffix!r}")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}{suffix}"


@dataclass(frozen=True)
class NamedFile:
    """A file that the catalogue names. path: within the data folder; sha256: None if not known."""

    path: str
    sha256: str | None


def original_path(sha256: str, suffix: str) -> str:
    """The file of an image."""
    return f"originals/{original_name(sha256, suffix)}"


def thumbnail_name(inspection_id: str) -> str:
    """The file of an inspection's thumbnail, beside its map."""
    return f"{inspection_id}.jpg"


def map_name(inspection_id: str, attempt: str) -> str:
    """The file of an inspection's map, which shows what one attempt found: another may have seen other references."""
    return f"{inspection_id}.{attempt}.png"

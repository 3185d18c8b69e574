"""Whether the data folder's disk has space for inspections."""

from __future__ import annotations

import shutil
from pathlib import Path


def has_free_space(data: Path, min_free_bytes: int) -> bool:
    """Whether the disk has so much left that history may use some: references need it more. Not if it does not say."""
    try:
        return shutil.disk_usage(data).free >= min_free_bytes
    except OSError:
        return False

"""Whether the data folder's disk has space for inspections."""

from __future__ import annotations

import shutil
from pathlib import Path


def has_free_space(data: Path, min_free_bytes: int) -> bool:
    """Whether enough disk space is free for the history; the rest is reserved for references. False if unknown."""
    try:
        return shutil.disk_usage(data).free >= min_free_bytes
    except OSError:
        return False

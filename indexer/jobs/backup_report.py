"""The result of a backup, a check or a restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True)
class BackupReport:
    """What was done with the backup `name`, or with a data folder.

    files: in all. copied: those that were new, of `copied_bytes`. mended: those whose copy was damaged and was copied
    anew. damaged: a line for each fault. unserved: references whose features were lost, while their images are kept.
    """

    name: str
    files: int
    copied: int = 0
    copied_bytes: int = 0
    mended: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    unserved: int = 0

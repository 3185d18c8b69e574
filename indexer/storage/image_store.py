"""Content-addressed store of the uploaded images."""

from __future__ import annotations

import hashlib
from pathlib import Path

from indexer.domain.errors import OriginalUnreadable
from indexer.domain.stored_file import original_name
from indexer.storage.durable import make_folder, sync_folder, write_durably
from indexer.storage.lock import StoreLock


class ImageStore:
    """The uploaded images as they came, by the sha256 of their bytes: `ab/cd/<sha256>.<suffix>`."""

    def __init__(self, root: Path, lock: StoreLock) -> None:
        make_folder(root)
        self._root = root
        self._lock = lock

    def path(self, sha256: str, suffix: str) -> Path:
        """Where an original lies. suffix: with its dot, such as `.png`. ValueError for what is no digest or suffix."""
        return self._root / original_name(sha256, suffix)

    def write(self, data: bytes, suffix: str) -> str:
        """Keep these bytes durably and return their sha256. Call it inside `StoreLock.shared()`.

        A file of that name which does not hold them, damaged since, is replaced. Raises StorageFull when there is no
        room.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256, suffix)
        make_folder(path.parent)
        if _holds(path, data):
            sync_folder(path.parent)  # whoever wrote it may not have come this far yet
            return sha256
        write_durably({path: data})
        return sha256

    def read(self, sha256: str, suffix: str) -> bytes:
        """The bytes of an original. Raises OriginalUnreadable, and OSError when the disk cannot read it."""
        try:
            data = self.path(sha256, suffix).read_bytes()
        except FileNotFoundError:
            raise OriginalUnreadable(sha256, "missing") from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise OriginalUnreadable(sha256, "checksum")
        return data


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:  # missing, or the disk cannot read it
        return False

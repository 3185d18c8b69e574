"""The folder of coreset files: write, read with verification, map."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from indexer.domain.coreset import CoresetContent, CoresetFile
from indexer.domain.errors import CorruptSegmentError
from indexer.storage.durable import durable_write, make_folder
from indexer.storage.lock import StoreLock
from indexer.storage.segment_format import CHUNK

_SUFFIX = ".coreset"


class CoresetStore:
    """The folder of coreset files, in the safetensors format; SQL says which of them exist.

    They are derived data: one that is lost is made again.
    """

    def __init__(self, root: Path, lock: StoreLock) -> None:
        make_folder(root)
        self._root = root
        self._lock = lock

    def write(self, content: CoresetContent) -> CoresetFile:
        """Store a coreset durably under a new name. Call it inside `StoreLock.shared()`.

        Raises StorageFull, and ValueError for arrays that do not fit each other.
        """
        _check(content)
        arrays = {"references": content.references, "owners": content.owners, "codes": content.codes}
        described = {"fingerprint": content.fingerprint, "codec": content.codec}
        rows, columns = content.grid
        data = memoryview(
            save(
                {name: np.ascontiguousarray(array) for name, array in arrays.items()},
                {**described, "rows": str(rows), "columns": str(columns)},
            )
        )
        name = uuid.uuid4().hex + _SUFFIX
        with durable_write(self._root / name) as file:
            for start in range(0, len(data), CHUNK):
                file.write(data[start : start + CHUNK])
        return CoresetFile(name, hashlib.sha256(data).hexdigest(), len(data))

    def read(self, file: CoresetFile) -> CoresetContent:
        """Read a coreset, whose checksum and content are verified. Raises CorruptSegmentError."""
        self._check_size(file)
        with (self._root / file.name).open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise CorruptSegmentError(file.name, "checksum")
        return self._content(file)

    def _check_size(self, file: CoresetFile) -> None:
        try:
            size = os.stat(self._root / file.name).st_size
        except FileNotFoundError:
            raise CorruptSegmentError(file.name, "missing") from None
        if size < file.size:
            raise CorruptSegmentError(file.name, "truncated")

    def _content(self, file: CoresetFile) -> CoresetContent:
        try:
            with safe_open(self._root / file.name, framework="np") as opened:
                described = opened.metadata() or {}
                references, owners, codes = (
                    np.asarray(opened.get_tensor(name)) for name in ("references", "owners", "codes")
                )
            grid = (int(described["rows"]), int(described["columns"]))
            content = CoresetContent(described["fingerprint"], described["codec"], grid, references, owners, codes)
            _check(content)
            return content
        except (SafetensorError, KeyError, ValueError) as error:
            raise CorruptSegmentError(file.name, "bad header") from error


def _check(content: CoresetContent) -> None:
    """ValueError for arrays that do not fit each other; the codes themselves are not read."""
    references, owners, codes = content.references, content.owners, content.codes
    for array, dtype, axes in ((references, "int64", 1), (owners, "int32", 3), (codes, "uint8", 4)):
        if array.dtype != dtype or array.ndim != axes:
            raise ValueError(f"a coreset has an array of {dtype} with {axes} axes, not {array.dtype} {array.shape}")
    if not codes.size or codes.shape[:3] != owners.shape:
        raise ValueError(f"owners of shape {owners.shape} do not match codes of shape {codes.shape}")
    if min(content.grid) < 1 or content.grid[0] * content.grid[1] != codes.shape[2]:
        raise ValueError(f"a grid of {content.grid} does not have {codes.shape[2]} cells")
    if (np.diff(references) <= 0).any():
        raise ValueError("the ids of references do not ascend")
    if owners.min() < 0 or owners.max() >= len(references):
        raise ValueError(f"an owner is none of {len(references)} references")

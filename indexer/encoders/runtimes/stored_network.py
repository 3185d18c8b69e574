"""Keeps converted networks in a folder: written whole, read only with the checksums they were written with."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SUMS = "SHA256SUMS"
log = logging.getLogger("touchstone")


@contextmanager
def stored_network(root: Path | None, name: str, write: Callable[[Path], None]) -> Iterator[Path]:
    """The folder `name` in `root`, for as long as the block lasts; `write` fills an empty one when it is not there.

    One with a file missing or damaged is written anew. Where nothing can be kept, it is written to a temporary folder.
    """
    if root is not None:
        folder = root / name
        if is_whole(folder) or _keep(folder, write):
            yield folder
            return
    with tempfile.TemporaryDirectory(prefix="touchstone-") as temporary:
        write(Path(temporary))
        yield Path(temporary)


def is_whole(folder: Path) -> bool:
    """Whether the folder has its list of checksums, and every file of that list is as it says."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        sums = [line.partition("  ") for line in lines]  # an empty list is what a power failure leaves
        return bool(sums) and all(_sum(folder / name) == digest for digest, _, name in sums)
    except (OSError, UnicodeDecodeError):
        return False


def _keep(target: Path, write: Callable[[Path], None]) -> bool:
    """Write it beside, then give it its name; False, with a warning, when the disk does not let us."""
    log.info("converting the encoder for another runtime, once: %s", target.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
            folder = Path(temporary) / target.name
            folder.mkdir()
            write(folder)
            sums = [f"{_sum(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
            (folder / SUMS).write_text("".join(sums), encoding="utf-8")
            if not is_whole(target):  # another process may have been faster
                shutil.rmtree(target, ignore_errors=True)
                os.rename(folder, target)
    except OSError as error:
        log.warning("the converted encoder cannot be stored, and is converted at each start: %s", error)
        return False
    return True


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

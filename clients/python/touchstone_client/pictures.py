"""Pictures on their way to the service: read from disk as they are sent, never held in memory together."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from touchstone_client.text import LONGEST_FILENAME, readable

# Of every format that the service reads. It looks at a file's content, not at its name: these only tell image files
# from others in a folder.
IMAGE_SUFFIXES = frozenset(
    {".apng", ".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}
)


@dataclass(frozen=True)
class Picture:
    """A picture file with the name that people will see. source: where it lies, or its bytes."""

    name: str
    source: Path | bytes

    def open(self) -> BinaryIO:
        """Its bytes from the beginning. OSError."""
        return io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source.open("rb")

    @property
    def size(self) -> int:
        """Bytes; 0 for a file that cannot be looked at, which whoever opens it is told."""
        try:
            return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size
        except OSError:
            return 0


PictureLike: TypeAlias = Picture | Path | str | bytes


def picture(given: PictureLike) -> Picture:
    """A picture from a path, from bytes, or as it is, under a name that can be sent."""
    match given:
        case Picture():
            found = given
        case bytes():
            found = Picture("picture", given)
        case _:
            path = Path(given)
            found = Picture(path.name, path)
    return replace(found, name=readable(found.name, LONGEST_FILENAME) or "picture")


@dataclass(frozen=True)
class Batch:
    """How much of a long upload goes into one request; what the service finds too large is halved and sent again."""

    pictures: int = 16
    bytes: int = 64 << 20


def batches(pictures: Iterable[PictureLike], most: Batch) -> Iterator[tuple[Picture, ...]]:
    """Pictures in order, in groups within a batch's bounds; one larger than a batch goes alone."""
    waiting: deque[Picture] = deque()
    size = 0
    for each in map(picture, pictures):
        if waiting and (len(waiting) == most.pictures or size + each.size > most.bytes):
            yield tuple(waiting)
            waiting.clear()
            size = 0
        waiting.append(each)
        size += each.size
    if waiting:
        yield tuple(waiting)

"""Images to upload: read from disk when they are sent, in batches that fit a request."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from touchstone_client.text import MAX_FILENAME_LENGTH, sanitize

# Of every format that the service reads. The service looks at a file's content; suffixes only tell image files from
# other files in a folder.
IMAGE_SUFFIXES = frozenset(
    {".apng", ".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}
)


@dataclass(frozen=True)
class ImageFile:
    """An image file, undecoded. filename: as shown to people. content: its path, or its bytes."""

    filename: str
    content: Path | bytes

    def open(self) -> BinaryIO:
        """Open it for reading. OSError."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    @property
    def size(self) -> int:
        """Bytes; 0 for a file whose size cannot be read, since opening it raises the error."""
        try:
            return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size
        except OSError:
            return 0


ImageInput: TypeAlias = ImageFile | Path | str | bytes


def to_image_file(image: ImageInput) -> ImageFile:
    """An image file from a path, from bytes, or as it is, under a file name that the service accepts."""
    match image:
        case ImageFile():
            file = image
        case bytes():
            file = ImageFile("image", image)
        case _:
            path = Path(image)
            file = ImageFile(path.name, path)
    return replace(file, filename=sanitize(file.filename, MAX_FILENAME_LENGTH) or "image")


@dataclass(frozen=True)
class BatchLimits:
    """How much of an upload goes into one request; a request that the service finds too large is split in half."""

    max_images: int = 16
    max_bytes: int = 64 << 20


def batches(images: Iterable[ImageInput], limits: BatchLimits) -> Iterator[tuple[ImageFile, ...]]:
    """Images in order, in groups within the limits; an image larger than `max_bytes` is a group of its own."""
    group: deque[ImageFile] = deque()
    size = 0
    for image in map(to_image_file, images):
        if group and (len(group) == limits.max_images or size + image.size > limits.max_bytes):
            yield tuple(group)
            group.clear()
            size = 0
        group.append(image)
        size += image.size
    if group:
        yield tuple(group)

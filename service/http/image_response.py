"""Kept pictures as they are shown: as they were sent, or made smaller in a format that every browser knows."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Response

from indexer.imaging.decode import ImageLimits, decode_image
from indexer.imaging.encode import downscale, encode_jpeg
from service.thread_pools import Pool

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
    ".tif": "image/tiff",
}

Side = Annotated[
    int | None,
    Query(ge=16, le=4096, description="Longest side in pixels: the picture is made no larger than this, as JPEG."),
]

UNCHANGING = {"Cache-Control": "private, max-age=604800, immutable"}  # an id's picture never changes
_QUALITY = 88


async def pictured(files: Pool, data: bytes, suffix: str, side: int | None, limits: ImageLimits) -> Response:
    """A kept picture's bytes; with a side, upright, no larger than that, as JPEG."""
    if side is None:
        return Response(data, media_type=MEDIA_TYPES[suffix], headers=UNCHANGING)
    smaller = await files(lambda: encode_jpeg(downscale(decode_image(data, limits), side), _QUALITY))
    return Response(smaller, media_type="image/jpeg", headers=UNCHANGING)

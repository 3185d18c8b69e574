"""Responds with a stored image, as it was uploaded or downscaled to JPEG."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import Query, Response

from indexer.imaging.decode import ImageLimits, decode_image
from indexer.imaging.encode import downscale, encode_jpeg
from service.thread_pools import ThreadPool

MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
    ".tif": "image/tiff",
}

Side = Annotated[
    int | None,
    Query(
        ge=16,
        le=4096,
        description="Maximum length of the longer side in pixels; the image is then scaled down and returned as JPEG.",
    ),
]

IMMUTABLE_HEADERS = {"Cache-Control": "private, max-age=604800, immutable"}  # an id's image never changes
_QUALITY = 88


async def image_response(
    files: ThreadPool, data: bytes, suffix: str, side: int | None, limits: ImageLimits
) -> Response:
    """A kept image's bytes; with a side, upright, no larger than that, as JPEG.

    limits: those of uploads, but for the smallest side: the thumbnail of a long, narrow image may be a pixel wide.
    """
    if side is None:
        return Response(data, media_type=MEDIA_TYPES[suffix], headers=IMMUTABLE_HEADERS)
    shown = replace(limits, min_side=1)
    smaller = await files(lambda: encode_jpeg(downscale(decode_image(data, shown), side), _QUALITY))
    return Response(smaller, media_type="image/jpeg", headers=IMMUTABLE_HEADERS)

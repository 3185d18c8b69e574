"""How images were stored and read, and what people should know of that."""

from __future__ import annotations

from pydantic import Field

from indexer.domain.bit_depth import BitDepth
from indexer.domain.encoding import Encoding
from indexer.domain.notice import NoticeKind
from indexer.domain.reading import Reading
from service.schemas.base import ResponseModel


class NoticeView(ResponseModel):
    """A notice about how an image was read; it does not change the verdict."""

    kind: NoticeKind
    detail: str = Field(description="A sentence for people, with a remedy if there is one.")


class EncodingView(ResponseModel):
    """How an image file is encoded, and how it was read."""

    format: str = Field(description="JPEG, PNG, BMP, TIFF or WEBP.")
    lossy: bool
    bits: int = Field(description="Bits per channel, as stored.")
    quality: int | None = Field(description="JPEG quality, 1 to 100, estimated from the quantisation tables.")
    subsampling: str | None = Field(description="Chroma subsampling of a colour JPEG, such as 4:2:0.")
    bit_depth: BitDepth | None = Field(description="Number of the 16 bits per channel that were treated as used.")
    read_as: str | None = Field(
        description="The encoding that was applied before inspection, because the references have it."
    )


def encoding_view(encoding: str | None, reading: str | None) -> EncodingView | None:
    """What the catalogue keeps as the API shows it; None of what was kept before that was noted."""
    if encoding is None:
        return None
    stored, read = Encoding.from_json(encoding), Reading.from_json(reading)
    return EncodingView(
        **vars(stored),
        bit_depth=read.depth if stored.bits == 16 else None,
        read_as=None if read.stored_as is None else str(read.stored_as),
    )

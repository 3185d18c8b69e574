"""How images were stored and read, and what people should know of that."""

from __future__ import annotations

from pydantic import Field

from indexer.domain.bit_depth import BitDepth
from indexer.domain.encoding import Encoding
from indexer.domain.notice import NoticeKind
from indexer.domain.reading import Reading
from service.schemas.base import ResponseModel


class NoticeView(ResponseModel):
    """Something to know of how an image was read, beside what was found in it."""

    kind: NoticeKind
    detail: str = Field(description="A sentence for people, which says what to do where something can be done.")


class EncodingView(ResponseModel):
    """How an image was stored, and what was made of that when it was read."""

    format: str = Field(description="JPEG, PNG, BMP, TIFF or WEBP.")
    lossy: bool
    bits: int = Field(description="A channel, as stored.")
    quality: int | None = Field(description="Of a JPEG, 1 to 100, told from its tables.")
    subsampling: str | None = Field(description="Of a colour JPEG, such as 4:2:0.")
    bit_depth: BitDepth | None = Field(description="Of 16 bits a channel, as many as were taken for used.")
    read_as: str | None = Field(description="What it was stored as in between, since the references are.")


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

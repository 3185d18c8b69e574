"""Reading multipart uploads within limits: how many files, which fields, and the decoded pictures."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
import torch
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from indexer.domain.reading import Reading
from indexer.images import (
    ImageLimits,
    ImageRefused,
    Stored,
    decoded_bytes,
    encode_jpeg,
    has_sixteen_bits,
    read_image,
    shrink,
    suffix_of,
)
from indexer.library import Original
from indexer.reading import read_pixels, reading_for
from indexer.text import LONGEST_FILENAME, TextRefused, plain, readable, utf8
from service import multipart
from service.admission import Budget
from service.metrics import Metrics
from service.problems import ProblemError
from service.tracing import Stage

IMAGES = "images"
Fields = TypeVar("Fields", bound=BaseModel)
T = TypeVar("T")
_PLAIN = Reading()
_MOST_FIELDS = 16
THUMBNAIL_SIDE = 192  # pixels; 3 to 12 KB
_THUMBNAIL_QUALITY = 80


@dataclass(frozen=True)
class Picture:
    """An uploaded picture as the encoder takes it. prepared: uint8 (3, crop, crop).

    Its pixels are let go of once that is made: decoded, a request's pictures would take gigabytes together. thumbnail:
    made of them before, as JPEG. stage: when it was decoded. largest: the largest value of a file of 16 bits a
    channel, None of others.
    """

    original: Original
    prepared: torch.Tensor
    thumbnail: bytes
    stage: Stage
    largest: int | None = None


@dataclass(frozen=True)
class File:
    """One uploaded file. The name is kept for people to read; it never becomes a path.

    misnamed: why the file is not taken under the name it came with; `name` is then a readable form of that.
    """

    name: str
    data: bytes
    misnamed: str | None = None


@dataclass(frozen=True)
class Upload:
    """The files of a multipart body under `images`, in order."""

    files: tuple[File, ...]


async def read_upload(request: Request, fields: type[Fields], most_images: int) -> tuple[Upload, Fields]:
    """Read a multipart body: files under `images`, and text fields as a model describes them.

    ProblemError for anything else, RequestValidationError for values that the model refuses.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise ProblemError("invalid-request", f"Send multipart/form-data with one or more files under {IMAGES!r}.")
    try:
        body = await multipart.Body.read(request, most_images, _MOST_FIELDS)
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise ProblemError(
                "request-too-large", f"At most {most_images} pictures fit in one request: send the others in another."
            ) from None
        raise ProblemError("invalid-request", f"The multipart body cannot be read: {error.message}") from None
    files: list[File] = []
    values: dict[str, str] = {}
    try:
        for raw, value in body.items():
            name = raw.decode(errors="replace")
            if isinstance(value, UploadFile) and name == IMAGES:
                files.append(_file(multipart.filename(value), await value.read()))
                await value.close()  # in memory once, not twice
            elif isinstance(value, bytes) and name in fields.model_fields and name not in values:
                values[name] = _text(name, value)
            else:
                raise _unexpected(name, fields)
    finally:
        await body.close()
    if not files:
        raise ProblemError("invalid-request", f"No picture was sent: send one or more files under {IMAGES!r}.")
    try:
        return Upload(tuple(files)), fields.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_context=False)) from None


def _file(raw: bytes, data: bytes) -> File:
    try:
        return File(plain(PurePath(utf8(raw)).name, LONGEST_FILENAME) or "unnamed", data)
    except TextRefused as refused:
        name = readable(raw.decode(errors="replace"), LONGEST_FILENAME)
        return File(name, data, f"The file's name {refused}: send it under another.")


def _text(name: str, raw: bytes) -> str:
    try:
        return utf8(raw)
    except TextRefused as refused:
        raise ProblemError("invalid-request", f"{name}: the text {refused}.") from None


def _unexpected(name: str, fields: type[BaseModel]) -> ProblemError:
    if name == IMAGES:
        detail = f"A part {IMAGES!r} has no file name, so it is text: send each picture as a file, with `filename=`."
        return ProblemError("invalid-request", detail)
    expected = ", ".join(repr(field) for field in fields.model_fields)
    more = f", and at most one of each of {expected}" if expected else ""
    return ProblemError("invalid-request", f"Unexpected field {readable(name)!r}: send files under {IMAGES!r}{more}.")


# RGB uint8 (height, width, 3) → uint8 (3, crop, crop); called from several threads
Prepare = Callable[[NDArray[np.uint8]], torch.Tensor]


class Decoder:
    """Decodes and prepares pictures on a bounded number of threads; no more pixels are held than those decode at once.

    Requests take turns, so that one of many pictures does not hold one of a single picture. budget: of the bytes that
    pictures waiting here will have as pixels. Busy, before any is decoded, when they do not fit; their headers tell.
    """

    def __init__(self, threads: int, limits: ImageLimits, prepare: Prepare, metrics: Metrics, budget: Budget) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._headers = ThreadPoolExecutor(1, thread_name_prefix="headers")
        self._budget = budget
        self._limits = limits
        self._prepare = prepare
        self._metrics = metrics

    async def decode(self, upload: Upload, reading: Reading = _PLAIN) -> list[Picture | ImageRefused]:
        """Every file of an upload as a picture, or as the reason why not, in order."""
        return await self._run(lambda file: self._decode(file, reading), upload.files)

    async def read(self, file: File) -> Stored:
        """One file as it is stored. ImageRefused."""
        [stored] = await self._run(self._read, (file,))
        return stored

    async def largest(self, upload: Upload) -> int | None:
        """The largest value in those files that have 16 bits a channel; None without any that can be read."""
        found = await self._run(self._largest, upload.files)
        return max((each for each in found if each is not None), default=None)

    async def again(self, original: Original, work: Callable[[NDArray[np.uint8]], T]) -> T:
        """Decode a picture once more, and what `work` makes of its pixels, uint8 (height, width, 3) RGB."""

        def run() -> T:
            return work(read_pixels(read_image(original.data, self._limits), original.reading))

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def close(self) -> None:
        """End the threads."""
        self._headers.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)

    async def _run(self, work: Callable[[File], T], files: Sequence[File]) -> list[T]:
        loop = asyncio.get_running_loop()
        sizes = await loop.run_in_executor(self._headers, self._sizes, files)
        waiting = asyncio.Semaphore(self._threads)  # the others of this request get in line behind those of the next

        async def run(file: File, size: int) -> T:
            try:
                async with waiting:
                    return await loop.run_in_executor(self._pool, work, file)
            finally:
                lease.give_back(size)

        with self._budget.lease(sum(sizes)) as lease:
            return await asyncio.gather(*(run(file, size) for file, size in zip(files, sizes, strict=True)))

    def _sizes(self, files: Sequence[File]) -> list[int]:
        return [decoded_bytes(io.BytesIO(file.data), self._limits) for file in files]

    def _decode(self, file: File, reading: Reading) -> Picture | ImageRefused:
        begun = time.monotonic()
        try:
            stored = self._read(file)
            reading = reading_for(stored, reading)
            image = read_pixels(stored, reading)
        except ImageRefused as refused:
            self._metrics.refused(refused.reason)
            return refused
        height, width = image.shape[:2]
        digest = hashlib.sha256(file.data).hexdigest()
        original = Original(
            file.name, file.data, digest, suffix_of(file.data), width, height, encoding=stored.encoding, reading=reading
        )
        prepared = self._prepare(image)
        thumbnail = encode_jpeg(shrink(image, THUMBNAIL_SIDE), _THUMBNAIL_QUALITY)
        stage = Stage("decode", begun, time.monotonic())
        self._metrics.stage(stage.name, stage.end - stage.begin)
        return Picture(original, prepared, thumbnail, stage, stored.largest)

    def _read(self, file: File) -> Stored:
        if file.misnamed is not None:
            raise ImageRefused("bad-name", file.misnamed)
        return read_image(file.data, self._limits)

    def _largest(self, file: File) -> int | None:
        if not has_sixteen_bits(io.BytesIO(file.data)):
            return None
        try:
            return self._read(file).largest
        except ImageRefused:
            return None


MEDIA_TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
    ".tif": "image/tiff",
}


def documented_upload(fields: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI's description of a multipart body of `images` and the fields of a model."""
    described = fields.model_json_schema()
    images = {
        "type": "array",
        "items": {"type": "string", "format": "binary"},
        "minItems": 1,
        "description": "JPEG, PNG, BMP, TIFF or WebP files.",
    }
    schema = {
        "type": "object",
        "properties": {IMAGES: images, **described["properties"]},
        "required": [IMAGES, *described.get("required", ())],
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}

"""Decodes images on a bounded number of threads and prepares them for the encoder."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from indexer.domain.encoding import Encoding
from indexer.domain.errors import OtherProportions
from indexer.domain.geometry import InputGeometry, Size
from indexer.domain.reading import Reading
from indexer.encoders import Encoder, PreparedImage, Preprocess, Preprocessor
from indexer.encoders.device_preprocessing import DevicePreprocessor
from indexer.imaging.decode import (
    ImageLimits,
    ImageRejected,
    RawImage,
    decoded_bytes,
    has_sixteen_bits,
    image_size,
    read_image,
)
from indexer.imaging.encode import detect_suffix
from indexer.imaging.reading import read_pixels, reading_for
from indexer.imaging.thumbnail import encode_thumbnail
from indexer.references.source_image import SourceImage
from service.inference.in_flight import Budget
from service.observability.metrics import Metrics
from service.observability.tracing import Stage
from service.settings import Settings

T = TypeVar("T")
_PLAIN = Reading()


@dataclass(frozen=True)
class DecodedImage:
    """An uploaded image as the encoder takes it.

    Its pixels are released once it is prepared, since the decoded images of a request could take gigabytes. thumbnail:
    made of them before, as JPEG. stages: waiting for a thread, decoding, and its parts. largest: the largest value of a
    file of 16 bits a channel, None of others.
    """

    original: SourceImage
    prepared: PreparedImage
    thumbnail: bytes
    stages: tuple[Stage, ...]
    largest: int | None = None


@dataclass(frozen=True)
class ImageFile:
    """One uploaded file. The name is kept for people to read; it never becomes a path.

    misnamed: why the file is not taken under the name it came with; `name` is then a readable form of that.
    """

    name: str
    data: bytes
    misnamed: str | None = None


@dataclass(frozen=True)
class Upload:
    """The files of a multipart body under `images`, in order."""

    files: tuple[ImageFile, ...]


class Decoder:
    """Decodes and preprocesses images on a bounded number of threads, which bounds the pixels in memory.

    Requests take turns, so that one of many images does not delay one of a single image. budget: of the decoded bytes
    of queued images, read from their headers; QueueFullError, before any is decoded, when they do not fit.
    """

    def __init__(
        self, threads: int, limits: ImageLimits, preprocess: Preprocess, metrics: Metrics, budget: Budget
    ) -> None:
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        self._headers = ThreadPoolExecutor(1, thread_name_prefix="headers")
        self._budget = budget
        self._limits = limits
        self._preprocess = preprocess
        self._metrics = metrics

    async def decode(
        self, upload: Upload, geometry: InputGeometry, reading: Reading = _PLAIN
    ) -> list[DecodedImage | ImageRejected]:
        """Every file of an upload as an image, prepared to be inspected so, or as the reason why not, in order."""
        geometries = (geometry, self._preprocess.global_geometry)
        asked = time.monotonic()

        def decode(file: ImageFile) -> DecodedImage | ImageRejected:
            waited = Stage("decode_queue", asked, time.monotonic())
            self._metrics.stage(waited.name, waited.seconds)
            return self._decode(file, geometries, reading, waited)

        return await self._run(decode, upload.files, geometries, reading.stored_as)

    async def sizes(self, upload: Upload) -> dict[Size, int]:
        """(width, height) of an upload's images as they are seen, upright → how many have it, as headers say."""
        loop = asyncio.get_running_loop()
        sizes = await loop.run_in_executor(self._headers, self._image_sizes, upload.files)
        return Counter(size for size in sizes if size is not None)

    async def read(self, file: ImageFile) -> RawImage:
        """One file as it is stored. ImageRejected."""
        [stored] = await self._run(self._read, (file,))
        return stored

    async def largest(self, upload: Upload) -> int | None:
        """The largest value in those files that have 16 bits a channel; None without any that can be read."""
        sizes = await self._run(self._largest, upload.files)
        return max((size for size in sizes if size is not None), default=None)

    async def again(self, original: SourceImage, work: Callable[[NDArray[np.uint8]], T]) -> T:
        """Decode an image once more, and what `work` makes of its pixels, uint8 (height, width, 3) RGB."""

        def run() -> T:
            return work(read_pixels(read_image(original.data, self._limits), original.reading))

        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def close(self) -> None:
        """End the threads."""
        self._headers.shutdown(cancel_futures=True)
        self._pool.shutdown(cancel_futures=True)

    async def _run(
        self,
        work: Callable[[ImageFile], T],
        files: Sequence[ImageFile],
        geometries: Sequence[InputGeometry] = (),
        stored_as: Encoding | None = None,
    ) -> list[T]:
        """What `work` makes of each file, in order. geometries, stored_as: as it gives them to `read_image`."""
        loop = asyncio.get_running_loop()

        def decoded_sizes() -> list[int]:
            return [decoded_bytes(io.BytesIO(file.data), self._limits, geometries, stored_as) for file in files]

        sizes = await loop.run_in_executor(self._headers, decoded_sizes)
        waiting = asyncio.Semaphore(self._threads)  # the others of this request get in line behind those of the next

        async def run(file: ImageFile, size: int) -> T:
            try:
                async with waiting:
                    return await loop.run_in_executor(self._pool, work, file)
            finally:
                lease.release(size)

        with self._budget.lease(sum(sizes)) as lease:
            return await asyncio.gather(*(run(file, size) for file, size in zip(files, sizes, strict=True)))

    def _image_sizes(self, files: Sequence[ImageFile]) -> list[Size | None]:
        return [image_size(io.BytesIO(file.data), self._limits) for file in files]

    def _decode(
        self, file: ImageFile, geometries: tuple[InputGeometry, InputGeometry], reading: Reading, waited: Stage
    ) -> DecodedImage | ImageRejected:
        begun = waited.end
        try:
            stored = self._read(file, geometries, reading.stored_as)
            reading = reading_for(stored, reading)
            image = read_pixels(stored, reading, geometries)
            read = time.monotonic()
            prepared = self._preprocess(image, geometries[0], stored.size)
            ready = time.monotonic()
        except (ImageRejected, OtherProportions) as error:
            refused = error if isinstance(error, ImageRejected) else _of_proportions(error)
            self._metrics.refused(refused.reason)
            return refused
        width, height = stored.size
        digest = hashlib.sha256(file.data).hexdigest()
        original = SourceImage(
            file.name,
            file.data,
            digest,
            detect_suffix(file.data),
            width,
            height,
            encoding=stored.encoding,
            reading=reading,
        )
        thumbnail = encode_thumbnail(image)
        ended = time.monotonic()
        stages = (
            Stage("decode", begun, ended),
            Stage("read", begun, read),
            Stage("prepare", read, ready),
            Stage("thumbnail", ready, ended),
        )
        for stage in stages:
            self._metrics.stage(stage.name, stage.seconds)
        return DecodedImage(original, prepared, thumbnail, (waited, *stages), stored.max_value)

    def _read(
        self, file: ImageFile, geometries: Sequence[InputGeometry] = (), stored_as: Encoding | None = None
    ) -> RawImage:
        if file.misnamed is not None:
            raise ImageRejected("bad-name", file.misnamed)
        return read_image(file.data, self._limits, geometries, stored_as)

    def _largest(self, file: ImageFile) -> int | None:
        if not has_sixteen_bits(io.BytesIO(file.data)):
            return None
        try:
            return self._read(file).max_value
        except ImageRejected:
            return None


def _of_proportions(error: OtherProportions) -> ImageRejected:
    return ImageRejected("other-proportions", f"{error}.".capitalize())


def choose_preprocessing(encoder: Encoder, settings: Settings) -> Preprocess:
    """What makes decoded images ready for the encoder, where the settings say."""
    if settings.preprocess_on_device:
        return DevicePreprocessor(encoder.device, encoder.space.global_geometry)
    return Preprocessor(encoder.space.global_geometry)

"""Decodes image files to pixels, or rejects them with a reason; the product's only decoder."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import error as StructError
from typing import Any, BinaryIO
from zlib import error as ZlibError

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from indexer.domain.bit_depth import FULL, BitDepth, can_hold
from indexer.domain.encoding import Encoding
from indexer.domain.errors import OtherProportions
from indexer.domain.geometry import InputGeometry, Size
from indexer.imaging.bit_depth import to_bytes
from indexer.imaging.encoding import detect_encoding, jpeg_encoding
from indexer.imaging.jpeg import has_more_scans
from indexer.imaging.scaled_jpeg import divide, jpeg_divisor

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
_EIGHT_BIT = {"L", "RGB", "P", "1", "CMYK", "YCbCr", "LAB"}
_WITH_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
_SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}
_MAX_SCANS = 64  # of a JPEG; encoders write up to some twenty
_WHITE_IS_ZERO = 0
_ORIENTATION = 0x0112
_FIRST_TURNED = 5  # from this orientation on, rows are stored as columns

# Pillow warns of damaged metadata and of sizes that our own limits judge. Silenced once for the process, since
# `warnings.catch_warnings` around each image is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before a pixel is decoded: bytes of the file, pixels in all, pixels a side."""

    max_bytes: int = 64 << 20
    max_pixels: int = 64_000_000
    max_side: int = 16_384
    min_side: int = 16


class ImageRejected(ValueError):
    """An image that cannot be used. `reason` is a stable slug for programs, `detail` a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, eq=False)
class RawImage:
    """An image as its file has it, upright.

    values: uint8 or uint16 (height, width), or (height, width, 3) in the order RGB. inverted: whether 0 is white.
    size: (width, height) of the file, of which `values` may be a half, a quarter or an eighth.
    """

    values: NDArray[np.uint8] | NDArray[np.uint16]
    encoding: Encoding
    size: Size
    inverted: bool = False

    @property
    def max_value(self) -> int | None:
        """The largest value where there are 16 bits a channel; None otherwise."""
        return int(self.values.max()) if self.values.dtype == np.uint16 else None

    @property
    def levels(self) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """(height, width): the largest value of each pixel's channels, 0 for black; what a mask is read by."""
        if self.inverted:
            return np.iinfo(self.values.dtype).max - self.values
        return self.values if self.values.ndim == 2 else self.values.max(axis=2)

    def rgb(self, depth: BitDepth = FULL) -> NDArray[np.uint8]:
        """uint8 (height, width, 3) RGB. depth: where 16 bits are stored, how many of them, from the lowest, are used.

        ImageRejected with reason `beyond-depth` when a value is beyond that: what it would be is not known.
        """
        largest = self.max_value
        if largest is None:
            bytes_ = self.values.astype(np.uint8, copy=False)
        elif can_hold(largest, depth):
            bytes_ = to_bytes(self.values.astype(np.uint16, copy=False), depth)
        else:
            raise ImageRejected(
                "beyond-depth",
                f"It holds values of up to {largest}, beyond the {(1 << depth) - 1} of {depth} bits: say the bit depth "
                "of the camera's files.",
            )
        if self.inverted:
            bytes_ = np.uint8(255) - bytes_
        return np.repeat(bytes_[..., None], 3, axis=2) if bytes_.ndim == 2 else bytes_


def decode_image(source: bytes | Path, limits: ImageLimits | None = None, depth: BitDepth = FULL) -> NDArray[np.uint8]:
    """A JPEG, PNG, BMP, TIFF or WebP file → uint8 (height, width, 3) RGB, upright: `read_image(…).rgb`."""
    return read_image(source, limits).rgb(depth)


def read_image(
    source: bytes | Path,
    limits: ImageLimits | None = None,
    geometries: Sequence[InputGeometry] = (),
    stored_as: Encoding | None = None,
) -> RawImage:
    """A JPEG, PNG, BMP, TIFF or WebP file as it is stored, upright.

    geometries: those that its pixels are prepared for. A JPEG is then decoded at the smallest of a half, a quarter and
    an eighth of its size that has twice the pixels a side that these take; with none, in full. stored_as: a file that
    is finer is decoded in full all the same, since it is stored in this way before it is scaled.

    EXIF orientation is applied; an EXIF block that cannot be read is ignored. Palettes and CMYK are converted to RGB,
    colour profiles are not applied. An alpha channel is dropped where it is opaque everywhere;
    an image with transparent pixels is refused, since what lies behind them is not known. So is a file of several
    frames or pages; but of a JPEG with further images attached (MPO, as telephones write it) the first is the
    image. Pixels of 12 or 32 bits and floats are refused, since which value is white is not known. The limits hold
    against the header, before pixels are decoded. Safe to call from several threads.

    ImageRejected, with reason `empty`, `too-many-bytes`, `not-an-image`, `too-small`, `side-too-long`,
    `too-many-pixels`, `several-frames`, `transparent`, `unsupported-depth` or `damaged`. OtherProportions where a
    geometry refuses a JPEG. OSError from reading a path.
    """
    limits = limits or ImageLimits()
    data = _read(source, limits)
    # Pillow refuses what has twice as many pixels as this, some formats before they allocate anything. It is one limit
    # for the process, and only ever raised: ours, which may be another for each call, holds below it.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, limits.max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, limits)
            if image.format == "PNG":
                _check_sums(data)
            if image.format in ("JPEG", "MPO") and has_more_scans(data, _MAX_SCANS):
                raise ImageRejected("damaged", f"The JPEG has more than {_MAX_SCANS} scans, which no encoder writes.")
            divisor = _divisor(image, geometries, stored_as)
            divide(image, divisor)
            return _stored(image, data, divisor)
    except UnidentifiedImageError:
        raise ImageRejected(
            "not-an-image", "This is not a JPEG, PNG, BMP, TIFF or WebP image, or its header is damaged."
        ) from None
    except Image.DecompressionBombError:
        raise ImageRejected("too-many-pixels", f"The image has more than {limits.max_pixels} pixels.") from None
    except (ImageRejected, OtherProportions):
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
        StructError,
        ZlibError,
        cv2.error,
    ) as error:
        # What Pillow's decoders raise on damaged files is not documented; these are the families seen.
        raise ImageRejected("damaged", f"The image is damaged or cut short ({error}).") from None


def has_sixteen_bits(file: BinaryIO) -> bool:
    """Whether a file's header says 16 bits a channel; False for what is no image. Decodes nothing."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            return image.mode in _SIXTEEN_BIT or _is_deep(image)
    except Exception:  # whatever is wrong with it, decoding it says so
        return False


def decoded_bytes(
    file: BinaryIO, limits: ImageLimits, geometries: Sequence[InputGeometry] = (), stored_as: Encoding | None = None
) -> int:
    """Bytes of an image's pixels as RGB in its own depth, decoded as by `read_image`, as its header says.

    0 for one that is refused. A progressive JPEG takes those of all its pixels: the decoder holds its coefficients.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            _check_header(image, limits)
            deep = image.mode in _SIXTEEN_BIT or _is_deep(image)
            divisor = 1 if "progressive" in image.info else _divisor(image, geometries, stored_as)
            return image.width * image.height * (6 if deep else 3) // divisor**2
    except Exception:  # whatever is wrong with it, decoding it says so
        return 0


def image_size(file: BinaryIO, limits: ImageLimits) -> tuple[int, int] | None:
    """(width, height) of an image as it is seen, upright, as its header says; None for one that is refused."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            _check_header(image, limits)
            return _upright_size(image)
    except Exception:  # whatever is wrong with it, decoding it says so
        return None


def _is_deep(image: Image.Image) -> bool:
    """Whether colour has 16 bits a channel, of which Pillow keeps 8. Call it before the pixels are loaded."""
    return any(";16" in str(tile.args) for tile in getattr(image, "tile", ()))


def _read(source: bytes | Path, limits: ImageLimits) -> bytes:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size == 0:
        raise ImageRejected("empty", "The file is empty.")
    if size > limits.max_bytes:
        raise ImageRejected("too-many-bytes", f"The file has {size} bytes; at most {limits.max_bytes} are accepted.")
    return source if isinstance(source, bytes) else source.read_bytes()


def _check_header(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if min(width, height) < limits.min_side:
        raise ImageRejected("too-small", f"{width}×{height} pixels: both sides must be {limits.min_side} or more.")
    if max(width, height) > limits.max_side:
        raise ImageRejected("side-too-long", f"{width}×{height} pixels: no side may be over {limits.max_side}.")
    if width * height > limits.max_pixels:
        raise ImageRejected("too-many-pixels", f"{width}×{height} pixels: at most {limits.max_pixels} are accepted.")
    # Not how many there are: to count a TIFF's pages takes minutes where a hostile file has a hundred thousand.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise ImageRejected("several-frames", "The file holds several frames or pages; send one image a file.")


def _check_sums(data: bytes) -> None:
    # Pillow compares a PNG's checksums only on request: a flipped bit would pass as an image.
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()


def _divisor(image: Image.Image, geometries: Sequence[InputGeometry], stored_as: Encoding | None) -> int:
    """By how much an opened image's sides are divided when it is decoded: 1 for what is no JPEG."""
    if not isinstance(image, JpegImageFile):
        return 1
    if stored_as is not None and jpeg_encoding(image).is_finer_than(stored_as):
        return 1
    return jpeg_divisor(_upright_size(image), geometries)


def _stored(image: Image.Image, data: bytes, divisor: int) -> RawImage:
    deep = _is_deep(image)
    image.load()
    values: NDArray[np.uint8] | NDArray[np.uint16]
    inverted = False
    if image.mode in _SIXTEEN_BIT:
        values, inverted = _sixteen_bit_grey(image)
    elif image.mode not in _EIGHT_BIT | _WITH_ALPHA:
        raise ImageRejected(
            "unsupported-depth", f"Pixels of type {image.mode} are not accepted: use 8 or 16 bits a channel."
        )
    else:
        colours = image
        if image.mode in _WITH_ALPHA or "transparency" in image.info:
            colours = image.convert("RGBA")
            if colours.getchannel("A").getextrema() != (255, 255):
                raise _transparent()
        values = (
            _sixteen_bit_colour(data)
            if deep
            else np.array(colours if colours.mode == "RGB" else colours.convert("RGB"))
        )
    encoding = detect_encoding(image, data, 16 if values.dtype == np.uint16 else 8)
    values = _upright(values, _orientation(image))
    return RawImage(values, encoding, (values.shape[1] * divisor, values.shape[0] * divisor), inverted)


def _sixteen_bit_grey(image: Image.Image) -> tuple[NDArray[np.uint16], bool]:
    """uint16 (height, width) of a 16-bit image, and whether 0 is white."""
    grey = np.asarray(image).astype(np.uint16)
    inverted = False
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2.get(BITSPERSAMPLE, (1,))[0]
        if bits != 16:
            raise ImageRejected("unsupported-depth", f"Pixels of {bits} bits are not accepted: use 8 or 16.")
        inverted = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO
    if (clear := image.info.get("transparency")) is not None and (grey == clear).any():
        raise _transparent()
    return grey, inverted


def _sixteen_bit_colour(data: bytes) -> NDArray[np.uint16]:
    """uint16 (height, width, 3) RGB of a file that Pillow accepts, of which it would keep 8 bits."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3 or decoded.shape[2] not in (3, 4):
        raise ImageRejected("unsupported-depth", "16 bits a channel are accepted in grey and in RGB only.")
    return np.ascontiguousarray(decoded[..., 2::-1])


def _upright_size(image: Image.Image) -> Size:
    """(width, height) of an opened image as it is seen; call it before the pixels are loaded."""
    width, height = image.size
    return (height, width) if _orientation(image) >= _FIRST_TURNED else (width, height)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 … 8, of a loaded image. A TIFF is upright by now, and no longer says that it was not."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, StructError):
        return 1
    return orientation if isinstance(orientation, int) else 1


def _upright(values: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels (height, width, …) as they are stored → as the camera was held."""
    turns = {
        2: np.fliplr(values),
        3: np.rot90(values, 2),
        4: np.flipud(values),
        5: np.swapaxes(values, 0, 1),
        6: np.rot90(values, -1),
        7: np.rot90(np.swapaxes(values, 0, 1), 2),
        8: np.rot90(values),
    }
    return np.ascontiguousarray(turns.get(orientation, values))


def _transparent() -> ImageRejected:
    return ImageRejected("transparent", "The image has transparent pixels; send it without an alpha channel.")

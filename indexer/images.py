"""The product's only image decoder: bytes or a path in, RGB out, or a clear reason why not."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from struct import error as StructError
from zlib import error as ZlibError

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
_EIGHT_BIT = {"L", "RGB", "P", "1", "CMYK", "YCbCr", "LAB", "HSV"}
_WITH_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
_SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N", "I"}


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before a pixel is decoded: bytes of the file, pixels in all, pixels a side."""

    max_bytes: int = 64 << 20
    max_pixels: int = 64_000_000
    max_side: int = 16_384
    min_side: int = 16


class ImageRefused(ValueError):
    """A picture that cannot be used. `reason` is a stable slug for programs, `detail` a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode_image(source: bytes | Path, limits: ImageLimits | None = None) -> NDArray[np.uint8]:
    """A JPEG, PNG, BMP, TIFF or WebP file → uint8 (height, width, 3) RGB, upright.

    EXIF orientation is applied. Grey is repeated in the three channels; 16-bit values are divided by 257 and rounded: a
    ramp keeps its range. Palettes and CMYK are converted. An alpha channel is dropped where it is opaque everywhere;
    a picture with transparent pixels is refused, since what lies behind them is not known. So is a file of several
    frames or pages. The limits hold against the header, before pixels are decoded.

    ImageRefused, with reason `empty`, `too-many-bytes`, `not-an-image`, `too-small`, `side-too-long`,
    `too-many-pixels`, `several-frames`, `transparent`, `unsupported-depth` or `damaged`. OSError from reading a path.
    """
    limits = limits or ImageLimits()
    data = _read(source, limits)
    with warnings.catch_warnings():
        # Pillow warns of damaged metadata and of sizes that our own limits judge.
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                _check_header(image, limits)
                return _to_rgb(image, data)
        except UnidentifiedImageError:
            raise ImageRefused(
                "not-an-image", "This is not a JPEG, PNG, BMP, TIFF or WebP picture, or its header is damaged."
            ) from None
        except Image.DecompressionBombError:
            raise ImageRefused("too-many-pixels", f"The picture has more than {limits.max_pixels} pixels.") from None
        except ImageRefused:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError,
                MemoryError, StructError, ZlibError) as error:  # fmt: skip
            # What Pillow's decoders raise on damaged files is not documented; these are the families seen.
            raise ImageRefused("damaged", f"The picture is damaged or cut short ({error}).") from None


def encode_png(image: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """A PNG of uint8 (height, width, 3) RGB, or of grey (height, width) in 8 or 16 bits."""
    done, encoded = cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)
    if not done:
        raise ValueError(f"cannot write a PNG of shape {image.shape} and type {image.dtype}")
    return encoded.tobytes()


def _read(source: bytes | Path, limits: ImageLimits) -> bytes:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size == 0:
        raise ImageRefused("empty", "The file is empty.")
    if size > limits.max_bytes:
        raise ImageRefused("too-many-bytes", f"The file has {size} bytes; at most {limits.max_bytes} are accepted.")
    return source if isinstance(source, bytes) else source.read_bytes()


def _check_header(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if min(width, height) < limits.min_side:
        raise ImageRefused("too-small", f"{width}×{height} pixels: both sides must be {limits.min_side} or more.")
    if max(width, height) > limits.max_side:
        raise ImageRefused("side-too-long", f"{width}×{height} pixels: no side may be over {limits.max_side}.")
    if width * height > limits.max_pixels:
        raise ImageRefused("too-many-pixels", f"{width}×{height} pixels: at most {limits.max_pixels} are accepted.")
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise ImageRefused("several-frames", f"The file holds {frames} frames or pages; send one picture a file.")


def _to_rgb(image: Image.Image, data: bytes) -> NDArray[np.uint8]:
    image.load()
    mode = image.mode
    if mode == "P" and "transparency" in image.info:
        image, mode = image.convert("RGBA"), "RGBA"
    if mode in _SIXTEEN_BIT:
        grey = np.asarray(ImageOps.exif_transpose(image)).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ImageRefused("unsupported-depth", "Grey values must have 8 or 16 bits.")
        return np.repeat(np.round(grey / 257).astype(np.uint8)[..., None], 3, axis=2)
    if mode in _WITH_ALPHA:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            raise ImageRefused("transparent", "The picture has transparent pixels; send it without an alpha channel.")
    elif mode not in _EIGHT_BIT:
        raise ImageRefused("unsupported-depth", f"Pictures of pixel type {mode} are not accepted: use 8 or 16 bits.")
    upright = ImageOps.exif_transpose(image)
    return np.ascontiguousarray(np.asarray(upright.convert("RGB")))

"""Bad and unusual image files, each with what must become of it, for the decoder and for the HTTP service."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 48, 32
MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Case:
    """A file as a client may send it. `reason` is that of ImageRejected, or None where the image must be accepted."""

    name: str
    filename: str
    data: bytes
    reason: str | None


@cache
def bad_images() -> tuple[Case, ...]:
    """Every case, under default limits; made anew from code, so nothing harmful lies in the repository."""
    cases = tuple(
        Case(name, filename, data, reason)
        for source in (_not_images, _cut_short, _bombs, _sizes, _frames, _alpha, _depths, _metadata, _unusual)
        for name, filename, data, reason in source()
    )
    assert len({case.name for case in cases}) == len(cases)
    return cases


def sample_pixels(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """uint8 (height, width, 3) whose corners all differ, so that a turn or a mirror shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * rows // max(height - 1, 1), 255 * columns // max(width - 1, 1)
    return np.stack([red, green, (red * 3 + green * 5) % 256], axis=2).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """The bytes Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG from its parts: `rows` are the filtered scan lines, `extra` are chunks between header and pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def tiff(width: int, height: int, bits: int, data: bytes, sample: int = 1, photometric: int = 1) -> bytes:
    """A grey little-endian TIFF in one strip. sample: 1 unsigned, 2 signed, 3 float. photometric 0: white is zero."""
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    start = 8 + 2 + 12 * 10 + 4
    tags += [(273, 4, start), (277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, sample)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data


def exif(orientation: int) -> bytes:
    """An EXIF block with that orientation."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


Cases = Iterator[tuple[str, str, bytes, str | None]]


def _image(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(sample_pixels()).convert(mode)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _grey_rows(width: int, height: int) -> bytes:
    return (b"\x00" + bytes(width)) * height


def _not_images() -> Cases:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as folder:
        folder.writestr("part.png", saved(_image(), "PNG"))
    refused = "not-an-image"
    yield "nothing", "empty.png", b"", "empty"
    yield "one zero byte", "zero.png", b"\x00", refused
    yield "zero bytes", "zeros.jpg", bytes(4096), refused
    yield "text", "part.txt", b"this is not an image\n" * 40, refused
    yield "text called .png", "part.png", b"this is not an image\n" * 40, refused
    yield "JSON", "part.json", b'{"image": "part.png"}', refused
    yield "HTML", "part.html", b"<!doctype html><html><body>404</body></html>", refused
    yield "SVG", "part.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="48" height="32"/>', refused
    yield "PDF", "part.pdf", saved(_image(), "PDF"), refused
    yield "EPS", "part.eps", saved(_image(), "EPS"), refused
    yield "ZIP of an image", "parts.zip", archive.getvalue(), refused
    yield "gzip of an image", "part.png.gz", gzip.compress(saved(_image(), "PNG"), mtime=0), refused
    yield "ELF program", "part.bin", b"\x7fELF\x02\x01\x01" + bytes(512), refused
    yield "GIF", "part.gif", saved(_image("P"), "GIF"), refused
    yield "GIF called .jpg", "part.jpg", saved(_image("P"), "GIF"), refused
    yield "PPM", "part.ppm", saved(_image(), "PPM"), refused
    yield "ICO", "part.ico", saved(_image(), "ICO"), refused
    yield "JPEG 2000 signature", "part.jp2", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(256), refused
    yield "WAV, RIFF like a WebP", "part.webp", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(64), refused
    yield "NumPy array", "part.npy", b"\x93NUMPY\x01\x00v\x00" + bytes(256), refused


def _cut_short() -> Cases:
    files = {form: saved(_image(), form) for form in ("JPEG", "PNG", "BMP", "TIFF")}
    files["WebP"] = saved(_image(), "WEBP", lossless=True)
    for form, data in files.items():
        yield f"{form} cut in half", f"half.{form.lower()}", data[: len(data) // 2], "damaged"
        yield f"{form} of 4 bytes", f"start.{form.lower()}", data[:4], "not-an-image"
    jpeg, whole = files["JPEG"], files["PNG"]
    yield "JPEG cut within its header", "header.jpg", jpeg[:100], "damaged"
    yield "JPEG without its last 10 bytes", "end.jpg", jpeg[:-10], "damaged"
    yield (
        "x",
        "half.jpg",
        (late := saved(_image(), "JPEG", progressive=True))[: len(late) * 2 // 3],
        "damaged",
    )
    yield "PNG cut within its header", "header.png", whole[:20], "damaged"
    yield "PNG that ends after its header", "header-only.png", whole[:33], "not-an-image"
    yield "PNG with a flipped bit in its pixels", "flipped.png", _flip(whole, len(whole) // 2), "damaged"
    garbage = _chunk(b"IDAT", bytes(range(256)))
    yield "PNG whose pixels are no deflate stream", "deflate.png", whole[:33] + garbage + whole[-12:], "damaged"
    yield "PNG without any pixels", "no-pixels.png", whole[:33] + _chunk(b"IEND", b""), "damaged"
    yield "PNG with too few rows, the rest black", "few.png", png(48, 32, 8, 0, _grey_rows(48, 3)), None
    yield (
        "TIFF whose directory lies outside the file",
        "far.tiff",
        b"II*\x00\xff\xff\xff\x7f" + bytes(99),
        "not-an-image",
    )
    yield "TIFF whose directory points at itself", "loop.tiff", _looping_tiff(), None
    yield "TIFF without pixels", "no-strip.tiff", tiff(48, 32, 8, b""), "damaged"


def _flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]


def _looping_tiff() -> bytes:
    data = bytearray(tiff(48, 32, 8, bytes(48 * 32)))
    data[8 + 2 + 120 : 8 + 2 + 124] = struct.pack("<I", 8)
    return bytes(data)


def _scanned(times: int) -> bytes:
    """A JPEG whose last scan is repeated: decoding them takes half a minute."""
    whole = saved(Image.new("L", (2000, 2000), 128), "JPEG", progressive=True)
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * times + whole[-2:]


def _bombs() -> Cases:
    jpeg = saved(_image(), "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    bmp = bytearray(saved(_image(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 16000, 16000)
    inflated = _chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(64 << 20), 9))
    profile = _chunk(b"iCCP", b"icc\x00\x00" + zlib.compress(bytes(64 << 20), 9))
    whole = saved(_image(), "PNG")
    refused = "too-many-pixels"
    yield "JPEG of 2 000 scans in 44 kB", "scans.jpg", _scanned(2000), "damaged"
    yield "PNG of 2 147 483 647 pixels a side", "bomb.png", png(2**31 - 1, 2**31 - 1, 8, 0, b""), refused
    yield "PNG of 256 million white pixels in 31 kB", "bomb2.png", png(16000, 16000, 1, 0, bytes(2001) * 16000), refused
    yield "PNG with 64 MiB of packed text", "text.png", whole[:33] + inflated + whole[33:], "damaged"
    yield "PNG with a packed profile of 64 MiB", "profile.png", whole[:33] + profile + whole[33:], "damaged"
    yield "PNG whose rows unpack to 64 MiB too many", "rows.png", png(48, 32, 8, 0, bytes(64 << 20)), None
    yield (
        "JPEG whose header says 65 500 × 65 500",
        "bomb.jpg",
        (jpeg[: frame + 5] + struct.pack(">HH", 65500, 65500) + jpeg[frame + 9 :]),
        refused,
    )
    yield "BMP whose header says 16 000 × 16 000", "bomb.bmp", bytes(bmp), refused
    yield "TIFF whose header says 100 000 × 100 000", "bomb.tiff", tiff(100_000, 100_000, 8, bytes(64)), refused
    canvas = (16382).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<II", 10, 0) + canvas + canvas
    still = saved(_image(), "WEBP", lossless=True)[12:]
    body = b"WEBP" + extended + still
    yield (
        "WebP with a canvas of 16 383 × 16 383",
        "bomb.webp",
        b"RIFF" + struct.pack("<I", len(body)) + body,
        (refused),
    )


def _sizes() -> Cases:
    yield "1 × 1", "dot.png", saved(Image.new("RGB", (1, 1)), "PNG"), "too-small"
    yield "15 × 100", "narrow.png", saved(Image.new("RGB", (15, 100)), "PNG"), "too-small"
    yield "16 × 16, the smallest", "small.png", saved(Image.new("RGB", (16, 16)), "PNG"), None
    yield "16 384 × 16, the longest", "long.png", png(16384, 16, 8, 0, _grey_rows(16384, 16)), None
    yield "16 385 × 16", "longer.png", png(16385, 16, 8, 0, _grey_rows(16385, 16)), "side-too-long"
    yield "zero pixels wide", "zero.png", png(0, 32, 8, 0, b""), "not-an-image"
    yield "8001 × 8000, just too many", "many.png", png(8001, 8000, 1, 0, bytes(1002) * 8000), "too-many-pixels"
    yield "one byte over 64 MiB", "heavy.bmp", saved(_image(), "BMP").ljust(MAX_BYTES + 1, b"\0"), "too-many-bytes"


def _frames() -> Cases:
    pages = [_image(), _image("L").convert("RGB")]
    several = {"save_all": True, "append_images": pages[1:]}
    yield "animated WebP", "animated.webp", saved(pages[0], "WEBP", **several), "several-frames"
    yield "animated PNG", "animated.png", saved(pages[0], "PNG", **several), "several-frames"
    yield "TIFF of 40 000 pages", "book.tiff", _book(40_000), "several-frames"
    yield "TIFF of two pages", "pages.tiff", saved(pages[0], "TIFF", **several), "several-frames"
    yield "JPEG with a second image attached (MPO)", "phone.jpg", saved(pages[0], "MPO", **several), None
    yield "animated PNG of one frame", "still.png", saved(pages[0], "PNG", save_all=True), None


def _book(pages: int) -> bytes:
    """A TIFF whose one page is named so often: to count them takes a time that grows with their square."""
    file = bytearray(saved(_image(), "TIFF"))
    [first] = struct.unpack_from("<I", file, 4)
    [entries] = struct.unpack_from("<H", file, first)
    page = file[first : first + 2 + 12 * entries]
    struct.pack_into("<I", file, first + len(page), len(file))
    for index in range(pages - 1):
        following = len(file) + len(page) + 4 if index < pages - 2 else 0
        file += page + struct.pack("<I", following)
    return bytes(file)


def _alpha() -> Cases:
    opaque = _image("RGBA")
    clear = opaque.copy()
    clear.putpixel((5, 5), (10, 20, 30, 254))
    grey = _image("LA")
    clear_grey = grey.copy()
    clear_grey.putpixel((5, 5), (10, 0))
    palette = _image("P")
    yield "RGBA, opaque", "opaque.png", saved(opaque, "PNG"), None
    yield "RGBA, one pixel at 254", "clear.png", saved(clear, "PNG"), "transparent"
    yield "grey with alpha, opaque", "opaque-grey.png", saved(grey, "PNG"), None
    yield "grey with alpha, one clear pixel", "clear-grey.png", saved(clear_grey, "PNG"), "transparent"
    yield "palette", "palette.png", saved(palette, "PNG"), None
    yield "palette with alpha, opaque", "opaque-palette.png", saved(palette, "PNG", transparency=b"\xff" * 256), None
    yield (
        "palette with a clear colour",
        "clear-palette.png",
        saved(palette, "PNG", transparency=palette.getpixel((0, 0))),
        "transparent",
    )
    yield "RGB with a clear colour", "key.png", saved(_image(), "PNG", transparency=(0, 0, 0)), "transparent"
    yield (
        "RGB with a clear colour it never shows",
        "unused-key.png",
        saved(_image(), "PNG", transparency=(1, 2, 3)),
        None,
    )
    rows = b"".join(b"\x00" + struct.pack(">48H", *range(row * 48, row * 48 + 48)) for row in range(32))
    key = (b"tRNS", struct.pack(">H", 7))
    yield "16-bit grey with a clear value", "key16.png", png(48, 32, 16, 0, rows, key), "transparent"
    yield "WebP with clear pixels", "clear.webp", saved(clear, "WEBP", lossless=True), "transparent"
    yield "WebP with opaque alpha", "opaque.webp", saved(opaque, "WEBP", lossless=True, exact=True), None
    yield "TIFF with clear pixels", "clear.tiff", saved(clear, "TIFF"), "transparent"


def _depths() -> Cases:
    ramp = np.linspace(0, 65535, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)
    holes = ramp.astype(np.float32)
    holes[3, 3] = np.nan
    wide = np.repeat(ramp.astype(">u2").reshape(HEIGHT, -1, 1), 3, axis=2)
    rows = b"".join(b"\x00" + row.tobytes() for row in wide)
    refused = "unsupported-depth"
    yield "16-bit grey PNG", "grey16.png", saved(Image.fromarray(ramp.astype(np.uint16)), "PNG"), None
    yield "16-bit grey TIFF", "grey16.tiff", tiff(48, 32, 16, ramp.astype("<u2").tobytes()), None
    yield "16-bit grey TIFF, white is zero", "white.tiff", tiff(48, 32, 16, ramp.astype("<u2").tobytes(), 1, 0), None
    yield "16-bit RGB PNG", "rgb16.png", png(48, 32, 16, 2, rows), None
    yield "1-bit PNG", "bits.png", saved(_image("1"), "PNG"), None
    yield "1-bit TIFF, fax compression", "fax.tiff", saved(_image("1"), "TIFF", compression="group4"), None
    yield "12-bit TIFF", "grey12.tiff", tiff(48, 32, 12, bytes(48 * 32 * 3 // 2)), refused
    yield "signed 16-bit TIFF", "signed.tiff", tiff(48, 32, 16, (ramp - 32768).astype("<i2").tobytes(), 2), refused
    yield "32-bit integer TIFF", "grey32.tiff", tiff(48, 32, 32, ramp.astype("<u4").tobytes()), refused
    yield "float TIFF", "float.tiff", tiff(48, 32, 32, ramp.astype("<f4").tobytes(), 3), refused
    yield "float TIFF with NaN", "nan.tiff", tiff(48, 32, 32, holes.tobytes(), 3), refused
    yield "64-bit float TIFF", "double.tiff", tiff(48, 32, 64, ramp.astype("<f8").tobytes(), 3), "not-an-image"


def _metadata() -> Cases:
    for orientation in range(1, 9):
        data = saved(_image(), "JPEG", quality=95, exif=exif(orientation))
        yield f"EXIF orientation {orientation}", f"turned{orientation}.jpg", data, None
    yield "EXIF orientation 9, which there is not", "turned9.jpg", saved(_image(), "JPEG", exif=exif(9)), None
    torn = b"Exif\x00\x00II*\x00\xff\xff\xff\x7f" + bytes(16)
    yield "EXIF block that points nowhere", "torn-exif.jpg", saved(_image(), "JPEG", exif=torn), None
    yield (
        "EXIF block of noise",
        "noise-exif.jpg",
        saved(_image(), "JPEG", exif=b"Exif\x00\x00" + bytes(range(99))),
        None,
    )
    yield "PNG with an EXIF block of noise", "noise-exif.png", saved(_image(), "PNG", exif=bytes(range(99))), None
    yield "colour profile of noise", "profile.jpg", saved(_image(), "JPEG", icc_profile=bytes(range(256)) * 4), None
    scans = b"\xff\xda" * 100
    yield (
        "JPEG with what looks like scans in its profile",
        "scans-profile.jpg",
        saved(_image(), "JPEG", progressive=True, icc_profile=scans),
        None,
    )
    yield "JPEG with what looks like scans behind it", "scans-tail.jpg", saved(_image(), "JPEG") + scans, None
    yield "JPEG with garbage behind it", "tail.jpg", saved(_image(), "JPEG") + bytes(range(256)) * 9, None
    yield "PNG with a program behind it", "tail.png", saved(_image(), "PNG") + b"\x7fELF" + bytes(999), None
    yield "PNG with a flipped bit in its comment", "comment.png", _flip_in_comment(), "not-an-image"


def _flip_in_comment() -> bytes:
    whole = saved(_image(), "PNG")
    return whole[:33] + _flip(_chunk(b"tEXt", b"Comment\x00part 7"), 12) + whole[33:]


def _unusual() -> Cases:
    yield "constant black", "black.png", saved(Image.new("RGB", (64, 64)), "PNG"), None
    yield "constant white", "white.jpg", saved(Image.new("RGB", (64, 64), "white"), "JPEG"), None
    yield "constant grey", "grey.bmp", saved(Image.new("L", (64, 64), 128), "BMP"), None
    yield "grey JPEG", "grey.jpg", saved(_image("L"), "JPEG"), None
    yield "CMYK JPEG", "cmyk.jpg", saved(_image("CMYK"), "JPEG"), None
    yield "progressive JPEG", "progressive.jpg", saved(_image(), "JPEG", progressive=True), None
    yield "JPEG at quality 1", "coarse.jpg", saved(_image(), "JPEG", quality=1), None
    yield "grey PNG written by hand", "raw.png", png(48, 32, 8, 0, _grey_rows(48, 32)), None
    yield "BMP, 1 bit", "bits.bmp", saved(_image("1"), "BMP"), None
    yield "BMP, palette", "palette.bmp", saved(_image("P"), "BMP"), None
    yield "BMP, 32 bits", "deep.bmp", saved(_image("RGBA"), "BMP"), None
    yield "BMP, top row first", "down.bmp", _top_down_bmp(), None
    for packing in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield f"TIFF, {packing}", f"{packing}.tiff", saved(_image(), "TIFF", compression=packing), None
    yield "TIFF, CMYK", "cmyk.tiff", saved(_image("CMYK"), "TIFF"), None
    yield "TIFF, Lab", "lab.tiff", saved(_image("LAB"), "TIFF"), None
    yield "TIFF, 64-bit offsets", "big.tiff", saved(_image(), "TIFF", big_tiff=True), None
    yield "lossy WebP", "lossy.webp", saved(_image(), "WEBP", quality=80), None
    yield "PNG called .jpg", "lie.jpg", saved(_image(), "PNG"), None
    yield "JPEG without an extension", "part", saved(_image(), "JPEG"), None
    yield "a name that climbs", "../../etc/passwd.png", saved(_image(), "PNG"), None


def _top_down_bmp() -> bytes:
    upright = bytearray(saved(_image().transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"))
    upright[22:26] = struct.pack("<i", -HEIGHT)
    return bytes(upright)

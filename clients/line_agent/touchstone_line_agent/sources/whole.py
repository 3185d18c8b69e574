"""Whether an image file is whole, as far as its format can tell: it may be half written while its size stands still."""

from __future__ import annotations

import struct
from collections.abc import Callable


def is_whole(data: bytes) -> bool:
    """Whether a file's content goes on to the end that its format announces.

    True for a JPEG with its end marker, a PNG with its last chunk, a BMP with all its rows, a WebP with all its bytes
    and a TIFF with everything that its directories point to. False for what is none of these, such as a file of zeros
    whose size was reserved before its content came.
    """
    for start, ends in _ENDS.items():
        if data.startswith(start):
            try:
                return ends(data)
            except (struct.error, IndexError):  # it stops where something is announced
                return False
    return False


def _jpeg(data: bytes) -> bool:
    """ITU T.81, B.1: segments of a marker and a length, up to a scan, which ends at the first marker EOI."""
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker == 0xDA:
            return data.find(b"\xff\xd9", at) >= 0
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # without a length
            at += 2
        else:
            [length] = struct.unpack_from(">H", data, at + 2)
            at += 2 + length
    return False


def _png(data: bytes) -> bool:
    return b"IEND\xaeB`\x82" in data


def _bmp(data: bytes) -> bool:
    """The rows, each padded to four bytes; or the announced size where they are compressed."""
    offset, header = struct.unpack_from("<II", data, 10)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression, size = 0, 0
    else:
        width, height, _, bits, compression, size = struct.unpack_from("<iiHHII", data, 18)
    if compression in (0, 3, 6):
        size = (width * bits + 31) // 32 * 4 * abs(height)
    return bool(len(data) >= offset + size)


def _webp(data: bytes) -> bool:
    [size] = struct.unpack_from("<I", data, 4)
    return bool(len(data) >= 8 + size)


_DATA = {273: 279, 324: 325}  # tags: where strips or tiles begin, and how long each is
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def _tiff(data: bytes) -> bool:
    """TIFF 6.0 and BigTIFF: directories that point to each other, to values and to the image's strips or tiles."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"\x2b\0", b"\0\x2b")
    word, counts, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    [at] = struct.unpack_from(order + word, data, 8 if big else 4)
    if at == 0:  # written last by most programs
        return False
    seen: set[int] = set()
    while at and at not in seen:
        seen.add(at)
        [count] = struct.unpack_from(order + counts, data, at)
        at += struct.calcsize(counts)
        values = {}
        for _ in range(count):
            tag, kind, length = struct.unpack_from(order + "HH" + word, data, at)
            value = at + 4 + struct.calcsize(word)
            size = _SIZES.get(kind, 1)
            if size * length > struct.calcsize(word):
                [value] = struct.unpack_from(order + word, data, value)
            if value + size * length > len(data):
                return False
            if tag in _DATA or tag in _DATA.values():
                values[tag] = struct.unpack_from(f"{order}{length}{'xxxHI'[kind] if kind < 5 else 'Q'}", data, value)
            at += entry
        for starts, sizes in _DATA.items():
            pieces = zip(values.get(starts, ()), values.get(sizes, ()), strict=False)
            if any(start + size > len(data) for start, size in pieces):
                return False
        [at] = struct.unpack_from(order + word, data, at)
    return True


_ENDS: dict[bytes, Callable[[bytes], bool]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG": _png,
    b"BM": _bmp,
    b"RIFF": _webp,
    b"II\x2a\0": _tiff,
    b"MM\0\x2a": _tiff,
    b"II\x2b\0": _tiff,
    b"MM\0\x2b": _tiff,
}

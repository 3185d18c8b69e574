"""Detects incomplete image files by their format: a file may be half written although its size no longer changes."""

from __future__ import annotations

import struct
from collections.abc import Callable


def is_complete(data: bytes) -> bool:
    """Whether a file contains everything that its headers announce.

    True for a JPEG with its end marker, a PNG with its last chunk, a BMP with all its rows, a WebP with all its bytes
    and a TIFF with everything that its directories point to. False for other content, such as the zeros of a file whose
    size was reserved before its content was written.
    """
    for signature, check in _CHECKS.items():
        if data.startswith(signature):
            try:
                return check(data)
            except (struct.error, IndexError, OverflowError):  # the data ends inside a structure, or far before it
                return False
    return False


def _jpeg(data: bytes) -> bool:
    """ITU T.81, B.1: segments of a marker and a length, up to a scan, which ends at the first marker EOI."""
    position = 2
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker == 0xDA:
            return data.find(b"\xff\xd9", position) >= 0
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a segment
            position += 2
        else:
            [length] = struct.unpack_from(">H", data, position + 2)
            position += 2 + length
    return False


def _png(data: bytes) -> bool:
    return b"IEND\xaeB`\x82" in data


def _bmp(data: bytes) -> bool:
    """All rows, each padded to four bytes; or the announced size of compressed ones."""
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


_DATA_TAGS = {273: 279, 324: 325}  # tags: the offsets of strips or tiles, and their byte counts
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def _tiff(data: bytes) -> bool:
    """TIFF 6.0 and BigTIFF: directories that point to each other, to values and to the image's strips or tiles."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"\x2b\0", b"\0\x2b")
    word, count_format, entry_size = ("Q", "Q", 20) if big else ("I", "H", 12)
    [position] = struct.unpack_from(order + word, data, 8 if big else 4)
    if position == 0:  # most programs write it last
        return False
    received: set[int] = set()
    while position and position not in received:
        received.add(position)
        [count] = struct.unpack_from(order + count_format, data, position)
        position += struct.calcsize(count_format)
        values = {}
        for _ in range(count):
            tag, kind, length = struct.unpack_from(order + "HH" + word, data, position)
            value = position + 4 + struct.calcsize(word)
            size = _TYPE_SIZES.get(kind, 1)
            if size * length > struct.calcsize(word):
                [value] = struct.unpack_from(order + word, data, value)
            if value + size * length > len(data):
                return False
            if tag in _DATA_TAGS or tag in _DATA_TAGS.values():
                values[tag] = struct.unpack_from(f"{order}{length}{'xxxHI'[kind] if kind < 5 else 'Q'}", data, value)
            position += entry_size
        for offsets, byte_counts in _DATA_TAGS.items():
            ranges = zip(values.get(offsets, ()), values.get(byte_counts, ()), strict=False)
            if any(start + size > len(data) for start, size in ranges):
                return False
        [position] = struct.unpack_from(order + word, data, position)
    return True


_CHECKS: dict[bytes, Callable[[bytes], bool]] = {
    b"\xff\xd8": _jpeg,
    b"\x89PNG": _png,
    b"BM": _bmp,
    b"RIFF": _webp,
    b"II\x2a\0": _tiff,
    b"MM\0\x2a": _tiff,
    b"II\x2b\0": _tiff,
    b"MM\0\x2b": _tiff,
}

"""Reads a JPEG file's markers (ITU-T T.81, annex B)."""

from __future__ import annotations

import re

# Of those with a length after them, and the end. Within a scan 0x00 is stuffed after 0xFF; the others restart it.
_MARKER = re.compile(rb"\xff+[^\x00\x01\xff\xd0-\xd7]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


def has_more_scans(data: bytes, limit: int) -> bool:
    """Whether a JPEG's first image has more scans than this. Each costs the decoder a walk over all of its pixels."""
    # A file with few of these two bytes has few scans. Metadata, or what is attached behind the image, may hold them,
    # too: only where there are many is the file read marker by marker.
    if data.count(b"\xff\xda") <= limit:
        return False
    position, scans = 2, 0
    while scans <= limit:
        marker = _MARKER.search(data, position)
        if marker is None or data[marker.end() - 1] == _END_OF_IMAGE:
            return False
        scans += data[marker.end() - 1] == _START_OF_SCAN
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return True
